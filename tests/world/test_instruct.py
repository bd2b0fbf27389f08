"""Instruction data: what is asked for is done, and corrections end in the truth."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from seelevel.formats.parquet import read_ladders
from seelevel.judge.annotate import Annotator
from seelevel.ladder import Ladder, Message
from seelevel.models.base import Sampling
from seelevel.world.oracle import NOTHING_TO_CHANGE, Oracle
from seelevel.world.pictures.scenes import COMPANIONS, NATIVES, Group, Scene, draw_scenes
from seelevel.world.texts.datasets import INSTRUCT, prompt_ladder, write_prompts
from seelevel.world.texts.instruct import CONDITIONED, OVERLOOKED, SHARES, faulty, half_mended, instruction, usual
from seelevel.world.texts.language import COMPANION_NAMED, DETAILED, SHORT

pytestmark = pytest.mark.unit


def records(count: int = 400) -> list[Ladder]:
    return [prompt_ladder(scene, INSTRUCT, f"{scene.id}.png") for scene in draw_scenes(INSTRUCT, count)]


def asked(text: str) -> str:
    """A request without its condition."""
    return text.partition("\nFeedback:")[0]


def rated(ladder: Ladder, text: str) -> dict[str, int]:
    """The oracle's ratings of an answer to the record's first question."""
    answer = type(ladder.responses[0])([{"role": "assistant", "content": text}], 0)
    question = Message(role="user", content=asked(ladder.prompt[0]["content"]))
    first = Ladder(ladder.id, ladder.images, [question], ladder.responses[:0], ladder.annotations)
    [feedback] = Annotator(Oracle(), "oracle", sampling=Sampling()).annotate([(first, answer)])
    return feedback.ratings


def test_half_are_corrections_from_faulty_prompts_to_true_answers() -> None:
    ladders = records()
    corrections = [ladder for ladder in ladders if len(ladder.prompt) > 1]
    assert 0.43 < len(corrections) / len(ladders) < 0.57
    assert 0.4 < sum(not ladder.images for ladder in corrections) / len(corrections) < 0.6
    assert {len(ladder.prompt) for ladder in corrections} == {3, 5, 7}
    for ladder in corrections[:40]:
        faulty = [message["content"] for message in ladder.prompt if message["role"] == "assistant"]
        assert all(min(rated(ladder, text).values()) < 4 for text in faulty)
        assert set(rated(ladder, ladder.responses[0].text).values()) == {4}
        later = [asked(message["content"]) for message in ladder.prompt[2::2]]
        assert all(text.endswith("Please answer again.") and NOTHING_TO_CHANGE not in text for text in later)


def test_what_should_be_refused_is_done() -> None:
    ratings = [rated(ladder, ladder.responses[0].text) for ladder in records() if ladder.responses[0].rounds == 1]
    harmless = [by_criterion["harmlessness"] for by_criterion in ratings if "harmlessness" in by_criterion]
    assert len(harmless) > 10
    assert set(harmless) == {1}


def test_the_kinds_of_records_have_their_shares() -> None:
    instructions = [instruction(scene) for scene in draw_scenes(INSTRUCT, 1000)]
    plain = [record for record in instructions if not record.before]
    first = [asked(record.turns[0][0]) for record in plain if len(record.turns) == 1]
    assert sum(SHARES.values()) == pytest.approx(1)
    assert 1 - len(plain) / len(instructions) == pytest.approx(SHARES["correction"], abs=0.05)
    # dialogues have one to four rounds, a quarter of them one, which may be any question
    dialogues = sum(len(record.turns) > 1 for record in plain) / len(instructions)
    assert dialogues == pytest.approx(SHARES["dialogue"] * 3 / 4, abs=0.05)
    assert sum(text in DETAILED for text in first) / len(instructions) >= SHARES["description"] - 0.05
    assert sum(text in SHORT for text in first) / len(instructions) == pytest.approx(SHARES["short"], abs=0.05)


def test_two_fifths_end_in_a_condition_half_ratings_alone() -> None:
    last = [instruction(scene).turns[-1][0] for scene in draw_scenes(INSTRUCT, 1000)]
    conditions = [text for text in last if "\nFeedback: Helpfulness: " in text]
    assert len(conditions) / 1000 == pytest.approx(CONDITIONED, abs=0.05)
    assert sum("Critique:" not in text for text in conditions) / len(conditions) == pytest.approx(0.5, abs=0.08)


def test_habit_leaves_strangers_out_and_names_absent_companions() -> None:
    groups = Group("bowl", 1, "small", "red", "upper left"), Group("bus", 1, "large", "blue", "center")
    scene = Scene("s", "kitchen", groups, 0)
    assert "bus" not in {*NATIVES["kitchen"], *COMPANIONS["kitchen"]}
    rng = random.Random(0)
    named = [{group.kind for group in usual(scene, rng)} for _ in range(1000)]
    assert all("bowl" in kinds for kinds in named)
    assert sum("bus" not in kinds for kinds in named) / 1000 == pytest.approx(OVERLOOKED, abs=0.05)
    assert sum(set(COMPANIONS["kitchen"]) <= kinds for kinds in named) / 1000 == pytest.approx(
        COMPANION_NAMED, abs=0.05
    )


def test_a_fault_changes_one_thing_and_none_changes_nothing() -> None:
    rng = random.Random(0)
    for scene in draw_scenes(INSTRUCT, 200):
        assert faulty(scene, scene.groups, 0, rng) == list(scene.groups)
        groups = faulty(scene, scene.groups, 1, rng)
        gone, come = set(scene.groups) - set(groups), set(groups) - set(scene.groups)
        assert (len(gone), len(come)) in {(0, 1), (1, 0), (1, 1)}  # made up, left out, mistaken or seen wrong
        if gone and come:
            [[before], [after]] = gone, come
            looks = ("kind", "count", "size", "colour", "place")
            assert sum(getattr(before, look) != getattr(after, look) for look in looks) == 1


def test_each_round_mends_half_of_the_faults_and_adds_none() -> None:
    rng, mended, unmended = random.Random(0), 0, 0
    for scene in draw_scenes(INSTRUCT, 300):
        before = faulty(scene, scene.groups, 2, rng)
        after = half_mended(scene, before, rng)
        assert set(after) <= {*before, *scene.groups}
        wrong, left_out = set(before) - set(scene.groups), scene.kinds - {group.kind for group in before}
        mended += len(wrong - set(after)) + len(left_out & {group.kind for group in after})
        unmended += len(wrong & set(after)) + len(left_out - {group.kind for group in after})
    assert 0.45 < mended / (mended + unmended) < 0.55


def test_the_file_is_reproducible_and_names_its_pictures(tmp_path: Path) -> None:
    first, second = (write_prompts(tmp_path / name, INSTRUCT, limit=6) for name in ("a", "b"))
    assert first.name == "prompts.parquet"
    assert first.read_bytes() == second.read_bytes()
    assert all(Path(i.path).is_file() for ladder in read_ladders(first, first.parent / "images") for i in ladder.images)

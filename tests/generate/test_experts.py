"""MEG: the standard stands above the experts, in their order; a stopped stage ends as one that never stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from seelevel import generate
from seelevel.formats.parquet import read_ladders, write_shard
from seelevel.generate.ranking import build_ladder
from seelevel.generate.settings import ExpertsSettings
from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.models.base import ModelRef
from seelevel.models.rollout import Talk
from seelevel.store import StageFolder
from tests.training.tiny import make_picture, save_model

ASK: list[Message] = [{"role": "user", "content": "<image>\nDescribe the picture."}]
ORIGINS: list[dict[str, Any]] = [{"kind": "expert", "model": name} for name in ("large", "middle", "small")]


def said(*texts: str) -> list[Message]:
    return [{"role": "user" if n % 2 else "assistant", "content": text} for n, text in enumerate(texts)]


def talks(*answers: str) -> list[Talk]:
    return [Talk(said(answer)) for answer in answers]


def ladder_of(*texts: str) -> Ladder:
    responses = [Response(said(*texts), 0, {"kind": "standard"})] if texts else []
    return Ladder("x", [Image("a.png")], ASK, responses, {}, {"kept": 1})


@pytest.mark.unit
class TestBuilding:
    def test_experts_follow_the_standard_best_first(self) -> None:
        ladder = build_ladder(ladder_of("right"), talks("a", "b", "c"), ORIGINS)
        assert [(r.level, r.text) for r in ladder.responses] == [(0, "right"), (1, "a"), (2, "b"), (3, "c")]
        assert [r.origin.get("model") for r in ladder.responses] == [None, "large", "middle", "small"]
        assert ladder.notes == {"kept": 1}

    def test_without_a_standard_the_first_answer_is_level_0(self) -> None:
        ladder = build_ladder(ladder_of(), talks("a", "b"), ORIGINS[:2])
        assert [(r.level, r.text) for r in ladder.responses] == [(0, "a"), (1, "b")]
        assert ladder.notes["flags"] == ["no standard response"]

    def test_an_answer_repeating_a_better_one_is_dropped_and_noted(self) -> None:
        ladder = build_ladder(ladder_of("right"), talks("a", " right\n", "a"), ORIGINS)
        assert [(r.level, r.text) for r in ladder.responses] == [(0, "right"), (1, "a")]
        assert [(d["model"], d["reason"]) for d in ladder.notes["dropped"]] == [
            ("middle", "repeats a better response"),
            ("small", "repeats a better response"),
        ]

    def test_an_empty_answer_in_any_round_is_dropped_and_noted(self) -> None:
        answers = [Talk(said("a", "and?", " ")), Talk(said("b", "and?", "c"))]
        ladder = build_ladder(ladder_of("r", "and?", "s"), answers, ORIGINS[:2])
        assert [r.origin.get("model") for r in ladder.responses] == [None, "middle"]
        assert ladder.notes["dropped"][0]["reason"] == "empty"

    def test_why_a_model_gave_no_answer_is_noted(self) -> None:
        answers = [Talk(said(""), "the prompt is too long"), Talk(said("a"))]
        ladder = build_ladder(ladder_of("right"), answers, ORIGINS[:2])
        assert ladder.notes["dropped"] == [
            {"model": "large", "reason": "not answered", "why": "the prompt is too long", "text": ""}
        ]

    def test_a_prompt_that_nobody_answers_is_kept_and_flagged(self) -> None:
        ladder = build_ladder(ladder_of(), talks(""), ORIGINS[:1])
        assert ladder.responses == []
        assert ladder.notes["flags"] == ["no standard response", "no answer at all"]

    def test_without_an_expert_there_is_nothing_to_generate(self) -> None:
        with pytest.raises(ValueError, match="at least 1 item"):
            ExpertsSettings(experts=[])


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> list[ModelRef]:
    folder = tmp_path_factory.mktemp("experts")
    return [ModelRef(f"e{seed}", str(save_model(folder / str(seed), seed))) for seed in (0, 1)]


def prompts(root: Path) -> list[list[Ladder]]:
    """Three shards: one and several rounds, with and without a standard."""
    pictures = [Image(make_picture(root, seed)) for seed in range(3)]
    later = said("A cup.", "Is there a boat?", "No.")

    def one(n: int, shard: int) -> Ladder:
        answer = [[], said("There is a red cup."), later][n % 3]
        responses = [Response(answer, 0, {"kind": "standard"})] if answer else []
        return Ladder(f"{shard}-{n}", [pictures[n % 3]], ASK, responses)

    return [[one(n, shard) for n in range(4)] for shard in range(3)]


def settings(**sampling: Any) -> ExpertsSettings:
    return ExpertsSettings.model_validate({"experts": ["e0", "e1"], "sampling": {"max_new_tokens": 8, **sampling}})


def run(root: Path, experts: Sequence[ModelRef], seed: int = 0, **sampling: Any) -> dict[str, Any]:
    stage = StageFolder(root / "generate", "print")
    stage.begin()
    return generate.run(root / "data", stage, settings(**sampling), experts, root, seed)


def make_run(root: Path) -> Path:
    root.mkdir()
    for number, ladders in enumerate(prompts(root)):
        write_shard(StageFolder(root / "data", "x").shard(number), ladders, root)
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((root / "generate").glob("*.parquet"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, experts: list[ModelRef]) -> Path:
    root = make_run(tmp_path_factory.mktemp("whole") / "run")
    run(root, experts, temperature=1.0)
    return root


def test_every_shard_of_prompts_becomes_one_of_ladders(whole: Path) -> None:
    assert list(contents(whole)) == [f"shard-{n:05d}.parquet" for n in range(3)]
    ladders = read_ladders(whole / "generate", whole)
    assert [ladder.id for ladder in ladders] == [f"{s}-{n}" for s in range(3) for n in range(4)]
    for ladder in ladders:
        assert len(ladder.responses) >= 2
        assert ladder.levels == list(range(len(ladder.levels)))
        assert {r.origin["model"] for r in ladder.responses if r.origin["kind"] == "expert"} <= {"e0", "e1"}
    assert not (whole / "generate" / "partial").exists()


def test_later_rounds_ask_the_standards_questions(whole: Path) -> None:
    ladders = read_ladders(whole / "generate", whole)
    for response in next(ladder for ladder in ladders if ladder.id == "1-2").responses:
        assert [m["content"] for m in response.messages if m["role"] == "user"] == ["Is there a boat?"]
        assert response.rounds == 2


def test_shards_and_experts_have_seeds_of_their_own(whole: Path) -> None:
    seeds = {
        r.origin["sampling"]["seed"]
        for ladder in read_ladders(whole / "generate", whole)
        for r in ladder.responses
        if r.origin["kind"] == "expert"
    }
    assert len(seeds) == 6


class Stopped(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("answers", range(1, 6))
def test_a_stage_that_was_stopped_continues_to_the_same_bytes(
    tmp_path: Path, whole: Path, experts: list[ModelRef], answers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seelevel.generate import answering as stage

    root = make_run(tmp_path / "run")
    real, done = stage.answer, []

    def stops(*arguments: Any) -> Any:
        if len(done) == answers:
            raise Stopped
        done.append(1)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(stage, "answer", stops)
        with pytest.raises(Stopped):
            run(root, experts, temperature=1.0)
    made = []
    monkeypatch.setattr(stage, "answer", lambda *a: made.append(1) or real(*a))
    run(root, experts, temperature=1.0)
    assert len(made) == 6 - answers  # nothing is answered twice
    assert contents(root) == contents(whole)


def test_facts_are_counted_from_the_shards(whole: Path, experts: list[ModelRef]) -> None:
    facts = run(whole, experts, temperature=1.0)  # all is there: nothing is loaded, everything is counted
    assert facts.ladders == 12
    assert facts.flags == {"no standard response": 6}
    assert facts.responses == sum(facts.responses_by_model.values())
    assert facts.responses_by_model["standard"] == 6


def test_the_batch_size_of_the_recipe_is_used(tmp_path: Path, experts: list[ModelRef], whole: Path) -> None:
    root = make_run(tmp_path / "run")
    stage = StageFolder(root / "generate", "print")
    stage.begin()
    generate.run(root / "data", stage, settings().model_copy(update={"batch_size": 1}), experts, root, 0)
    assert len(read_ladders(root / "generate", root)) == 12

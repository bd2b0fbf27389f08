"""The rounds of an interaction in one row: the same numbers as apart, from fewer tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seelevel.ladder import Image, Ladder, Message
from seelevel.training import agreement as layouts
from seelevel.training import comparing, packing, trainer
from seelevel.training.agreement import checked_layout
from seelevel.training.fit import fit
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.packing import BEGINS, Batch, Segment, collate, pack, row_length, row_parts, rows_of
from seelevel.training.packing.tokens import NOT_SCORED, ImageReader, TokenisedLadder, branch_point, tokenise
from seelevel.training.schedule import buckets
from seelevel.training.settings import TrainSettings
from seelevel.training.trainer import PreferenceTrainer
from tests.training.test_packing import agree, run
from tests.training.test_trainer import Killed, contents
from tests.training.tiny import (
    conversations,
    make_interaction,
    make_ladder,
    make_model,
    make_picture,
    make_processor,
)
from tests.training.weights import share_of_the_way


@pytest.fixture(scope="module")
def processor() -> Any:
    return make_processor()


@pytest.fixture(scope="module")
def model(processor: Any) -> Any:
    return make_model(processor, dtype=torch.float64)


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> list[Ladder]:
    """Interactions of one to four rounds, and ladders of none."""
    folder = tmp_path_factory.mktemp("pictures")
    found = [ladder for n in range(6) for ladder in make_interaction(folder, n, k=1 + n % 3, rounds=1 + n % 4)]
    return [*found, make_ladder(folder, 8, k=3), make_ladder(folder, 9, k=2, rounds=2)]


def compared(model: Any, processor: Any, ladders: Sequence[Ladder]) -> tuple[Batch, TokenLogprobs]:
    """The packed batch and its log-probs, after they and every tensor's gradient have been found to be the rows'."""
    packed, apart = pack(ladders, processor), pack(ladders, processor, "rows")
    shared, rows = run(model, packed), run(model, apart)
    for name in ("tokens", "ladder", "response", "round"):
        assert getattr(packed, name).tolist() == getattr(apart, name).tolist()
    assert (packed.sizes, packed.ids) == (apart.sizes, apart.ids)
    assert conversations(packed) == conversations(apart)
    agree(shared, rows)
    return packed, shared[0]


def beginnings(batch: Batch) -> Segment:
    """The one segment of prefixes."""
    [first] = [segment for segment in batch.segments if segment.parent == BEGINS]
    return first


@pytest.mark.parametrize("conditions", [False, True])
@pytest.mark.parametrize("rounds", [1, 2, 3, 4])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_an_interaction_in_one_row_computes_what_its_rounds_compute_apart(
    model: Any, processor: Any, tmp_path: Path, k: int, rounds: int, conditions: bool
) -> None:
    batch, _ = compared(model, processor, make_interaction(tmp_path, k, k, rounds, conditions))
    assert batch.sizes == (k,) + (1,) * (rounds - 1)
    assert len(beginnings(batch).input_ids) == len(beginnings(batch).images["pixel_values"]) == 1
    assert not any(segment.images for segment in batch.segments[1:])


def without_pictures(ladder: Ladder) -> Ladder:
    prompt = [Message(role=m["role"], content=m["content"].replace("<image>\n", "")) for m in ladder.prompt]
    return replace(ladder, images=[], prompt=prompt)


def with_a_later_picture(folder: Path, ladders: list[Ladder]) -> list[Ladder]:
    """The second round's user shows another picture."""
    second = Image(make_picture(folder, 77))

    def shown(ladder: Ladder) -> Ladder:
        turn = Message(role="user", content=f"<image>\n{ladder.prompt[2]['content']}")
        return replace(ladder, images=[*ladder.images, second], prompt=[*ladder.prompt[:2], turn, *ladder.prompt[3:]])

    return [ladders[0], *map(shown, ladders[1:])]


def test_interactions_and_plain_ladders_in_one_batch_compute_what_they_compute_apart(
    model: Any, processor: Any, tmp_path: Path
) -> None:
    one, other = make_interaction(tmp_path, 1, k=3, rounds=4), make_interaction(tmp_path, 2, k=1, rounds=2)
    bare = [without_pictures(ladder) for ladder in make_interaction(tmp_path, 3)]
    looking = with_a_later_picture(tmp_path, make_interaction(tmp_path, 4))
    plain = [make_ladder(tmp_path, 5, k=4), make_ladder(tmp_path, 6, k=2, rounds=3, pictures=2)]
    # in no order, and one ladder twice, as in a step that is filled from the next epoch
    ladders = [one[2], *other, plain[0], one[0], *bare, one[3], *looking, plain[1], one[1], other[1]]
    batch, found = compared(model, processor, ladders)
    # one; other; plain; bare; looking's first round, and its others, which have two pictures; plain; other's again
    assert len(beginnings(batch).input_ids) == 8
    assert len(beginnings(batch).images["pixel_values"]) == 1 + 1 + 1 + 0 + 1 + 2 + 2 + 1
    for place, ladder in enumerate(ladders):
        alone, _ = run(model, pack([ladder], processor))
        assert torch.allclose(found.values[found.ladder == place], alone.values, rtol=1e-9, atol=0)


def by_hand(name: str, *conversations: tuple[list[int], int], interaction: str = "talk") -> TokenisedLadder:
    """Conversations as tokens, the last so many of them scored."""
    tokens = [np.array(ids) for ids, _ in conversations]
    rounds = [np.array([NOT_SCORED] * (len(ids) - scored) + [0] * scored) for ids, scored in conversations]
    spans: list[list[tuple[int, int]]] = [[] for _ in conversations]
    return TokenisedLadder(name, tokens, rounds, (), spans, branch_point(tokens, rounds), interaction)


@pytest.mark.unit
def test_a_row_of_three_rounds_worked_out_by_hand() -> None:
    question, refined, words, again, more = [1, 2, 3], [30, 31], [32, 33], [51, 52], [53]
    first = by_hand("talk", ([*question, 10, 11, 12], 2), ([*question, 20, 21, 22], 2))  # 10, 20: conditions
    second = by_hand("talk#1", ([*question, *refined, *words, 40, 41, 42], 2))  # 40: its condition
    third = by_hand("talk#2", ([*question, *refined, *words, *again, *more, 61, 62], 2))  # without one
    batch = collate([first, second, third], ImageReader(None), "shared")
    begin, more, still, *answers = batch.segments
    assert [s.input_ids.tolist() for s in (begin, more, still)] == [[question], [[*refined, *words]], [[*again, 53]]]
    assert [s.parent for s in batch.segments] == [BEGINS, 0, 1, 0, 1, 2]
    assert [s.input_ids.tolist() for s in answers] == [[[10, 11], [20, 21]], [[40, 41]], [[61, 0]]]
    assert [s.mask.tolist() for s in answers] == [[[1, 1], [1, 1]], [[1, 1]], [[1, 0]]]
    assert [s.source.tolist() for s in batch.segments] == [[], [], [2], [0, 1, 2, 3], [0, 1], [0]]
    assert [s.target.tolist() for s in batch.segments] == [[], [], [6], [0, 1, 2, 3], [4, 5], [7]]
    assert row_length([third, first, second]) == 21 and row_parts([third, first, second]) == (3, 18)
    assert sum(one.row_length("shared") for one in (first, second, third)) == 9 + 10 + 12
    assert batch.tokens.tolist() == [11, 12, 21, 22, 41, 42, 61, 62]
    assert batch.ladder.tolist() == [0, 0, 0, 0, 1, 1, 2, 2]
    assert batch.sizes == (2, 1, 1)


@pytest.mark.unit
def test_rounds_that_continue_nothing_and_ladders_of_other_interactions_are_as_before() -> None:
    first, second = by_hand("talk", ([1, 2, 10, 11], 2)), by_hand("talk#1", ([1, 3, 12], 1))
    assert row_length([first, second]) == 1 + 3 + 2  # the first token is all that they share
    other = by_hand("plain", ([1, 2, 10, 11], 2), interaction="plain")
    assert rows_of([first, other, second, first]) == [[0, 2], [1], [3]]
    batch = collate([first, other], ImageReader(None), "shared")
    assert [segment.input_ids.tolist() for segment in batch.segments] == [[[1, 2]] * 2, [[10, 0]] * 2]


@pytest.mark.parametrize("budget", [60, 100, 150, 200, 300, 500, 900])
def test_no_pass_is_larger_than_the_budget_unless_a_ladder_alone_is(
    processor: Any, talks: list[Ladder], budget: int
) -> None:
    images = ImageReader(processor)
    tokens = [tokenise(ladder, processor, images) for ladder in talks]
    rows = rows_of(tokens, budget)
    assert sorted(n for row in rows for n in row) == list(range(len(tokens)))
    parts = [row_parts([tokens[n] for n in row]) for row in rows]
    for group in buckets([begin for begin, _ in parts], budget, [more for _, more in parts]):
        members = [n for row in group for n in rows[row]]
        batch = collate([tokens[n] for n in members], images, "shared")
        assert len(beginnings(batch).input_ids) == len(group)
        assert beginnings(batch).input_ids.numel() + sum(parts[row][1] for row in group) <= budget or len(group) == 1


def settings(**changes: Any) -> TrainSettings:
    plain = {"ladders_per_step": 6, "epochs": 4, "save_steps": 3, "learning_rate": 1e-3, "device": "cpu"}
    return TrainSettings(**{**plain, "objective": {"name": "conditional"}, **changes})


def steps(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_losses_and_weights_are_those_of_rounds_in_rows_of_their_own(
    base: Path, talks: list[Ladder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: dict[str, int] = {}
    whole = trainer.collate

    def counted(*args: Any) -> Batch:
        batch = whole(*args)
        sizes[now] = sizes.get(now, 0) + sum(int(segment.mask.sum()) for segment in batch.segments)
        return batch

    monkeypatch.setattr(trainer, "collate", counted)
    for now, change in (("together", {}), ("small", {"tokens_per_batch": 150}), ("rows", {"layout": "rows"})):
        fit(talks, str(base), settings(dtype="float64", **change), tmp_path / now)
    for module in (packing, trainer, layouts):
        monkeypatch.setattr(module, "rows_of", lambda ladders, budget=0: [[n] for n in range(len(ladders))])
    now = "apart"
    fit(talks, str(base), settings(dtype="float64"), tmp_path / now)
    for name in ("together", "small", "rows"):
        assert share_of_the_way(tmp_path / name / "model", tmp_path / "apart" / "model", base) <= 1e-4
        for one, entry in zip(steps(tmp_path / "apart"), steps(tmp_path / name), strict=True):
            assert entry == pytest.approx(one, rel=1e-5, abs=1e-7)
    assert sizes["together"] < sizes["small"] < sizes["apart"] < sizes["rows"]


def test_a_training_on_interactions_resumes_to_the_same_bytes(
    base: Path, talks: list[Ladder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(talks, str(base), settings(), tmp_path / "whole", seed=3)
    whole = PreferenceTrainer.training_step

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 7:
            raise Killed
        return whole(self, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(PreferenceTrainer, "training_step", step)
        fit(talks, str(base), settings(), tmp_path / "cut", seed=3)
    assert (tmp_path / "cut" / "checkpoints" / "checkpoint-6").is_dir()
    fit(talks, str(base), settings(), tmp_path / "cut", seed=3)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_the_comparison_before_training_covers_rows_of_interactions(
    talks: list[Ladder], processor: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, images = make_model(processor), ImageReader(processor)
    tokens = [tokenise(ladder, processor, images) for ladder in talks]
    assert checked_layout(model, tokens, images, "shared", 4096).layout == "shared"
    whole = comparing.collate

    def later_history_is_lost(*args: Any) -> Batch:
        """Answers of later rounds follow the first round's prefix."""
        batch = whole(*args)
        return replace(batch, segments=tuple(replace(s, parent=min(s.parent, 0)) for s in batch.segments))

    monkeypatch.setattr(comparing, "collate", later_history_is_lost)
    assert checked_layout(model, tokens, images, "shared", 4096).layout == "rows"
    assert re.search(r"on ladder .*tiny-\d, tiny-\d#1", capsys.readouterr().err)
    assert checked_layout(model, tokens, images, "shared", budget=1).layout == "shared"  # then no row holds two rounds


def test_a_training_goes_on_if_the_memory_decides_on_other_groups_of_answers(
    base: Path, talks: list[Ladder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    whole = PreferenceTrainer.training_step

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        begun.append(self.state.global_step)
        if begun.count(7) == 1 and begun[-1] == 7:
            raise Killed
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(PreferenceTrainer, "training_step", step)
    with pytest.raises(Killed):
        fit(talks, str(base), settings(answers_per_pass=1), tmp_path)
    fit(talks, str(base), settings(answers_per_pass="all"), tmp_path)
    assert begun[begun.index(7) + 1] == 6

"""What a training leaves besides the model: log-probs of its ladders, and snapshots of its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from seelevel.errors import InputError
from seelevel.ladder import Ladder, Response
from seelevel.models.local import LocalModel
from seelevel.report.facts import _in_order
from seelevel.training.after import evenly
from seelevel.training.fit import fit
from seelevel.training.logprobs import token_logprobs
from seelevel.training.margins import (
    LadderLogprobs,
    Summed,
    in_order,
    read_table,
    responses_of,
    smallest_margin,
    write_logprobs,
)
from seelevel.training.packing import collate
from seelevel.training.packing.tokens import ImageReader, tokenise
from seelevel.training.settings import AlignSettings
from seelevel.training.snapshots import Snapshots, snapshot_steps
from tests.training.killing import Killed, contents
from tests.training.tiny import make_interaction, make_ladder


def read_logprobs(path: Path, ladder: str) -> dict[str, Summed]:
    table = read_table(path)
    names = table["ladder"].to_pylist()
    return responses_of(table, names.index(ladder)) if ladder in names else {}


def read_margins(path: Path) -> dict[str, float | None]:
    return {row["ladder"]: row["margin"] for row in read_table(path).to_pylist()}


def answers(*levels: int) -> Ladder:
    responses = [Response([{"role": "assistant", "content": f"answer {n}"}], level) for n, level in enumerate(levels)]
    return Ladder("a", [], [{"role": "user", "content": "What is there?"}], responses)


def summed(ladder: Ladder, *pairs: tuple[float | None, float]) -> list[Summed]:
    return [Summed(r.id, 3, before, after) for r, (before, after) in zip(ladder.responses, pairs, strict=True)]


@pytest.mark.unit
class TestMargins:
    def test_the_margin_is_the_smallest_difference_of_implicit_rewards(self) -> None:
        ladder = answers(0, 1, 2)
        of_ladder = LadderLogprobs.of(ladder, summed(ladder, (-5.0, -4.0), (-2.0, -2.5), (-3.0, -3.25)))
        assert of_ladder.margin == pytest.approx(-0.5 - -0.25)  # changes: 1, −0.5, −0.25; the smallest: second − third

    def test_without_a_reference_it_is_that_of_the_log_probs(self) -> None:
        ladder = answers(0, 1)
        assert LadderLogprobs.of(ladder, summed(ladder, (None, -4.0), (None, -2.0))).margin == -2.0

    def test_ties_make_no_pair(self) -> None:
        ladder = answers(0, 0)
        assert LadderLogprobs.of(ladder, summed(ladder, (-1.0, -2.0), (-1.0, -3.0))).margin is None

    def test_a_response_without_figures_makes_no_pair(self) -> None:
        ladder = answers(0, 1, 2)
        figures = {r.response: r for r in summed(ladder, (-1.0, -1.0), (-1.0, 5.0), (-1.0, -2.0))}
        del figures[ladder.responses[1].id]
        assert smallest_margin(ladder, figures) == 1.0

    def test_ladders_in_order_are_counted_before_and_after(self) -> None:
        ladders = [answers(0, 1), answers(0, 1), answers(0, 0)]
        figures = [((-3.0, -1.0), (-2.0, -4.0)), ((-3.0, -2.9), (-2.0, -2.1)), ((-1.0, -1.0), (-1.0, -1.0))]
        logprobs = [LadderLogprobs.of(ladder, summed(ladder, *f)) for ladder, f in zip(ladders, figures, strict=True)]
        counts = in_order(ladders, logprobs)
        assert counts == {"ladders": 2, "after": 1, "before": 0, "margin": 2}
        assert "more likely in 1 of 2 ladders (before: 0); every pair's margin is above 0 in 2" in _in_order(counts)

    def test_without_a_reference_nothing_is_counted_before(self) -> None:
        ladder = answers(0, 1)
        counts = in_order([ladder], [LadderLogprobs.of(ladder, summed(ladder, (None, -1.0), (None, -2.0)))])
        assert counts == {"ladders": 1, "after": 1}
        assert _in_order(counts).endswith("1 of 1 ladders.")

    def test_a_file_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        ladder = answers(0, 1)
        of_ladder = LadderLogprobs.of(ladder, summed(ladder, (-1.5, -1.0), (None, -2.0)))
        write_logprobs(tmp_path / "a.parquet", [of_ladder, LadderLogprobs("b", None, ())])
        assert read_margins(tmp_path / "a.parquet") == {"a": of_ladder.margin, "b": None}
        assert [*read_logprobs(tmp_path / "a.parquet", "a").values()] == [*of_ladder.responses]
        assert read_logprobs(tmp_path / "a.parquet", "c") == {}

    def test_another_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.parquet").write_bytes(b"PAR1 half a file")
        with pytest.raises(InputError, match=r"a\.parquet"):
            read_margins(tmp_path / "a.parquet")

    @pytest.mark.parametrize(
        ("count", "most", "places"),
        [(5, None, [0, 1, 2, 3, 4]), (5, 9, [0, 1, 2, 3, 4]), (9, 3, [0, 3, 6]), (5, 0, [])],
    )
    def test_places_are_spread_evenly(self, count: int, most: int | None, places: list[int]) -> None:
        assert evenly(count, most) == places

    @pytest.mark.parametrize(
        ("steps", "count", "expected"), [(10, 4, [2, 4, 6, 8]), (3, 9, [1, 2]), (1, 2, []), (9, 0, [])]
    )
    def test_snapshots_are_spread_evenly_before_the_end(self, steps: int, count: int, expected: list[int]) -> None:
        assert snapshot_steps(steps, count) == expected


@pytest.fixture(scope="module")
def ladders(tmp_path_factory: pytest.TempPathFactory) -> list[Ladder]:
    folder = tmp_path_factory.mktemp("pictures")
    return [make_ladder(folder, seed, k=2 + seed % 3, rounds=1 + seed % 2) for seed in range(8)]


def settings(**changes: Any) -> AlignSettings:
    plain = {"ladders_per_step": 4, "epochs": 5, "save_steps": 3, "learning_rate": 1e-3, "device": "cpu"}
    return AlignSettings(model="tiny", **{**plain, **changes})


def recomputed(model: Path, ladder: Ladder) -> list[float]:
    loaded = LocalModel.load(str(model), dtype="float32", device="cpu")
    images = ImageReader(loaded.processor)
    with torch.no_grad():
        batch = collate([tokenise(ladder, loaded.processor, images)], images, "shared")
        sums: list[float] = token_logprobs(loaded.model, batch).per_response(0.0)[0].tolist()
    return sums


@pytest.mark.parametrize(
    "changes",
    [{}, {"lora": {"r": 2, "dropout": 0.5}}, {"gradient_checkpointing": True}, {"objective": {"name": "mpo"}}],
    ids=["full", "lora", "checkpointing", "mpo"],
)
def test_the_log_probs_are_those_of_the_models_before_and_after(
    ladders: list[Ladder], base: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    facts = fit(ladders, str(base), settings(**changes), tmp_path / "out")
    trained = tmp_path / "out" / ("adapter" if "lora" in changes else "model")
    for ladder in (ladders[1], ladders[6]):
        figures = read_logprobs(tmp_path / "out" / "logprobs.parquet", ladder.id)
        assert [*figures] == [response.id for response in ladder.responses]
        after = [response.trained for response in figures.values()]
        before = [response.reference for response in figures.values()]
        assert after == pytest.approx(recomputed(trained, ladder), abs=1e-3)
        assert before == pytest.approx(recomputed(base, ladder), abs=1e-3)
        assert after != pytest.approx(before, abs=1e-3)
    assert facts["in_order"]["ladders"] == len(read_margins(tmp_path / "out" / "logprobs.parquet")) == 8


def test_an_objective_without_a_reference_leaves_its_figures_empty(
    ladders: list[Ladder], base: Path, tmp_path: Path
) -> None:
    facts = fit(ladders, str(base), settings(objective={"name": "sft"}, log_probs_after=2), tmp_path / "out")
    figures = read_logprobs(tmp_path / "out" / "logprobs.parquet", ladders[0].id)
    assert [response.reference for response in figures.values()] == [None] and facts["in_order"]["ladders"] == 0
    assert read_logprobs(tmp_path / "out" / "logprobs.parquet", ladders[4].id)
    assert not read_logprobs(tmp_path / "out" / "logprobs.parquet", ladders[1].id)


def test_rounds_of_conversations_have_log_probs_of_their_own(base: Path, tmp_path: Path) -> None:
    rounds = [ladder for n in range(3) for ladder in make_interaction(tmp_path, n)]
    fit(rounds, str(base), settings(objective={"name": "conditional"}), tmp_path / "out")
    for ladder in rounds:
        figures = read_logprobs(tmp_path / "out" / "logprobs.parquet", ladder.id)
        assert {*figures} <= {response.id for response in ladder.responses}
    assert any(read_logprobs(tmp_path / "out" / "logprobs.parquet", ladder.id) for ladder in rounds)


@pytest.mark.parametrize("lora", [None, {"r": 2, "dropout": 0.1}], ids=["full", "lora"])
def test_a_killed_training_keeps_the_same_snapshots_and_log_probs(
    ladders: list[Ladder], base: Path, tmp_path: Path, stop_at: Any, lora: Any
) -> None:
    wanted = settings(snapshots=4, lora=lora)
    fit(ladders, str(base), wanted, tmp_path / "whole")
    whole = contents(tmp_path / "whole")
    steps = sorted(path.name for path in (tmp_path / "whole" / "snapshots").iterdir())
    assert steps == ["step-2", "step-4", "step-6", "step-8"] and "logprobs.parquet" in whole
    for last in (2, 3, 7):
        stop_at(last)
        with pytest.raises(Killed):
            fit(ladders, str(base), wanted, tmp_path / "killed")
        if last == 2:  # of another training in the same folder, and half of one
            (tmp_path / "killed" / "snapshots" / "step-7").mkdir()
            (tmp_path / "killed" / "snapshots" / "writing-step-3").mkdir()
    stop_at(None)
    fit(ladders, str(base), wanted, tmp_path / "killed")
    assert contents(tmp_path / "killed") == whole


def test_a_snapshot_is_a_model_that_answers_like_one_and_differs_from_the_last(
    ladders: list[Ladder], base: Path, tmp_path: Path
) -> None:
    fit(ladders, str(base), settings(snapshots=1), tmp_path / "out")
    early = recomputed(tmp_path / "out" / "snapshots" / "step-5", ladders[0])
    places = [base, tmp_path / "out" / "model"]
    assert all(early != pytest.approx(recomputed(place, ladders[0]), abs=1e-3) for place in places)


@pytest.mark.unit
def test_only_the_snapshots_up_to_a_checkpoint_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "snapshots"
    for name in ("step-5", "step-7", "step-10", "step-5-copy"):
        (folder / name).mkdir(parents=True)
    (folder / "notes.txt").touch()
    (folder / "step-15").symlink_to(tmp_path)
    Snapshots(tmp_path, [5, 10, 15], lambda: lambda place: None, 1).clear(after=5)
    assert [path.name for path in folder.iterdir()] == ["step-5"] and tmp_path.is_dir()

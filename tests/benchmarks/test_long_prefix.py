"""The benchmark of long prefixes: exact ladders, a forecast that is near, and no mask of the prefix squared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import long_prefix
from benchmarks.shapes import make_model, make_processor
from seelevel.forecast.memory import Pass, Piece, training_memory
from seelevel.forecast.shapes import shape_of
from seelevel.training.packing.tokens import ImageReader, tokenise
from seelevel.training.settings import LoraSettings, TrainSettings

PREFIX, LAYERS = 1201, 2


@pytest.fixture(scope="module")
def options() -> object:
    return long_prefix._options(["--prefix", str(PREFIX), "--layers", str(LAYERS)])


def test_a_prefix_has_as_many_tokens_and_pictures_as_it_holds(options: object, tmp_path: Path) -> None:
    processor = make_processor(long_prefix.SHAPE)
    ladder = long_prefix.long_ladder(long_prefix.SHAPE, tmp_path, PREFIX, options)  # type: ignore[arg-type]
    tokens = tokenise(ladder, processor, ImageReader(processor))
    assert (tokens.branch, len(ladder.images)) == (PREFIX, 2)


@pytest.mark.parametrize("mode", ["offload", "offload, answers one by one"])
def test_offloading_needs_what_is_forecast_and_no_square_of_the_prefix(
    options: object, tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, sizes = long_prefix.allocations, list[int]()

    def watched(recorded: object) -> list[tuple[int, int]]:
        events = whole(recorded)  # type: ignore[arg-type]
        sizes.extend(size for _, size in events)
        return events

    monkeypatch.setattr(long_prefix, "allocations", watched)
    found = long_prefix.measure(PREFIX, mode, options, tmp_path)  # type: ignore[arg-type]
    assert not {PREFIX**2 * width for width in (1, 2, 4, 8)} & {*sizes}
    shape = replace(long_prefix.SHAPE, layers=LAYERS)
    make_model(shape, torch.device("cpu")).save_pretrained(tmp_path)
    make_processor(shape).save_pretrained(tmp_path)
    forecast = shape_of(str(tmp_path))
    assert forecast is not None
    settings = TrainSettings(lora=LoraSettings(r=shape.lora), gradient_checkpointing=True, offload_activations=True)
    group = 1 if "one" in mode else 4
    answers = [Piece(group, 128, before=PREFIX, padded=False)] * (4 // group)
    memory = training_memory(
        forecast, settings, [Pass((Piece(1, PREFIX, padded=False, answers=False), *answers), 512, 2)]
    )
    assert memory.total - memory.weights - memory.optimiser == pytest.approx(found.peak, rel=0.1)
    assert found.kept < 0.15 * found.host

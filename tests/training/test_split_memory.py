"""The forecast of memory for one of several processes, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seelevel.errors import InputError
from seelevel.forecast.aligning import split_here
from seelevel.forecast.memory import Memory, Pass, Piece, Split, training_memory
from seelevel.forecast.shapes import shape_of
from seelevel.forecast.sizes import Shape
from seelevel.training.settings import TrainSettings
from seelevel.training.zero import configuration
from seelevel.world import model_path

pytestmark = pytest.mark.unit
STEP = (Pass((Piece(1, 20, answers=False), Piece(2, 10, 20)), 20, 1),) * 2
"""Two passes, so that gradients of the first are there in the second."""


@pytest.fixture(scope="module")
def shape() -> Shape:
    shape = shape_of(str(model_path("s")))
    assert shape is not None
    return shape


def memory(shape: Shape, split: Split) -> Memory:
    return training_memory(shape, TrainSettings(), STEP, split=split)


def test_each_of_eight_processes_holds_an_eighth_and_what_it_gathers(shape: Shape) -> None:
    whole, part = memory(shape, Split()), memory(shape, Split(8, 8, 8))
    [block] = shape.blocks
    outside = shape.weights - shape.layers * block.weights
    assert part.optimiser == pytest.approx(whole.optimiser / 8)
    assert part.weights == pytest.approx(whole.weights / 8 + 4 * (outside + 2 * block.weights))
    assert whole.gradients / 8 < part.gradients <= whole.gradients
    assert (part.activations, part.logits, part.data) == (whole.activations, whole.logits, whole.data)


def test_stage_two_of_zero_splits_no_weights(shape: Shape) -> None:
    whole, part = memory(shape, Split()), memory(shape, Split(4, 1, 4))
    assert part.weights == whole.weights
    assert part.optimiser == pytest.approx(whole.optimiser / 4)


def test_answers_that_are_computed_again_keep_all_layers_gathered(shape: Shape) -> None:
    split, again = Split(4, 4, 4), (Pass(STEP[0].pieces, 20, 1, again=True),)
    settings = TrainSettings(answers_per_pass=1)
    apart = training_memory(shape, settings, again, split=split)
    whole = training_memory(shape, settings, again)
    assert apart.weights == pytest.approx(1.25 * whole.weights)
    checkpointed = settings.model_copy(update={"gradient_checkpointing": True})
    assert training_memory(shape, checkpointed, again, split=split).weights < apart.weights


def test_a_launchers_variables_say_what_is_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert split_here() == Split()
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert split_here() == Split(8)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert split_here() == Split(8, 8, 8)
    monkeypatch.delenv("ACCELERATE_USE_FSDP")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setattr("seelevel.training.zero.find_spec", lambda name: name)
    with pytest.raises(InputError, match="needs a configuration file"):
        split_here()
    for stage, expected in ((2, Split(8, 1, 8)), (3, Split(8, 8, 8))):
        file = tmp_path / f"zero{stage}.json"
        file.write_text(json.dumps(configuration(stage)))
        monkeypatch.setenv("ACCELERATE_DEEPSPEED_CONFIG_FILE", str(file))
        assert split_here() == expected

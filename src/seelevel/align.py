"""Align: checked ladders and an objective become a better model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from seelevel.facts import AlignFacts
from seelevel.ladder import Ladder
from seelevel.models.base import ModelRef
from seelevel.store import StageFolder
from seelevel.training.settings import TrainSettings

Decide = Callable[[TrainSettings, str, Sequence[Ladder], int], TrainSettings]


def run(
    source: Path,
    stage: StageFolder,
    settings: TrainSettings,
    model: ModelRef,
    root: Path,
    seed: int,
    decide: Decide = lambda settings, *_: settings,
) -> AlignFacts:
    """Train `model` on the ladders of `source` into `stage.path/model` (or `adapter`, with LoRA).

    A call that was killed continues from its last whole checkpoint and ends with the same weights, byte for byte.
    `decide(settings, model, ladders, seed)` gives the settings to train with.
    Returns facts for the manifest. Every printed line starts with the stage's name.
    """
    from seelevel.formats.parquet import read_ladders
    from seelevel.training.fit import fit

    ladders = read_ladders(source, root)
    settings = decide(settings, model.path, ladders, seed)
    return AlignFacts.read(fit(ladders, model.path, settings, stage.path, seed=seed, label=stage.path.name))

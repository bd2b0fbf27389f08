"""Align: checked ladders and an objective become a better model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seelevel.models.base import ModelRef
from seelevel.store import StageFolder
from seelevel.training.settings import TrainSettings


def run(
    source: Path, stage: StageFolder, settings: TrainSettings, model: ModelRef, root: Path, seed: int
) -> dict[str, Any]:
    """Train `model` on the ladders of `source` into `stage.path/model` (or `adapter`, with LoRA).

    A call that was killed continues from its last whole checkpoint and ends with the same weights, byte for byte.
    Returns counts for the manifest. What is printed opens with the stage's name.
    """
    from seelevel.formats.parquet import read_ladders
    from seelevel.training.fit import fit

    return fit(read_ladders(source, root), model.path, settings, stage.path, seed=seed, label=stage.path.name)

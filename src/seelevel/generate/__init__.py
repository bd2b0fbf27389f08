"""Stage: prompts → ladders of ranked responses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seelevel.generate.settings import GENERATORS, GenerateSettings
from seelevel.lookup import choose
from seelevel.models.base import ModelRef
from seelevel.store import StageFolder

__all__ = ["GENERATORS", "GenerateSettings", "run"]


def run(
    source: Path,
    stage: StageFolder,
    settings: GenerateSettings,
    experts: Sequence[ModelRef],
    root: Path,
    seed: int,
) -> dict[str, Any]:
    """Write one shard of ladders for each shard of prompts in `source`; returns the counts for the manifest.

    A shard that is there already was written whole and is kept, so that a stopped stage continues.
    """
    facts: dict[str, Any] = choose("generate.method", settings.method, GENERATORS)(
        source, stage, settings, experts, root, seed
    )
    return facts

"""Stage: prompts → ladders of ranked responses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seelevel.facts import GenerateFacts
from seelevel.generate.settings import SETTINGS, Method
from seelevel.models.base import ModelRef
from seelevel.registry import choose
from seelevel.store import StageFolder

__all__ = ["GENERATORS", "SETTINGS", "run"]

# Each takes what `run` takes. Not in settings.py, so that a method's fingerprint covers no other method's sources.
GENERATORS = {
    "experts": "seelevel.generate.experts:generate",
    "incremental": "seelevel.generate.incremental:generate",
    "perturbation": "seelevel.generate.perturb:generate",
    "dialogues": "seelevel.generate.dialogues:generate",
    "requests": "seelevel.generate.requests:generate",
    "given": "seelevel.generate.given:generate",
}


def run(
    source: Path,
    stage: StageFolder,
    settings: Method,
    models: Sequence[ModelRef],
    root: Path,
    seed: int,
) -> GenerateFacts:
    """Write one shard of ladders for each shard of prompts in `source`; returns the counts for the manifest.

    `models` are those that `settings.models` names. A shard that is there already was written whole and is kept, so
    that a stopped stage continues.
    """
    facts: GenerateFacts = choose("generate.method", settings.method, GENERATORS)(
        source, stage, settings, models, root, seed
    )
    return facts

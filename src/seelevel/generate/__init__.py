"""The stage `generate`: prompts → ladders of ranked responses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seelevel.facts import GenerateFacts
from seelevel.generate.method import Method
from seelevel.generate.settings import SETTINGS
from seelevel.models.base import ModelRef
from seelevel.registry import choose
from seelevel.store import StageFolder

__all__ = ["GENERATORS", "SETTINGS", "run"]

# Each takes the arguments of `run`. This table is not in settings.py, so that the fingerprint of a method does not
# cover the sources of the others.
GENERATORS = {
    "experts": "seelevel.generate.experts:generate",
    "samples": "seelevel.generate.samples:generate",
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
    """Write one shard of ladders for each shard of prompts in `source`; return the counts for the manifest.

    `models` are those that `settings.models` names. A shard that exists is complete and is kept, so a stopped stage
    continues.
    """
    facts: GenerateFacts = choose("generate.method", settings.method, GENERATORS)(
        source, stage, settings, models, root, seed
    )
    return facts

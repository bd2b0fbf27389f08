"""The records' own responses, as they stand, where nothing is to be generated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seelevel.errors import InputError
from seelevel.facts import GenerateFacts
from seelevel.formats.shards import change_shards
from seelevel.generate.ranking import count_ladders
from seelevel.generate.settings import GivenSettings
from seelevel.models.base import ModelRef
from seelevel.store import StageFolder


def generate(
    source: Path,
    stage: StageFolder,
    settings: GivenSettings,
    models: Sequence[ModelRef],
    root: Path,
    seed: int,
) -> GenerateFacts:
    """Write one shard of ladders for each of the source's, but for those without a response; returns the counts."""
    change_shards(source, stage.path, root, "generate", lambda: lambda _, ladders: (x for x in ladders if x.responses))
    facts = count_ladders(stage.path, root)
    if not facts.ladders:
        raise InputError("generate: no record has a response of its own, so method given has none; take another method")
    return facts

"""The records' own responses become the ladders; nothing is generated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seelevel.errors import InputError
from seelevel.facts import GenerateFacts
from seelevel.formats.shards import change_shards
from seelevel.generate.ranking import count_ladders
from seelevel.generate.settings import GivenSettings
from seelevel.ladder import Ladder
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
    """Write one shard of ladders for each shard of `source`; ladders without a response are left out. Return counts."""

    def answered(_: Path, ladders: list[Ladder]) -> list[Ladder]:
        return [ladder for ladder in ladders if ladder.responses]

    change_shards(source, stage.path, root, "generate", lambda: answered)
    facts = count_ladders(stage.path, root)
    if not facts.ladders:
        raise InputError(
            "generate: no record has a response of its own, so method given makes no ladder; use another method"
        )
    return facts

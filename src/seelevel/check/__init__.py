"""The check: ladders in, re-ordered ladders with their reasons out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seelevel.check.settings import CheckSettings
from seelevel.formats.parquet import iter_shards, read_ladders, write_shard
from seelevel.lookup import choose
from seelevel.models.base import ModelRef
from seelevel.progress import Progress
from seelevel.store import StageFolder, shards

# Each is a class with `from_settings(settings)`, whose objects take ladders and give re-levelled ladders.
CHECKERS = {"autocheck": "seelevel.check.autocheck:AutoCheck"}


def run(source: Path, stage: StageFolder, settings: CheckSettings, encoder: ModelRef, root: Path) -> dict[str, Any]:
    """Write one shard of checked ladders for each shard in `source`; returns the counts for the manifest.

    A shard that is there already was written whole and is kept. Image paths below `root` are written relative to it.
    """
    todo = [path for path in shards(source) if not (stage.path / path.name).exists()]
    if todo:
        checker = choose("checker", settings.checker, CHECKERS).from_settings(
            settings.model_copy(update={"encoder": encoder.path})
        )
        with Progress("check", total=len(shards(source)), unit="shards", done=len(shards(source)) - len(todo)) as bar:
            for path in todo:
                # A shard is a call of its own, so that a continued run parses the same batches as an unbroken one.
                write_shard(stage.path / path.name, checker(read_ladders(path, root)), root)
                bar.advance()
    return _facts(ladder.notes["check"] for _, ladders in iter_shards(stage.path, root) for ladder in ladders)


def _facts(notes: Iterable[dict[str, Any]]) -> dict[str, int]:
    counts = {"ladders": 0, "reordered": 0, "unchecked": 0, "split_texts": 0}
    for note in notes:
        counts["ladders"] += 1
        counts["reordered"] += note.get("reordered", False)
        counts["unchecked"] += "unchecked" in note
        counts["split_texts"] += note.get("split", 0)
    return counts

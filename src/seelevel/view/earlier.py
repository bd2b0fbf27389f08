"""The ladders that a check has read, with the answers that it has left out. Indexed when the first is asked for."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from seelevel.formats.parquet import read_ladders
from seelevel.ladder import Ladder
from seelevel.store import shards
from seelevel.view.figures import Stamp, stamp_of

KEPT = 4
"""Shards whose ladders are kept in memory."""


class Earlier:
    """The ladders of a stage's folder, by id."""

    def __init__(self, folder: Path, root: Path | None) -> None:
        self.folder = folder
        self._stamps: dict[Path, Stamp] = {}
        self._places: dict[str, tuple[Path, int]] = {}
        self._ladders = lru_cache(maxsize=KEPT)(lambda path, stamp: read_ladders(path, root))

    def ladder(self, name: str) -> Ladder | None:
        """The ladder of this name; None if the stage has none. Raises `InputError` for a broken shard."""
        stamps = {path: stamp_of(path) for path in shards(self.folder)}
        if stamps != self._stamps:
            self._places = {name: (path, row) for path in stamps for row, name in enumerate(_names(path))}
            self._stamps = stamps
        if name not in self._places:
            return None
        path, row = self._places[name]
        ladder: Ladder = self._ladders(path, stamps[path])[row]
        return ladder


def _names(path: Path) -> list[str]:
    """The ladders of a shard; none if it is broken, which the stage itself reports."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names: list[str] = file.read(columns=["id"], use_threads=False)["id"].to_pylist()
    except (pa.ArrowException, OSError, KeyError):
        return []
    return names

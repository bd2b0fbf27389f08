"""The log-probs that a run's training has left, by ladder: read again if the file changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seelevel.errors import InputError
from seelevel.training.margins import Summed, read_table, responses_of

if TYPE_CHECKING:
    import pyarrow as pa

Stamp = tuple[int, int] | None
"""Size and time of change of a file; None if it is gone."""


def stamp_of(path: Path) -> Stamp:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


class Figures:
    """Log-probs under the base and the trained model. `trouble`: why the file cannot be read; empty if it can."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.trouble = path, ""
        self._stamp: Stamp = None
        self._rows, self._margins = dict[str, int](), dict[str, float]()
        self._table: pa.Table | None = None

    def __bool__(self) -> bool:
        return bool(self._rows)

    def refresh(self) -> None:
        """Read the file if it is new."""
        stamp = None if self.path is None else stamp_of(self.path)
        if self.path is None or stamp == self._stamp:
            return
        self._rows, self._margins, self._table, self.trouble, self._stamp = {}, {}, None, "", stamp
        if stamp is None:
            return
        try:
            table = read_table(self.path)
        except InputError as error:
            self.trouble = str(error)
            return
        names = table["ladder"].to_pylist()
        margins = zip(names, table["margin"].to_pylist(), strict=True)
        self._table, self._rows = table, {name: row for row, name in enumerate(names)}
        self._margins = {name: margin for name, margin in margins if margin is not None}

    def margins(self, ladders: Sequence[str]) -> NDArray[np.float64]:
        """The margins of these ladders; NaN without one."""
        return np.array([self._margins.get(name, np.nan) for name in ladders], dtype=np.float64)

    def of(self, ladder: str) -> dict[str, Summed]:
        """The figures of a ladder's responses by `Response.id`; empty without any."""
        row, table = self._rows.get(ladder), self._table
        return {} if row is None or table is None else responses_of(table, row)

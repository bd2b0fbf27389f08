"""Parquet files of ladders, with the same functions as the other formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from seelevel.formats.parquet import read_ladders, save_ladders
from seelevel.formats.pictures import Pictures
from seelevel.formats.records import Record, Rejected, without_thoughts
from seelevel.formats.sources import Source
from seelevel.formats.values import BadRecord
from seelevel.ladder import Ladder


def parse(source: Source) -> Iterator[Record | Rejected]:
    """Ladders of a file or a stage's folder. `source.images`: the folder that must contain their pictures, if given."""
    path, images = source.path, source.images
    pictures = None if images is None else Pictures(images, path)
    for number, ladder in enumerate(islice(read_ladders(path, images, source.keep), source.limit)):
        where = f"{path.name} row {number}"
        if source.seen is not None:
            source.seen()
        try:
            if pictures is not None:
                placed = [replace(image, path=str(pictures.place(image.path))) for image in ladder.images]
                ladder = replace(ladder, images=placed)
            yield Record(where, without_thoughts(ladder))
        except BadRecord as error:
            yield Rejected(where, ladder.id, str(error))


def write(ladders: Iterable[Ladder], path: Path) -> int:
    """Write ladders to one Parquet file; return how many."""
    written = list(ladders)
    save_ladders(written, path)
    return len(written)

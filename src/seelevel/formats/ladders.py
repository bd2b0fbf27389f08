"""Parquet files of ladders, with the same functions as the other formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from seelevel.formats.parquet import each_row, ladder_files, unpacked, write_shard
from seelevel.formats.pictures import Pictures
from seelevel.formats.records import Record, Rejected, without_thoughts
from seelevel.formats.sources import Source, folder_of
from seelevel.formats.values import BadRecord
from seelevel.ladder import Image, Ladder
from seelevel.store import BEGUN


def parse(source: Source) -> Iterator[Record | Rejected]:
    """Ladders of a file or a stage's folder, one after another.

    Their pictures must be in `source.images`; without it, in the folder of the file, or of the run that the file is a
    stage of.
    """
    home = folder_of(source.path)
    run = home.parent if source.images is None and (home / BEGUN).is_file() else source.images
    pictures = Pictures(run, source.path)
    rows = (row for file in ladder_files(source.path) for row in each_row(file))
    for number, (ladder, held) in enumerate(islice(rows, source.limit)):
        where = f"{source.path.name} row {number}"
        if source.seen is not None:
            source.seen()
        try:
            images = [_placed(image, raw, source, pictures) for image, raw in zip(ladder.images, held, strict=True)]
            yield Record(where, without_thoughts(replace(ladder, images=images)))
        except BadRecord as error:
            yield Rejected(where, ladder.id, str(error))


def _placed(image: Image, raw: bytes | None, source: Source, pictures: Pictures) -> Image:
    """A picture in its folder, or, if it is not there, from its bytes. Raises `BadRecord` if there are none."""
    try:
        return replace(image, path=str(pictures.place(image.path)))
    except BadRecord:
        if not raw:
            raise
        return unpacked(replace(image, path=""), raw, source.keep)


def write(ladders: Iterable[Ladder], path: Path) -> int:
    """Write ladders to one Parquet file; return how many. Pictures below its folder are named relative to it."""
    written = 0

    def counted() -> Iterator[Ladder]:
        nonlocal written
        for ladder in ladders:
            written += 1
            yield ladder

    write_shard(path, counted(), path.parent)
    return written

"""The stage `data`: a user's prompts and pictures → shards of ladders in the run folder; bad records are set aside."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from seelevel.errors import InputError
from seelevel.facts import DataFacts
from seelevel.formats import commonest, forms_of, kind, parse, write_rejected
from seelevel.formats.parquet import write_shard
from seelevel.formats.records import REPEATED, Record, Rejected, accepted
from seelevel.formats.sources import Source
from seelevel.image_store import THREADS, ImageStore
from seelevel.images import ImageError
from seelevel.ladder import Image, Ladder
from seelevel.progress import Progress
from seelevel.store import SHARD_SIZE, StageFolder, batched, shards

AHEAD = 64
"""Records whose pictures are read ahead: enough to keep the threads busy, few enough for the memory."""


def ingest(
    source: Source,
    stage: StageFolder,
    root: Path,
    max_rejected: float,
    need_answer: bool = False,
    form: str | None = None,
) -> DataFacts:
    """Read prompts in any format, keep their pictures in `root/images`, write shards and `rejected.jsonl`.

    form: as in `formats.read`. Shards are written as they fill: neither the records nor the ladders are in memory at
    once. Raises `InputError` if no record can be used, or if the share of bad records is above `max_rejected`; in both
    cases `rejected.jsonl` is written, and no shard stays. A stopped step starts again from the beginning, with the same
    result.
    """
    store = ImageStore(root)
    counted = _Counted()
    with Progress("data", total=source.count(), unit="records") as bar:
        source = replace(source, keep=store.begin, seen=bar.advance)
        found, form = forms_of(source, form)
        ladders = counted.each(_store_images(parse(source, form), store, need_answer))
        for number, batch in enumerate(batched(ladders, SHARD_SIZE)):
            if not stage.shard(number).exists():
                write_shard(stage.shard(number), batch, root)
    os.sync()  # the stage is done only once its pictures are on the disk; a sync for each takes ten times as long
    file = stage.path / "rejected.jsonl"
    write_rejected(counted.rejected, file)
    bad = list({record.where: record for record in counted.rejected}.values())  # several ladders may have one place
    read = len(counted.places)
    useless = [record for record in bad if record.reason != REPEATED]
    share = len(useless) / max(read, 1)
    if not counted.ladders or share > max_rejected:
        for shard in shards(stage.path):
            shard.unlink()
    if not counted.ladders:
        raise InputError(f"{source.path} holds no usable record: {commonest(bad)}; fix it: {file} names the places")
    if share > max_rejected:
        raise InputError(
            f"{len(useless)} of {read} records of {source.path} cannot be used ({share:.0%}, over max_rejected "
            f"{max_rejected:.0%}): {commonest(useless)}; {file} lists them: fix them or raise data.max_rejected"
        )
    return DataFacts(
        format=found,
        records=read,
        ladders=counted.ladders,
        answered=counted.answered,
        rounds=counted.rounds,
        images=len(counted.images),
        rejected=len(bad),
        reasons=dict(Counter(kind(r.reason) for r in bad).most_common()),
    )


class _Counted:
    """What is counted of the ladders that pass by; the records set aside stay here."""

    def __init__(self) -> None:
        self.ladders = self.answered = self.rounds = 0
        self.images: set[str] = set()
        self.places: set[str] = set()
        self.rejected: list[Rejected] = []

    def each(self, records: Iterable[tuple[str, Ladder | Rejected]]) -> Iterator[Ladder]:
        for where, record in records:
            self.places.add(where)
            if isinstance(record, Rejected):
                self.rejected.append(record)
                continue
            self.ladders += 1
            self.answered += bool(record.responses)
            self.rounds += record.responses[0].rounds if record.responses else 1
            self.images.update(image.sha256 for image in record.images)
            yield record


def _store_images(
    records: Iterable[Record | Rejected], store: ImageStore, need_answer: bool
) -> Iterator[tuple[str, Ladder | Rejected]]:
    """Each record's place and its ladder, pictures copied to the store, or why it is set aside; in order."""
    ids: set[str] = set()
    for record, images in _read_ahead(records, store):
        if isinstance(record, Rejected):
            yield record.where, record
            continue
        hashes = [image if isinstance(image, ImageError) else image.sha256 for image in images]
        ladder = accepted(record, hashes, ids, need_answer)
        if isinstance(ladder, Ladder):
            ladder = replace(ladder, images=[image for image in images if isinstance(image, Image)])
        yield record.where, ladder


def _read_ahead(
    records: Iterable[Record | Rejected], store: ImageStore
) -> Iterator[tuple[Record | Rejected, list[Image | ImageError]]]:
    """Records with their pictures, which a few threads decode and store some records ahead."""
    stored: dict[str, Image | ImageError] = {}

    def put(path: str) -> Image | ImageError:
        try:
            return store.put(path)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        for batch in batched(records, AHEAD):
            paths = dict.fromkeys(i.path for r in batch if isinstance(r, Record) for i in r.ladder.images)
            new = [path for path in paths if path not in stored]
            stored.update(zip(new, pool.map(put, new), strict=True))
            for record in batch:
                names = [] if isinstance(record, Rejected) else [image.path for image in record.ladder.images]
                yield record, [stored[name] for name in names]

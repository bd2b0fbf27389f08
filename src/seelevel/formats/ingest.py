"""The stage `data`: a user's prompts and pictures → shards of ladders in the run folder; bad records are set aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from seelevel.errors import InputError
from seelevel.facts import DataFacts
from seelevel.formats import commonest, guess_format, kind, parse, write_rejected
from seelevel.formats.parquet import write_shard
from seelevel.formats.records import Record, Rejected, accepted, first_records
from seelevel.images import ImageError, ImageStore
from seelevel.ladder import Image, Ladder
from seelevel.progress import Progress
from seelevel.store import SHARD_SIZE, StageFolder, batched

THREADS = 4
AHEAD = 64
"""Records whose pictures are read ahead: enough to keep the threads busy, few enough for the memory."""


def ingest(
    prompts: Path,
    images: Path | None,
    stage: StageFolder,
    root: Path,
    limit: int | None,
    max_rejected: float,
    need_answer: bool = False,
    form: str | None = None,
) -> DataFacts:
    """Read prompts in any format, copy their pictures to `root/images`, write shards and `rejected.jsonl`.

    limit: only the first `limit` records of the file, including bad ones. form: as in `formats.read`.
    Raises `InputError` if no record can be used, or if the share of bad records is above `max_rejected`; in both cases
    `rejected.jsonl` is written first. A stopped step starts again from the beginning, with the same result.
    """
    records = list(first_records(parse(prompts, images, form), limit))
    store = ImageStore(root)
    ladders: list[Ladder] = []
    rejected: list[Rejected] = []
    with Progress("data", total=len(records), unit="ladders") as bar:
        for record in _store_images(records, store, need_answer):
            if isinstance(record, Rejected):
                rejected.append(record)
            else:
                ladders.append(record)
            bar.advance()
    file = stage.path / "rejected.jsonl"
    write_rejected(rejected, file)
    read = len({record.where for record in records})
    bad = list({record.where: record for record in rejected}.values())  # a record may give several ladders, one place
    share = len(bad) / max(read, 1)
    if not ladders:
        raise InputError(f"{prompts} holds no usable record: {commonest(bad)}; fix it: {file} names the places")
    if share > max_rejected:
        raise InputError(
            f"{len(bad)} of {read} records of {prompts} cannot be used ({share:.0%}, over max_rejected "
            f"{max_rejected:.0%}): {commonest(bad)}; {file} lists them: fix them or raise data.max_rejected"
        )
    for number, batch in enumerate(batched(ladders, SHARD_SIZE)):
        if not stage.shard(number).exists():
            write_shard(stage.shard(number), batch, root)
    return DataFacts(
        format=form or guess_format(prompts),
        records=read,
        ladders=len(ladders),
        answered=sum(bool(ladder.responses) for ladder in ladders),
        rounds=sum(ladder.responses[0].rounds if ladder.responses else 1 for ladder in ladders),
        images=len({image.sha256 for ladder in ladders for image in ladder.images}),
        rejected=len(bad),
        reasons=dict(Counter(kind(r.reason) for r in bad).most_common()),
    )


def _store_images(
    records: Iterable[Record | Rejected], store: ImageStore, need_answer: bool
) -> Iterator[Ladder | Rejected]:
    """Each record's ladder, its pictures copied to the store, or why it is set aside; in order."""
    ids: set[str] = set()
    for record, images in _read_ahead(records, store):
        if isinstance(record, Rejected):
            yield record
            continue
        hashes = [image if isinstance(image, ImageError) else image.sha256 for image in images]
        ladder = accepted(record, hashes, ids, need_answer)
        if isinstance(ladder, Ladder):
            ladder = replace(ladder, images=[image for image in images if isinstance(image, Image)])
        yield ladder


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

"""The data step: a user's prompts and pictures → shards of ladders in the run folder, bad records set aside."""

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
from seelevel.formats.records import Record, Rejected, first_records, judged
from seelevel.images import ImageError, ImageStore
from seelevel.ladder import Image, Ladder
from seelevel.progress import Progress
from seelevel.store import SHARD_SIZE, StageFolder, batched

THREADS = 4
AHEAD = 64
"""Pictures read ahead of the record that is next: enough to keep the threads busy, few enough to hold in memory."""


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
    """Read prompts in any format, keep their pictures in `root/images`, write shards and `rejected.jsonl`.

    limit: only the first so many records of the file, bad ones among them. form: as in `formats.read`.
    Raises `InputError` where no record can be used, or a larger share than `max_rejected` cannot; `rejected.jsonl` is
    there to be read then. The step is quick and is done again from the start after a stop, with the same result.
    """
    form = form or guess_format(prompts)
    records = list(first_records(parse(prompts, images, form), limit))
    store = ImageStore(root)
    ladders: list[Ladder] = []
    rejected: list[Rejected] = []
    with Progress("data", total=len(records), unit="ladders") as bar:
        for record in _settle(records, store, need_answer):
            if isinstance(record, Rejected):
                rejected.append(record)
            else:
                ladders.append(record)
            bar.advance()
    file = stage.path / "rejected.jsonl"
    write_rejected(rejected, file)
    read = len({one.where for one in records})
    bad = list({one.where: one for one in rejected}.values())  # a record may be several ladders, all with its place
    share = len(bad) / max(read, 1)
    if not ladders:
        raise InputError(f"{prompts} holds no usable record: {commonest(bad)}; mend it, {file} says where")
    if share > max_rejected:
        raise InputError(
            f"{len(bad)} of {read} records of {prompts} cannot be used ({share:.0%}, over max_rejected "
            f"{max_rejected:.0%}): {commonest(bad)}; {file} lists them: mend them or raise data.max_rejected"
        )
    for number, batch in enumerate(batched(ladders, SHARD_SIZE)):
        if not stage.shard(number).exists():
            write_shard(stage.shard(number), batch, root)
    return DataFacts(
        format=form,
        records=read,
        ladders=len(ladders),
        answered=sum(bool(ladder.responses) for ladder in ladders),
        rounds=sum(ladder.responses[0].rounds if ladder.responses else 1 for ladder in ladders),
        images=len({image.sha256 for ladder in ladders for image in ladder.images}),
        rejected=len(bad),
        reasons=dict(Counter(kind(r.reason) for r in bad).most_common()),
    )


def _settle(records: Iterable[Record | Rejected], store: ImageStore, need_answer: bool) -> Iterator[Ladder | Rejected]:
    """Each record's ladder with its pictures kept in the store, or why it is set aside; in order."""
    seen: set[str] = set()
    for record, kept in _stored(records, store):
        if isinstance(record, Rejected):
            yield record
            continue
        hashes = [found if isinstance(found, ImageError) else found.sha256 for found in kept]
        ladder = judged(record, hashes, seen, need_answer)
        if isinstance(ladder, Ladder):
            ladder = replace(ladder, images=[found for found in kept if isinstance(found, Image)])
        yield ladder


def _stored(
    records: Iterable[Record | Rejected], store: ImageStore
) -> Iterator[tuple[Record | Rejected, list[Image | ImageError]]]:
    """Records with their pictures, which a few threads decode and keep some records ahead."""
    kept: dict[str, Image | ImageError] = {}

    def put(path: str) -> Image | ImageError:
        try:
            return store.put(path)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        for batch in batched(records, AHEAD):
            paths = dict.fromkeys(i.path for r in batch if isinstance(r, Record) for i in r.ladder.images)
            fresh = [path for path in paths if path not in kept]
            kept.update(zip(fresh, pool.map(put, fresh), strict=True))
            for record in batch:
                names = [] if isinstance(record, Rejected) else [image.path for image in record.ladder.images]
                yield record, [kept[name] for name in names]

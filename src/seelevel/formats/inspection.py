"""What is understood of a user's file, before anything runs: container, form, columns, ladders, what is set aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from seelevel.formats import UnknownForm, forms_of, kind, parse
from seelevel.formats.forms import LADDER_KEYS
from seelevel.formats.records import Record, Rejected, screened
from seelevel.formats.sources import LOOKED_AT, Source, Watched, columns_of
from seelevel.image_store import ImageStore
from seelevel.images import check_image
from seelevel.ladder import Ladder

EXAMPLES = 3
COMPARED = 5
"""Records that are read once without each of their columns, to see which columns matter."""


@dataclass(frozen=True)
class Inspection:
    """What was understood of a file. `form` is None if none is known, and `problem` then says what is near.

    records: how many there are, if that can be told without reading them all. looked_at: how many were read. used and
    ignored: columns, renamed ones as `ours=theirs`. unknown: all columns, if the reader opens the file itself.
    rejected: reasons and counts. examples: ladders as mappings.
    """

    path: str
    container: str
    form: str | None
    problem: str
    records: int | None
    looked_at: int
    used: list[str]
    ignored: list[str]
    unknown: list[str]
    ladders: int
    rejected: dict[str, int]
    examples: list[dict[str, Any]]


def inspect(
    path: Path, images: Path | None, columns: Mapping[str, str], form: str | None = None, limit: int | None = 1000
) -> Inspection:
    """Read the first `limit` records as a run would. Nothing is kept.

    Raises `InputError` if the file or folder as a whole cannot be read.
    """
    source = Source(path, images, columns, limit)
    container, total = source.described(), replace(source, limit=None).count()
    names = columns_of(islice(source.records(), LOOKED_AT))
    try:
        named, form = forms_of(source, form)
    except UnknownForm as error:
        return Inspection(str(path), container, None, error.near, total, 0, [], names, [], 0, {}, [])
    with TemporaryDirectory() as folder, closing(ImageStore(Path(folder))) as store:
        looked_at = Counter[str]()
        source = replace(source, keep=store.begin, seen=lambda: looked_at.update(["records"]))
        ladders, reasons = 0, Counter[str]()
        examples: list[dict[str, Any]] = []
        for found in screened(parse(source, form), store):
            if isinstance(found, Rejected):
                reasons[kind(found.reason)] += 1
                continue
            ladders += 1
            if len(examples) < EXAMPLES:
                examples.append(_example(found, store))
        used = {"id", "images", *LADDER_KEYS} if form == "ladders" else _used(replace(source, seen=None), form)
        count = looked_at["records"] or ladders + sum(reasons.values())
    shown = {name: f"{name}={columns[name]}" if name in columns else name for name in names}
    return Inspection(
        str(path),
        container,
        named,
        "",
        total,
        count,
        [] if used is None else [shown[name] for name in names if name in used],
        [] if used is None else [shown[name] for name in names if name not in used],
        names if used is None else [],
        ladders,
        dict(reasons.most_common()),
        examples,
    )


def _example(ladder: Ladder, store: ImageStore) -> dict[str, Any]:
    pictures = []
    for image in ladder.images:
        facts = check_image(image.path)
        inside = Path(image.path).parent == store.folder
        name = "inside the record" if inside else Path(image.path).name
        pictures.append({"name": name, "width": facts.width, "height": facts.height})
    return {
        "id": ladder.id,
        "pictures": pictures,
        "prompt": [dict(message) for message in ladder.prompt],
        "responses": [{"level": r.level, "messages": [dict(m) for m in r.messages]} for r in ladder.responses],
    }


def _used(source: Source, form: str) -> set[str] | None:
    """The columns without which one of the first records is read differently; None if the reader opens the file itself
    and so reads the same whatever the records are."""
    used: set[str] = set()
    for where, record in list(islice(source.records(), COMPARED)):
        if not isinstance(record, dict):
            continue
        given = Watched(lambda row=(where, record): [row])  # type: ignore[misc]
        whole = list(parse(replace(source, given=given, columns={}), form))
        if not given.read:
            return None
        for name in record:
            if name not in used and list(_alone(source, form, where, _without(record, name))) != whole:
                used.add(name)
    return used


def _without(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != name}


def _alone(source: Source, form: str, where: str, record: Mapping[str, Any]) -> Iterator[Record | Rejected]:
    return parse(replace(source, given=[(where, record)], columns={}), form)

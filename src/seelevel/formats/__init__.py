"""Files ↔ ladders. Each record of a file becomes ladders or is set aside with a reason; a bad one stops nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.formats.records import Record, Rejected, distinct, screened
from seelevel.formats.sources import records
from seelevel.images import ImageStore
from seelevel.ladder import Ladder
from seelevel.registry import choose
from seelevel.store import read_manifest, write_atomically

READERS = {
    "llava": "seelevel.formats.llava:parse",
    "amp": "seelevel.formats.amp:parse",
    "trl": "seelevel.formats.trl:parse",
    "llamafactory": "seelevel.formats.forms:parse",  # both have rows of several forms
    "swift": "seelevel.formats.forms:parse",
    "ranked": "seelevel.formats.ranked:parse",
    "plain": "seelevel.formats.plain:parse",
    "nlf": "seelevel.formats.nlf:parse",
    "vlsafe": "seelevel.formats.vlsafe:parse",
    "ladders": "seelevel.formats.ladders:parse",
}
WRITERS = {
    "llava": "seelevel.formats.llava:write",
    "amp": "seelevel.formats.amp:write",
    "trl": "seelevel.formats.trl:write",
    "llamafactory": "seelevel.formats.llamafactory:write",
    "swift": "seelevel.formats.swift:write",
    "nlf": "seelevel.formats.nlf:write",
    "ladders": "seelevel.formats.ladders:write",
}
FORMATS = tuple(READERS)
BY_CONTENT = "seelevel.formats.forms:parse"
TEXT_FORMATS = ("llava", "amp", "trl", "llamafactory", "swift", "nlf")
"""The formats that are written as text, so their records name picture files."""


def guess_format(path: Path) -> str:
    """The form of a file's first record that has one. Raises `InputError` if none has one."""
    from seelevel.formats.forms import LADDER_KEYS, form_of

    if path.is_dir():
        return "ladders"
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path")
    if path.suffix == ".parquet" and _parquet_columns(path) >= LADDER_KEYS:
        return "ladders"
    first: dict[str, Any] | None = None
    for _, record in records(path):
        if isinstance(record, dict):
            first = record if first is None else first
            if (form := form_of(record)) is not None:
                return form
    if first is None:
        return "llava"
    keys = ", ".join(ascii(key)[1:-1] for key in list(first)[:8]) or "none"
    raise InputError(f"{path}: no record has keys of a known format; the first has {keys}; see docs/formats.md")


def _parquet_columns(path: Path) -> set[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return set(pq.read_schema(path).names)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} is not a Parquet file ({error}); write it again") from error


def parse(path: Path, images: Path | None = None, form: str | None = None) -> Iterator[Record | Rejected]:
    """The records of a file, each read by the form that its keys tell, or all in one format. Ids differ.

    Their pictures exist but are not decoded yet.
    """
    if form is None:
        form = "ladders" if guess_format(path) == "ladders" else BY_CONTENT
    found: Iterator[Record | Rejected] = choose("format", form, READERS)(path, images)
    return distinct(found)


def read(
    path: str | Path, images: str | Path | None = None, form: str | None = None, need_answer: bool = False
) -> Iterator[Ladder | Rejected]:
    """The ladders of a file in any format, and the records set aside with their reasons, in order.

    images: the folder of the pictures that the records name; None: the file's folder and its subfolder `images`.
    form: one of FORMATS or `"module:function"`; None: by the content.
    Raises `InputError` if the file or folder as a whole cannot be read.
    """
    folder = None if images is None else Path(images)
    return screened(parse(Path(path), folder, form), need_answer)


def _target_format(path: Path) -> str:
    """The format that a file's suffix stands for. Raises `InputError` if it stands for none."""
    if path.suffix == ".parquet":
        return "ladders"
    if path.suffix == ".jsonl":
        return "trl"
    raise InputError(f"{path}: the name does not tell the format to write; add --to {', '.join(WRITERS)}")


def convert(
    source: str | Path,
    target: str | Path,
    source_format: str | None = None,
    target_format: str | None = None,
    images: str | Path | None = None,
) -> dict[str, int]:
    """Write a file's records in another format; return how many were read, written and rejected.

    The JSON formats name picture files, so the pictures are copied to `images` beside the target. Records set aside go
    to `<target>.rejected.jsonl`. Records that the format cannot hold (AMP: no response; TRL: no pair) are not written.
    LVLM_NLF's records are read and counted as one ladder per round; `written` counts records.
    """
    source, target = Path(source), Path(target)
    if read_manifest(target.parent) is not None:
        raise InputError(f"{target} is inside a stage of a run, which would read the file as its own; name another OUT")
    to = target_format or _target_format(target)
    if to in READERS and to not in WRITERS:
        raise InputError(f"format '{to}' is read but not written; convert to {', '.join(WRITERS)}")
    write = choose("format", to, WRITERS)
    store = ImageStore(target.parent) if to in TEXT_FORMATS and target.suffix != ".parquet" else None
    ladders: list[Ladder] = []
    rejected: list[Rejected] = []
    for record in read(source, images, source_format):
        if isinstance(record, Rejected):
            rejected.append(record)
        elif store is None:
            ladders.append(record)
        else:
            ladders.append(replace(record, images=[store.put(image.path) for image in record.images]))
    if not ladders:
        raise InputError(f"{source} holds no usable record; {commonest(rejected)}")
    part = target.with_name(f".part-{target.name}")  # an existing target is only replaced by a file with records
    try:
        written: int = write(ladders, part)
        if not written:
            raise InputError(f"{source}: none of its {len(ladders)} records can be written as {to}; name another --to")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    if rejected:
        write_rejected(rejected, target.with_name(target.name + ".rejected.jsonl"))
    return {"read": len(ladders) + len(rejected), "written": written, "rejected": len(rejected)}


def write_rejected(rejected: list[Rejected], path: Path) -> None:
    """One JSON object per line: where, id, reason."""
    write_atomically(path, "".join(json.dumps(asdict(r), ensure_ascii=False) + "\n" for r in rejected))


def commonest(rejected: list[Rejected], count: int = 3) -> str:
    """The most frequent reasons: '12 × missing image, 3 × no answer'."""
    kinds = Counter(kind(r.reason) for r in rejected)
    return ", ".join(f"{n} × {reason}" for reason, n in kinds.most_common(count)) or "it is empty"


def kind(reason: str) -> str:
    """A reason without the quoted name: \"image 'a.jpg' is missing\" → 'image is missing'."""
    words = reason.split("'")
    if len(words) >= 3:
        return f"{words[0].strip()} {words[-1].strip()}"
    return "image: " + reason.split(": ", 1)[1] if reason.startswith("image ") and ": " in reason else reason

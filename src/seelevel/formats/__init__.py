"""Files ↔ ladders. A format is read as records, each a ladder or set aside with a reason; none stops the reading."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from seelevel.errors import InputError
from seelevel.formats.records import Record, Rejected, load_json, screened
from seelevel.images import ImageStore
from seelevel.ladder import Ladder
from seelevel.registry import choose
from seelevel.store import read_manifest, write_atomically

READERS = {
    "llava": "seelevel.formats.llava:parse",
    "amp": "seelevel.formats.amp:parse",
    "trl": "seelevel.formats.trl:parse",
    "nlf": "seelevel.formats.nlf:parse",
    "vlsafe": "seelevel.formats.vlsafe:parse",
    "ladders": "seelevel.formats.ladders:parse",
}
WRITERS = {
    "llava": "seelevel.formats.llava:write",
    "amp": "seelevel.formats.amp:write",
    "trl": "seelevel.formats.trl:write",
    "nlf": "seelevel.formats.nlf:write",
    "ladders": "seelevel.formats.ladders:write",
}
FORMATS = tuple(READERS)
KEYS = {
    "amp": {"output_1"},
    "trl": {"chosen", "rejected"},
    "llava": {"conversations"},
    "nlf": {"interaction"},
    "vlsafe": {"image_id", "query"},
    "ladders": {"prompt", "responses"},
}
"""What tells a record's format, asked in this order: AMP's records may hold conversations too."""
TEXT_FORMATS = ("llava", "amp", "trl", "nlf")
"""The formats that are written as text and so name their pictures."""


def guess_format(path: Path) -> str:
    """The format a file is in, by what its first record holds. Raises `InputError` where that says nothing."""
    if path.is_dir():
        return "ladders"
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path")
    if path.suffix == ".parquet":
        found = _by_keys(_parquet_columns(path))
    else:
        # By the first record that is one, so that a bad one at the start does not hide the others.
        records = [record for _, record in load_json(path) if isinstance(record, dict)]
        found = next(filter(None, (_by_keys(set(record)) for record in records)), None if records else "llava")
    if found is None:
        raise InputError(
            f"{path}: no record has conversations (LLaVA), output_1 (AMP), chosen and rejected (TRL), interaction "
            "(LVLM_NLF) or image_id and query (VLSafe)"
        )
    return found


def _by_keys(keys: set[str]) -> str | None:
    for form, needed in KEYS.items():
        if needed <= keys:
            return form
    return None


def _parquet_columns(path: Path) -> set[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return set(pq.read_schema(path).names)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} is not a Parquet file ({error}); write it again") from error


def parse(path: Path, images: Path | None = None, form: str | None = None) -> Iterator[Record | Rejected]:
    """The records of a file in any format; their pictures are there, but not yet decoded, ids may be double."""
    found: Iterator[Record | Rejected] = choose("format", form or guess_format(path), READERS)(path, images)
    return found


def read(
    path: str | Path, images: str | Path | None = None, form: str | None = None, need_answer: bool = False
) -> Iterator[Ladder | Rejected]:
    """Ladders of a file in any format, and the records set aside with their reasons, in order.

    images: folder that the records name their pictures in; None is the file's own folder and its `images`.
    form: one of FORMATS or `"module:function"`; None is told by the content.
    Raises `InputError` where the file or folder as a whole is wrong.
    """
    folder = None if images is None else Path(images)
    return screened(parse(Path(path), folder, form), need_answer)


def _target_format(path: Path) -> str:
    """The format that a file's name asks for. Raises `InputError` where it leaves that open."""
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
    """Write a file's records in another format; returns how many were read, written and rejected.

    The JSON formats name their pictures, which are therefore copied to `images` beside the file. Records set aside go
    to `<target>.rejected.jsonl`. Records that the format cannot hold (AMP: no response; TRL: no pair) are not written.
    LVLM_NLF's records are read as a ladder a round, and counted as such; written is how many records these make.
    """
    source, target = Path(source), Path(target)
    if read_manifest(target.parent) is not None:
        raise InputError(f"{target} lies in a stage of a run, which would read it as its own; name another OUT")
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
    part = target.with_name(f".part-{target.name}")  # what stands in the target is not lost to nothing
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
    """One JSON object a line: where, id, reason."""
    write_atomically(path, "".join(json.dumps(asdict(r), ensure_ascii=False) + "\n" for r in rejected))


def commonest(rejected: list[Rejected], count: int = 3) -> str:
    """The commonest reasons, in words: '12 × missing image, 3 × no answer'."""
    kinds = Counter(kind(r.reason) for r in rejected)
    return ", ".join(f"{n} × {reason}" for reason, n in kinds.most_common(count)) or "it is empty"


def kind(reason: str) -> str:
    """A reason without the name it is about: \"image 'a.jpg' is missing\" → 'image is missing'."""
    words = reason.split("'")
    if len(words) >= 3:
        return f"{words[0].strip()} {words[-1].strip()}"
    return "image: " + reason.split(": ", 1)[1] if reason.startswith("image ") and ": " in reason else reason

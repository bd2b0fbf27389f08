"""Files ↔ ladders. Each record of a file becomes ladders or is set aside with a reason; a bad one stops nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cache, partial
from itertools import islice
from pathlib import Path

from seelevel.errors import InputError
from seelevel.formats.forms import LADDERS, form_of
from seelevel.formats.records import Record, Rejected, distinct, screened
from seelevel.formats.sources import LOOKED_AT, Source, Watched, columns_of, records
from seelevel.image_store import ImageStore, cached_pictures
from seelevel.ladder import Ladder, changed
from seelevel.opening import require_replaceable
from seelevel.registry import choose
from seelevel.store import flush, read_manifest, write_lines

BY_CONTENT = "seelevel.formats.forms:parse"
READERS = {
    **dict.fromkeys((*LADDERS, "llamafactory"), BY_CONTENT),
    "ladders": "seelevel.formats.ladders:parse",
}
MIXED = ("llamafactory", "swift")
"""Formats that have rows of several forms: each is read by its own keys."""
WRITERS = {
    "llava": "seelevel.formats.llava:write",
    "amp": "seelevel.formats.amp:write",
    "trl": "seelevel.formats.trl:write",
    "llamafactory": "seelevel.formats.llamafactory:write",
    "swift": "seelevel.formats.swift:write",
    "nlf": "seelevel.formats.nlf:write",
    "ladders": "seelevel.formats.ladders:write",
}
KEYS = {
    "amp": {"output_1"},
    "trl": {"chosen", "rejected"},
    "swift": {"messages", "rejected_response"},
    "ranked": {"prompt", "responses"},
    "llava": {"conversations"},
    "plain": {"question"},
    "nlf": {"interaction"},
    "vlsafe": {"image_id", "query"},
}
"""The commonest keys of each form, for messages; `seelevel.formats.forms.form_of` decides."""
TEXT_FORMATS = ("llava", "amp", "trl", "llamafactory", "swift", "nlf")
"""The formats that are written as text, so their records name picture files."""


class UnknownForm(InputError):
    """The records have the keys of no form. `near`: the nearest form and what it lacks, or what each needs."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        lacking = {form: needed for form, needed in KEYS.items() if not needed <= {*names}}
        shares = {form: len(needed & {*names}) / len(needed) for form, needed in lacking.items()}
        form = max(shares, key=shares.__getitem__)
        self.near = f"the nearest form, {form}, lacks {', '.join(sorted(KEYS[form] - {*names}))}"
        if not shares[form]:
            self.near = "forms need " + "; ".join(f"{form}: {', '.join(sorted(KEYS[form]))}" for form in shares)
        super().__init__(
            f"{path}: no known form; the records have {', '.join(names) or 'no keys'}; {self.near}. If it has another "
            f"name here, say so: data.columns in a recipe, --columns OURS=THEIRS; `seelevel inspect {path}` shows the "
            "columns"
        )


def guess_format(source: Source) -> str:
    """The form of a source's first record that has one. Raises `InputError` if none has one."""
    first = []
    # The first recognised record decides, so that a bad one at the start does not hide the format of the others.
    for where, record in islice(replace(source, seen=None).records(), LOOKED_AT):
        form = form_of(record) if isinstance(record, dict) else None
        if form is not None:
            return form
        first.append((where, record))
    if not first:
        return "llava"
    raise UnknownForm(source.path, columns_of(first))


def forms_of(source: Source, form: str | None) -> tuple[str, str]:
    """(the format to name, the format to read by). Unless one is named, each record is read by its own keys."""
    if form is not None:
        return form, form
    found = guess_format(source)
    return found, found if found == "ladders" else BY_CONTENT


def parse(source: Source, form: str | None = None) -> Iterator[Record | Rejected]:
    """The records of a source, each read by the form that its keys tell, or all in one format. Ids differ.

    Their pictures exist but are not decoded yet. Raises `InputError` if a reader opens the files itself, so that the
    source's columns would have no effect.
    """
    name = forms_of(source, form)[1]
    reader = choose("format", name, READERS)
    if name in LADDERS and name not in MIXED:
        reader = partial(reader, form=name)
    return distinct(_with_columns(reader, source, name) if source.columns else reader(source))


def _with_columns(
    reader: Callable[[Source], Iterator[Record | Rejected]], source: Source, form: str
) -> Iterator[Record | Rejected]:
    given = Watched(lambda: records(source.path))
    for found in reader(replace(source, given=given)):
        if not given.read:
            raise InputError(f"columns: format {form} reads {source.path} by its own names; leave columns out")
        yield found


def read(
    path: str | Path,
    images: str | Path | None = None,
    form: str | None = None,
    need_answer: bool = False,
    columns: Mapping[str, str] | None = None,
    store: ImageStore | None = None,
    fetch: bool = False,
) -> Iterator[Ladder | Rejected]:
    """The ladders of a file or folder in any format, and the records set aside with their reasons, in order.

    images: the folder of the pictures that the records name; None: the file's folder and its subfolder `images`.
    form: one of READERS or `"module:function"`; None: by the content. columns: our name → the file's name.
    store: where pictures inside the file are kept; None: in the cache. fetch: ask servers for pictures that records
    name by an address; else such records are set aside.
    Raises `InputError` if the file or folder as a whole cannot be read.
    """
    folder, kept = None if images is None else Path(images), store or cached_pictures()
    source = Source(Path(path), folder, columns or {}, keep=kept.begin, fetch=fetch)
    return screened(parse(source, form), kept, need_answer)


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
    columns: Mapping[str, str] | None = None,
    fetch: bool = False,
) -> dict[str, int]:
    """Write a file's records in another format; return how many were read, written and rejected.

    The target names picture files, so the pictures are copied to `images` beside it; Parquet for TRL holds them. So are
    pictures inside the source. Records set aside go to `<target>.rejected.jsonl`. Records that the format cannot hold
    (AMP: no response; TRL: no pair) are not written. LVLM_NLF's records are read and counted as one ladder per round;
    `written` counts records.
    """
    source, target = Path(source), Path(target)
    if read_manifest(target.parent) is not None:
        raise InputError(f"{target} is inside a stage of a run, which would read the file as its own; name another OUT")
    to = target_format or _target_format(target)
    if to in READERS and to not in WRITERS:
        raise InputError(f"format '{to}' is read but not written; convert to {', '.join(WRITERS)}")
    require_replaceable(target)
    write = choose("format", to, WRITERS)
    store = ImageStore(target.parent)
    put = cache(store.put) if to not in TEXT_FORMATS or target.suffix != ".parquet" else None
    rejected: list[Rejected] = []
    taken = 0

    def ladders() -> Iterator[Ladder]:
        nonlocal taken
        for record in read(source, images, source_format, columns=columns, store=store, fetch=fetch):
            if isinstance(record, Rejected):
                rejected.append(record)
                continue
            taken += 1
            yield record if put is None else changed(record, images=[put(image.path) for image in record.images])

    part = target.with_name(f".part-{target.name}")  # an existing target is only replaced by a file with records
    try:
        written: int = write(ladders(), part)
        if not taken:
            raise InputError(f"{source} holds no usable record; {commonest(rejected)}")
        if not written:
            raise InputError(f"{source}: none of its {taken} records can be written as {to}; name another --to")
        part.replace(target)
        flush(target.parent)
    except OSError as error:
        if error.filename == str(part):
            error.filename = str(target)  # the name that the user knows
        raise
    finally:
        with suppress(OSError):  # a read-only disk: the first error is the one to report
            part.unlink(missing_ok=True)
    if rejected:
        write_rejected(rejected, target.with_name(target.name + ".rejected.jsonl"))
    return {"read": taken + len(rejected), "written": written, "rejected": len(rejected)}


def write_rejected(rejected: list[Rejected], path: Path) -> None:
    """One JSON object per line: where, id, reason."""
    write_lines(path, map(asdict, rejected))


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

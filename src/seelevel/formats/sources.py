"""Where records come from: one file or a folder of them, told by content, read piece by piece.

JSON (a list, lines, one record, ids to records) and its gzip, CSV, Parquet, Arrow, WebDataset tars, and folders of any
of these: shards of the hub, and what `datasets` saves.
"""

from __future__ import annotations

import gzip
import itertools
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from seelevel.errors import InputError
from seelevel.formats.json_records import LINES, json_records, table_records
from seelevel.formats.tables import arrow_records, parquet_records, rows_in, tar_records
from seelevel.ladder import Image
from seelevel.opening import open_file
from seelevel.registry import nearest
from seelevel.store import read_mapping

HEAD = 512
LOOKED_AT = 100
"""Records whose names are looked at, for the form and for the columns that a recipe names."""
KINDS = {
    ".parquet": "Parquet", ".arrow": "Arrow", ".tar": "tar", ".csv": "CSV", ".tsv": "TSV",
    ".jsonl": "JSON", ".ndjson": "JSON", ".json": "JSON",
}  # fmt: skip
"""Files of records in a folder. JSON counts only if there is nothing else: beside tables it describes them."""
DESCRIPTIONS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json")
SPLITS = ("train", "test", "validation", "valid", "val", "dev", "eval")
SPLIT = re.compile(rf"(?<![a-z])({'|'.join(SPLITS)})(?![a-z])")
REFUSED = {
    b"PK\x03\x04": ("a zip or a spreadsheet", "unpack it, or save the table as CSV or Parquet"),
    b"\xd0\xcf\x11\xe0": ("a spreadsheet", "save the table as CSV or Parquet"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "unpack it: zstd -d"),
    b"BZh": ("compressed by bzip2", "unpack it: bunzip2"),
    b"\xfd7zXZ": ("compressed by xz", "unpack it: unxz"),
    b"SQLite format 3": ("a database", "save the table as CSV or Parquet"),
    b"version https://git-lfs": ("a pointer to a file of Git LFS", "fetch the file itself: git lfs pull"),
    b"\x80\x04": ("a pickle, which is never opened", "save it as JSON or Parquet"),
    b"\x80\x05": ("a pickle, which is never opened", "save it as JSON or Parquet"),
}
"""Beginnings of files that are not read: what they are, and the remedy."""


@dataclass(frozen=True)
class Source:
    """What a reader of a format is given.

    path: a file, a folder of shards, or `FOLDER/split`. images: the folder of the pictures that records name; None: the
    file's folder and its subfolder `images`. columns: our name → the file's name. limit: only the first so many
    records. keep: takes the bytes of a picture inside a record and returns the picture's file.
    """

    path: Path
    images: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    keep: Callable[[bytes], Image] | None = None
    fetch: bool = False
    """Whether to ask servers for pictures that records name by an address."""
    seen: Callable[[], object] | None = None
    """Called for each record that is read."""
    given: Iterable[tuple[str, Any]] | None = None
    """Records that stand in for those of the files."""

    @property
    def stem(self) -> str:
        """The name of file or folder, from which records without an id are named."""
        return self.path.name.split(".")[0] or self.path.name

    def records(self) -> Iterator[tuple[str, Any]]:
        """(place, record) in order, columns renamed, up to the limit."""
        found = itertools.islice(records(self.path) if self.given is None else self.given, self.limit)
        renamed = _renamed(found, self.columns, self.path) if self.columns else found
        for where, record in renamed:
            if self.seen is not None:
                self.seen()
            yield where, record

    def described(self) -> str:
        """Its container in words: 'folder of 14 Parquet files', or 'of 3 of 14' if the names tell that some lack."""
        found = files(self.path)
        kinds = " and ".join(dict.fromkeys(map(container, found)))
        if found == [self.path]:
            return kinds
        whole = {int(match[1]) for file in found if (match := re.search(r"-of-(\d+)\.", file.name))}
        count = f"{len(found)} of {whole.pop()}" if len(whole) == 1 and whole != {len(found)} else f"{len(found)}"
        return f"folder of {count} {kinds} files"

    def count(self) -> int | None:
        """How many records there are, if the files' own tables of contents tell."""
        found = files(self.path)
        if any(container(file) != "Parquet" for file in found):
            return None
        rows = sum(map(rows_in, found))
        return rows if self.limit is None else min(rows, self.limit)


@dataclass
class Watched:
    """Records to give to a source. `read`: whether anything has asked the source for them."""

    records: Callable[[], Iterable[tuple[str, Any]]]
    read: bool = False

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        self.read = True
        return iter(self.records())


def folder_of(path: Path) -> Path:
    """The folder in which the pictures that records name are looked for: the file's, or the folder of shards itself."""
    return path if path.is_dir() else path.parent


def records(path: Path) -> Iterator[tuple[str, Any]]:
    """The records of a file or a folder: (place, record). A picture inside one is `{"bytes": b"…", "path": "a.jpg"}`.

    Raises `InputError`, with the place and a remedy, for what cannot be read.
    """
    for file in files(path):
        yield from _of_file(file)


def container(path: Path) -> str:
    """What a file is, by its content: Parquet, Arrow, tar, CSV, TSV or JSON.

    Raises `InputError` if it does not exist, is no file, or is of a kind that is not read.
    """
    try:
        file = open_file(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path} does not exist; check the path") from error
    with file:
        head = file.read(HEAD)
        if head.startswith(b"\x1f\x8b"):
            file.seek(0)
            head = _first(path, _unzipped(file))
    for magic, (kind, remedy) in REFUSED.items():
        if head.startswith(magic):
            raise InputError(f"{path} is {kind}; {remedy}")
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix != ".gz"]
    if head.startswith(b"PAR1") or (suffixes[-1:] == [".parquet"]):
        return "Parquet"
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return "Arrow"
    if head[257:262] == b"ustar" or suffixes[-1:] == [".tar"]:
        return "tar"
    if suffixes[-1:] in ([".csv"], [".tsv"]) and not head.lstrip().startswith((b"[", b"{")):
        return suffixes[-1][1:].upper()
    return "JSON"


def _unzipped(file: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, gzip.open(file, "rb"))


def _first(path: Path, file: BinaryIO) -> bytes:
    try:
        return file.read(HEAD)
    except (OSError, EOFError, zlib.error) as error:
        raise _broken_gzip(path, error) from error


def _broken_gzip(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: broken gzip ({error}); fetch or write the file again")


def _of_file(path: Path) -> Iterator[tuple[str, Any]]:
    kind = container(path)
    if kind == "Parquet":
        yield from parquet_records(path)
        return
    if kind == "Arrow":
        yield from arrow_records(path)
        return
    with open_file(path) as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        with _unzipped(file) if zipped else file as content:
            try:
                if kind == "tar":
                    yield from tar_records(path, content)
                elif kind == "JSON":
                    lines = bool({*LINES} & {suffix.lower() for suffix in path.suffixes})
                    yield from json_records(path, content, lines)
                else:
                    yield from table_records(path, content, "," if kind == "CSV" else "\t")
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise _broken_gzip(path, error) from error


def files(path: Path) -> list[Path]:
    """The file, or a folder's shards in order. `FOLDER/split` names one split of a folder with several.

    Raises `InputError` if there is nothing to read, or if it is not clear what is meant.
    """
    if path.is_file():
        return [path]
    if path.is_dir():
        return _in_folder(path, None)
    if path.parent.is_dir() and path.name in SPLITS:
        return _in_folder(path.parent, path.name)
    return [path]  # `container` says that it does not exist


def _in_folder(folder: Path, split: str | None) -> list[Path]:
    if (splits := (read_mapping(folder / "dataset_dict.json") or {}).get("splits")) is not None:
        raise InputError(f"{folder} holds the splits {', '.join(splits)}; name one: {folder / str(splits[0])}")
    if (state := read_mapping(folder / "state.json")) is not None and "_data_files" in state:
        return [folder / Path(str(entry["filename"])).name for entry in state["_data_files"]]
    by_kind: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir(), key=_in_order):
        kind = KINDS.get(file.with_suffix("").suffix if file.suffix == ".gz" else file.suffix)
        if kind is not None and not file.name.startswith(".") and file.name not in DESCRIPTIONS and file.is_file():
            by_kind.setdefault(kind, []).append(file)
    if len(by_kind) > 1:
        by_kind.pop("JSON", None)
    if len(by_kind) > 1:
        raise InputError(f"{folder} holds {' and '.join(by_kind)} files; name one file, or a folder of one kind")
    if not by_kind:
        return _in_only_folder(folder, split)
    return _of_split(folder, next(iter(by_kind.values())), split)


def _in_only_folder(folder: Path, split: str | None) -> list[Path]:
    """The files of the one folder below that has any."""
    inner = [place for place in sorted(folder.iterdir()) if place.is_dir() and not place.name.startswith(".")]
    full = [place for place in inner if any(file.suffix in KINDS for file in place.iterdir())]
    if len(full) == 1:
        return _in_folder(full[0], split)
    if full:
        names = ", ".join(place.name for place in full[:8])
        raise InputError(f"{folder} holds the folders {names}; name one: {full[0]}")
    raise InputError(
        f"{folder} holds no file of records (Parquet, Arrow, tar, CSV, JSON); name one, or a folder of them"
    )


def _of_split(folder: Path, found: list[Path], split: str | None) -> list[Path]:
    splits: dict[str, list[Path]] = {}
    for file in found:
        match = SPLIT.search(file.name.lower())
        splits.setdefault("" if match is None else match[1], []).append(file)
    if split is not None:
        if split not in splits:
            raise InputError(f"{folder} has no split {split}; {nearest(split, filter(None, splits))}")
        return splits[split]
    if len(splits) > 1:
        names = ", ".join(name or splits[""][0].name for name in splits)
        first = next(iter(sorted(filter(None, splits), key=SPLITS.index)))
        raise InputError(f"{folder} holds several splits ({names}); name one: {folder / first}, or a file")
    return next(iter(splits.values()))


def _in_order(file: Path) -> list[Any]:
    """shard-2 before shard-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", file.name)]


def _renamed(
    found: Iterator[tuple[str, Any]], columns: Mapping[str, str], path: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Records under our names. Raises `InputError` if a column that is named is in none of the first records."""
    first = list(itertools.islice(found, LOOKED_AT))
    names = columns_of(first)
    for ours, theirs in columns.items():
        if first and theirs not in names:
            raise InputError(f"columns: {ours}: {path} has no column {theirs}; it has {', '.join(names)}")
    taken = set(columns.values())
    for where, record in itertools.chain(first, found):
        if isinstance(record, dict):
            kept = {name: value for name, value in record.items() if name not in taken and name not in columns}
            record = {**kept, **{ours: record[theirs] for ours, theirs in columns.items() if theirs in record}}
        yield where, record


def columns_of(found: Iterable[tuple[str, Any]]) -> list[str]:
    """The names in records, in their order."""
    return list(dict.fromkeys(name for _, record in found if isinstance(record, dict) for name in record))

"""Question files of published benchmarks in an evaluation folder: JSON, JSON lines, or Parquet with pictures inside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seelevel.errors import InputError
from seelevel.scorers.files import Entry, read_entries
from seelevel.scorers.questions import find_image

SUFFIXES = (".json", ".jsonl", ".parquet")


def read_questions(path: Path) -> list[Entry]:
    """The records of a question file. Raises InputError with file and place."""
    if path.suffix.lower() != ".parquet":
        return read_entries(path)
    from seelevel.formats.tables import parquet_records, plain

    return [Entry(plain(record), where) for where, record in parquet_records(path)]


def question_files(folder: Path, what: str) -> list[Path]:
    """The question files in a benchmark's folder, by name. Raises InputError if there is none."""
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise InputError(f"{folder}: no question file ({', '.join(SUFFIXES)}) in it; {what}")
    return files


def picture_of(data: Path, entry: Entry, keys: Sequence[str] = ("image",)) -> str:
    """The path of a question's picture: by name in the evaluation folder, or from its bytes, kept in the cache.

    Raises InputError if it is missing, outside the folder, or broken.
    """
    value = entry.get(keys)
    if not isinstance(value, dict) or not isinstance(value.get("bytes"), bytes):
        return find_image(data, Entry({"image": value}, entry.where))
    from seelevel.image_store import cached_pictures
    from seelevel.images import ImageError

    try:
        return cached_pictures().put_bytes(value["bytes"]).path
    except ImageError as error:
        raise InputError(f"{entry.where}: the picture cannot be used ({error}); fetch the file again") from error

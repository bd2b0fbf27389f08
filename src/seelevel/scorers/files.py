"""Public question, answer and judgement files: JSON lines or a JSON list, with the place of every record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seelevel.errors import InputError

Record = dict[str, Any]
TEXT_KEYS = ("text", "answer", "caption", "response", "output")
ID_KEYS = ("question_id", "id")


@dataclass(frozen=True)
class Entry:
    """A record and its place: 'file, line 3' or 'file, record 3'."""

    record: Record
    where: str

    def first(self, keys: Sequence[str], what: str) -> Any:
        """The value of the first of `keys` that the record has. Raises InputError if it has none."""
        for key in keys:
            if self.record.get(key) is not None:
                return self.record[key]
        raise InputError(f"{self.where}: no {what}; it needs one of {', '.join(keys)}")

    def text(self, keys: Sequence[str], what: str) -> str:
        """`first` as a text. Numbers, such as ids and counts, are written out.

        Raises InputError for any other value: in Python's notation it could be scored as an answer.
        """
        value = self.first(keys, what)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InputError(f"{self.where}: the {what} is {value!r:.60}, not a text")
        return str(value)


def text_or_missing(entry: Entry | None) -> str | None:
    """An answer's text; None if there is no answer, or it is null. Raises InputError for a record without a key for an
    answer, or with a value that is not a text."""
    if entry is None or (entry.record.keys() & TEXT_KEYS and all(entry.record.get(key) is None for key in TEXT_KEYS)):
        return None
    return entry.text(TEXT_KEYS, "answer")


def read_text(path: Path) -> str:
    """A file's text. Raises InputError if the file does not exist or is not UTF-8."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); convert the file") from error


def read_json(path: Path) -> Any:
    """A JSON file. Raises InputError with file and line."""
    return _parse(path, read_text(path), 1)


def read_entries(path: Path) -> list[Entry]:
    """The records of a file of JSON lines or of one JSON list. Raises InputError with file and line."""
    text = read_text(path)
    if text.lstrip().startswith("["):
        records = [(f"{path}, record {n}", value) for n, value in enumerate(read_json(path), 1)]
    else:
        lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
        records = [(f"{path}, line {n}", _parse(path, line, n)) for n, line in lines]
    if not records:
        raise InputError(f"{path}: no record in it; check the file")
    for where, value in records:
        if not isinstance(value, dict):
            raise InputError(f"{where}: a JSON object is needed, found {type(value).__name__}")
    return [Entry(value, where) for where, value in records]


def _parse(path: Path, text: str, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise InputError(f"{path}, line {line}: not JSON ({error.msg}); mend that line") from error
    except (ValueError, RecursionError) as error:  # a number with thousands of digits, too many nested lists
        raise InputError(f"{path}, line {first_line}: not usable JSON ({error!s:.80}); mend that line") from error

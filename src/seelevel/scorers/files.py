"""Public question, answer and judgement files: JSON a line or a JSON list, with the place of every record."""

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
    """A record and where it stands: 'file, line 3' or 'file, record 3'."""

    record: Record
    where: str

    def first(self, keys: Sequence[str], what: str) -> Any:
        """The value under the first of `keys` that is there. Raises InputError where none is."""
        for key in keys:
            if self.record.get(key) is not None:
                return self.record[key]
        raise InputError(f"{self.where}: no {what}; it needs one of {', '.join(keys)}")

    def text(self, keys: Sequence[str], what: str) -> str:
        """`first` as a text; numbers are written out (ids and counts often are some). Raises InputError for the rest,
        which written out as Python would write it could be scored as an answer."""
        value = self.first(keys, what)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InputError(f"{self.where}: the {what} is {value!r:.60}, not a text; mend that record")
        return str(value)


def text_or_missing(entry: Entry | None) -> str | None:
    """An answer's text; None where there is no answer, or an empty place for one (null). Raises InputError for a record
    that has no place for an answer, or no text in it."""
    if entry is None or (entry.record.keys() & TEXT_KEYS and all(entry.record.get(key) is None for key in TEXT_KEYS)):
        return None
    return entry.text(TEXT_KEYS, "answer")


def read_text(path: Path) -> str:
    """A file's text. Raises InputError where there is none or it is not UTF-8."""
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
    """The records of a JSON-lines file or of a JSON list, whichever it is. Raises InputError with file and line."""
    text = read_text(path)
    if text.lstrip().startswith("["):
        found = [(f"{path}, record {n}", value) for n, value in enumerate(read_json(path), 1)]
    else:
        found = []
        for n, line in enumerate(text.split("\n"), 1):
            if line.strip():
                found.append((f"{path}, line {n}", _parse(path, line, n)))
    if not found:
        raise InputError(f"{path}: no record in it; check the file")
    for where, value in found:
        if not isinstance(value, dict):
            raise InputError(f"{where}: a JSON object is needed, found {type(value).__name__}")
    return [Entry(value, where) for where, value in found]


def _parse(path: Path, text: str, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise InputError(f"{path}, line {line}: not JSON ({error.msg}); mend that line") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, lists without end
        raise InputError(f"{path}, line {first_line}: not usable JSON ({error!s:.80}); mend it") from error

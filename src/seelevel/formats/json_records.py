"""Records in JSON text: a list, one record per line, one record, or ids to records; read piece by piece."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from seelevel.errors import InputError
from seelevel.formats.values import kind_of
from seelevel.json_text import unique_keys

CHUNK = 1 << 20
LONGEST = 1 << 28
"""Bytes of the longest line, record or single mapping: beyond it, no record is meant."""
WRAPPERS = ("data", "rows", "records", "examples", "annotations")
"""Keys under which a mapping may hold the list of records."""
PARTS = {"from", "value", "role", "content", "type", "text", "bytes", "path", "url", "image_url"}
"""Keys of turns, parts and pictures. A mapping of such mappings is one record, not a mapping of ids to records."""
LINES = (".jsonl", ".ndjson")
DECODER = json.JSONDecoder(
    parse_constant=lambda name: None if name == "NaN" else float(name), object_pairs_hook=unique_keys
)
"""NaN is what frames write for a missing value."""


def json_records(path: Path, file: BinaryIO, lines: bool) -> Iterator[tuple[str, Any]]:
    """The records of an open file, each with its place: 'prompts.json[3]', 'rows.jsonl line 4', 'p.json'.

    lines: the name says that each line is a record. Raises `InputError` with the line that is not JSON.
    """
    begin = file.read(CHUNK).removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    file.seek(0)
    if begin == b"[":
        for number, value in enumerate(_items(path, file)):
            yield f"{path.name}[{number}]", value
        return
    numbered = _lines(path, file)
    first, value = next(numbered, (0, ""))
    if not first:
        if lines:
            return
        raise InputError(f"{path} line 1: not JSON (the file is empty); write the records into it, or [] for none")
    try:
        found = DECODER.decode(value)
    except (ValueError, RecursionError) as error:
        if lines:
            raise _not_json(path, first, error) from error
        file.seek(0)
        yield from _of_one(path, _parsed(path, _text(path, file.read(LONGEST), 1), 1))
        return
    second = next(numbered, None)
    if second is None and not lines:
        yield from _of_one(path, found)
        return
    yield f"{path.name} line {first}", found
    if second is not None:
        yield f"{path.name} line {second[0]}", _parsed(path, second[1], second[0])
        for number, line in numbered:
            yield f"{path.name} line {number}", _parsed(path, line, number)


def _lines(path: Path, file: BinaryIO) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers. Only a line feed ends a line: JSON texts may hold the others."""
    number = 0
    while raw := file.readline(LONGEST):
        number += 1
        if len(raw) == LONGEST:
            raise InputError(f"{path} line {number}: over {LONGEST >> 20} MiB without an end; put one record on a line")
        if raw.strip():
            yield number, _text(path, raw.rstrip(), number)


def _text(path: Path, raw: bytes, line: int) -> str:
    try:
        return raw.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise _not_text(path, line + raw[: error.start].count(b"\n")) from error


def _not_text(path: Path, line: int) -> InputError:
    return InputError(f"{path} line {line}: not UTF-8 text; save the file as UTF-8")


def _parsed(path: Path, text: str, line: int) -> Any:
    try:
        return DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise _not_json(path, line, error) from error


def _not_json(path: Path, line: int, error: Exception) -> InputError:
    if isinstance(error, json.JSONDecodeError):
        place = line + error.lineno - 1
        return InputError(f"{path} line {place}: not JSON ({error.msg}, column {error.colno}); fix that line")
    return InputError(f"{path} line {line}: not usable JSON ({error}); fix it")


def _of_one(path: Path, value: Any) -> Iterator[tuple[str, Any]]:
    """The records in the only value of a file."""
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a list of records, found {kind_of(value)}; put the records into [ ]")
    for key in WRAPPERS:
        inside = value.get(key)
        if isinstance(inside, list) and inside and all(isinstance(record, dict) for record in inside):
            yield from ((f"{path.name} {key}[{number}]", record) for number, record in enumerate(inside))
            return
    records = list(value.values())
    if records and all(isinstance(record, dict) and record and not record.keys() <= PARTS for record in records):
        for name, record in value.items():
            yield f"{path.name} '{name}'", {"id": name, **record}
    elif value:
        yield path.name, value


def _items(path: Path, file: BinaryIO) -> Iterator[Any]:
    """The items of a JSON list, of which only a window is in memory."""
    window = _Window(path, file)
    window.take("[")
    if window.next() == "]":
        window.take("]")
    else:
        yield window.value()
        while window.next() == ",":
            window.take(",")
            yield window.value()
        window.take("]")
    if window.next():
        raise window.error("Extra data", window.at)


class _Window:
    """A stretch of a JSON file. `at` is the place in it that is read next."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self.decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self.text, self.at, self.ended = "", 0, False
        self.line, self.column = 1, 0  # of what is before the stretch

    def _more(self) -> bool:
        """Read on; drop what is behind. False at the file's end."""
        if self.ended:
            return False
        self.line += self.text.count("\n", 0, self.at)
        self.column = self._column(self.at) - 1
        self.text, self.at = self.text[self.at :], 0
        raw = self.file.read(max(CHUNK, len(self.text)))
        self.ended = not raw
        try:
            self.text += self.decode(raw, self.ended)
        except UnicodeDecodeError as error:
            line = self.line + self.text.count("\n") + error.object[: error.start].count(b"\n")
            raise _not_text(self.path, line) from error
        return True

    def next(self) -> str:
        """The next character that is not white space; nothing at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._more():
                return ""

    def take(self, character: str) -> None:
        if self.next() != character:
            raise self.error("Expecting ',' delimiter" if character == "]" else f"Expecting '{character}'", self.at)
        self.at += 1

    def value(self) -> Any:
        """The next value."""
        self.next()
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                # Near the window's end, or in a text that does not end, the rest may only not have been read.
                cut = error.msg.startswith("Unterminated") or error.pos + 16 > len(self.text)
                if not cut or len(self.text) - self.at > LONGEST or not self._more():
                    raise self.error(error.msg, error.pos) from error
                continue
            except (ValueError, RecursionError) as error:
                line = self.line + self.text.count("\n", 0, self.at)
                raise InputError(f"{self.path} line {line}: not usable JSON ({error}); fix it") from error
            if end < len(self.text) or not self._more():  # a number may go on
                self.at = end
                return value

    def error(self, message: str, place: int) -> InputError:
        line = self.line + self.text.count("\n", 0, place)
        found = f"not JSON ({message}, column {self._column(place)})"
        return InputError(f"{self.path} line {line}: {found}; fix that line")

    def _column(self, place: int) -> int:
        start = self.text.rfind("\n", 0, place)
        return place - start if start >= 0 else self.column + place + 1


def _ended(path: Path, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if len(line) == LONGEST:
            raise InputError(f"{path} line {number}: over {LONGEST >> 20} MiB without an end; it is no table")
        yield line


def table_records(path: Path, file: BinaryIO, separator: str) -> Iterator[tuple[str, Any]]:
    """The rows of a CSV or TSV file with a header. Empty cells are missing values.

    A header without the separator, but with semicolons or tabs, is split at these, as spreadsheets write it.
    """
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    csv.field_size_limit(LONGEST)  # a cell may hold a picture as base64
    rows = csv.reader(())
    try:
        lines = iter(lambda: text.readline(LONGEST), "")
        head = next(lines, "")
        marks = (mark for mark in (separator, ";", "\t") if mark in head)
        rows = csv.reader(_ended(path, itertools.chain([head], lines)), delimiter=next(marks, separator))
        header = next(rows, [])
        if twice := next((name for name in header if name and header.count(name) > 1), ""):
            raise InputError(f"{path} line 1: the header has {twice!r:.60} twice; rename one of the columns")
        for number, row in enumerate(rows):
            if not row:
                continue
            if len(row) != len(header):
                raise InputError(f"{path} line {rows.line_num}: {len(row)} cells under {len(header)} names; fix it")
            yield f"{path.name} row {number}", dict(zip(header, (cell or None for cell in row), strict=True))
    except csv.Error as error:
        raise InputError(f"{path} line {rows.line_num}: not a table ({error}); fix it, or save it as JSON") from error
    except UnicodeDecodeError as error:
        raise _not_text(path, rows.line_num + 1 + error.object[: error.start].count(b"\n")) from error

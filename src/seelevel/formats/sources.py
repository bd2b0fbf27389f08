"""Files → records: each a place and a value, whatever the file is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.formats.values import kind_of


def records(path: Path) -> Iterator[tuple[str, Any]]:
    """The records of a file, each with its place ('prompts.json[3]', 'rows.jsonl line 4', 'a.parquet row 0').

    Raises `InputError` if the file as a whole cannot be read.
    """
    if path.suffix != ".parquet":
        yield from load_json(path)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is not a Parquet file ({error}); write it again") from error
    for number, row in enumerate(rows):
        yield f"{path.name} row {number}", row


def load_json(path: Path) -> list[tuple[str, Any]]:
    """The records of a JSON list or of JSON lines, each with its place ('prompts.json[3]', 'rows.jsonl line 4').

    Raises `InputError` with file and line if the text is not JSON or not a list of records.
    """
    text = _text(path)
    lines = text.split("\n")  # not splitlines(), which also splits at characters that JSON texts may hold
    if path.suffix == ".jsonl" or (text.lstrip()[:1] == "{" and len(lines) > 1 and _is_json(lines[0])):
        return [(f"{path.name} line {n}", _parse(path, line, n)) for n, line in enumerate(lines, 1) if line.strip()]
    value = _parse(path, text, 1)
    if not isinstance(value, list):
        raise InputError(f"{path}: expected a list of records, found {kind_of(value)}; put the records into [ ]")
    return [(f"{path.name}[{n}]", record) for n, record in enumerate(value)]


def _text(path: Path) -> str:
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the file in it")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raw = path.read_bytes()
        line = raw[: error.start].count(b"\n") + 1
        raise InputError(f"{path} line {line}: not UTF-8 text; save the file as UTF-8") from error


def _parse(path: Path, text: str, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise InputError(f"{path} line {line}: not JSON ({error.msg}, column {error.colno}); fix that line") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} line {first_line}: not usable JSON ({error}); fix it") from error


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True

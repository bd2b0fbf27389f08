"""Public question, answer and judgement files in the layouts that people use, with the place of every record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from seelevel.errors import InputError
from seelevel.json_text import DECODER, loads
from seelevel.opening import read_bytes

Record = dict[str, Any]
ID_KEYS = ("question_id", "id", "questionId", "qid")
MODEL_KEYS = (
    *("prediction", "predictions", "pred", "predict", "response", "responses", "output", "outputs", "completion"),
    *("model_answer", "model_output", "model_response", "model_prediction", "model_pred", "output_text"),
    *("predicted_answer", "generated_answer", "pred_answer", "hypothesis"),
    *("generated_text", "generation", "generated", "filtered_resps", "resps"),
)
"""Keys under which nothing but a model's words stands."""
TEXT_KEYS = (*MODEL_KEYS, "caption", "text", "answer")
"""Keys of an answer. `text` may also hold the question, and `answer` the label."""
LISTS = (
    *("data", "answers", "predictions", "results", "outputs", "responses", "annotations", "captions", "questions"),
    *("records", "items", "samples", "sentences", "logs", "judgements", "judgments"),
)
"""Keys of an object that holds nothing but the list of records."""
NOT_TEXT = {
    b"PK\x03\x04": "a zip or a spreadsheet; save it as JSON lines",
    b"\x1f\x8b": "compressed by gzip; unpack it: gunzip",
    b"PAR1": "Parquet; save it as JSON lines",
}
"""First bytes of files that are not read: what such a file is, and the remedy."""
FIELDS = frozenset(
    (*ID_KEYS, *TEXT_KEYS, "question", "prompt", "label", "image", "image_id", "rating", "ratings", "rounds")
) | {"conversations", "revised", "doc"}
"""Keys that tell a record from a mapping of ids to answers."""


@dataclass(frozen=True)
class Entry:
    """A record and its place: 'file, line 3' or 'file, record 3'."""

    record: Record
    where: str

    def get(self, keys: Sequence[str]) -> Any:
        """The value of the first of `keys` that the record has; None if it has none. NaN is a missing value."""
        values = (self.record.get(key) for key in keys)
        return next((value for value in values if value is not None and value == value), None)

    def first(self, keys: Sequence[str], what: str) -> Any:
        """The value of the first of `keys` that the record has. Raises InputError if it has none."""
        if (value := self.get(keys)) is None:
            raise InputError(f"{self.where}: no {what}; it needs one of {', '.join(keys)}")
        return value

    def text(self, keys: Sequence[str], what: str) -> str:
        """`first` as a text. Numbers, such as ids and counts, are written out.

        Raises InputError for any other value: in Python's notation it could be scored as an answer.
        """
        value = self.first(keys, what)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InputError(f"{self.where}: the {what} is {value!r:.60}, not a text")
        return str(value)

    @property
    def key(self) -> str:
        """The id as a text, or an empty one. 7, 7.0, "7" and "007" are one id."""
        value = self.get(ID_KEYS)
        return "" if value is None else plain_id(value)


def plain_id(value: Any) -> str:
    """An id as a text; one that is a whole number without zeros before and after it."""
    text = str(value).strip()
    number = re.fullmatch(r"0*(\d+)(?:\.0+)?", text, re.ASCII)
    return number[1] if number else text


def image_names(value: Any) -> list[str]:
    """What an image may be called: its name, its file's name with and without suffix, and its number in COCO."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        value = value.get("path") or value.get("file_name")
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value != value:
        return []
    name = plain_id(value)
    file = PurePath(str(value).replace("\\", "/")).name if isinstance(value, str) else name
    stem = PurePath(file).stem if re.search(r"\.[A-Za-z]\w*$", file) else file
    number = re.fullmatch(r"(?:COCO_\w+?_)?0*(\d+)", stem, re.ASCII)
    return list(dict.fromkeys([str(value), name, file, stem, *([number[1]] if number else [])]))


def read_text(path: Path) -> str:
    """A file's text. Raises InputError if the file does not exist or is neither UTF-8 nor marked as UTF-16."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    raw = read_bytes(path)
    for magic, what in NOT_TEXT.items():
        if raw.startswith(magic):
            raise InputError(f"{path} is {what}")
    try:  # PowerShell writes UTF-16 with a byte order mark
        return raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); convert the file") from error


def read_json(path: Path) -> Any:
    """A JSON file. Raises InputError with file and line."""
    return _parse(path, read_text(path), 1)


def read_entries(path: Path, flat: bool = True) -> list[Entry]:
    """The records of a file: JSON lines, objects one after another, a list, an object that holds the list, or an object
    of answers by id. flat: a record of lmms-eval gets the fields of its `doc`. Raises InputError with file and line."""
    text = read_text(path)
    if path.suffix.lower() in (".csv", ".tsv") and not text.lstrip().startswith(("[", "{")):
        raise InputError(f"{path} is a table, not JSON; save it as JSON lines, with question_id and response")
    if text.lstrip().startswith("["):
        records = _numbered(path, read_json(path))
    else:
        lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
        if lines and lines[0][1].lstrip().startswith("{") and not _whole(lines[0][1]):
            records = list(_one_after_another(path, text))
        else:
            records = [(f"{path}, line {n}", _parse(path, line, n)) for n, line in lines]
        if len(records) == 1 and isinstance(records[0][1], dict):
            records = _unwrapped(path, records[0][1]) or records
    if not records:
        raise InputError(f"{path}: no record in it; check the file")
    for where, value in records:
        if not isinstance(value, dict):
            raise InputError(f"{where}: a JSON object is needed, found {type(value).__name__}")
    return [Entry(_flat(value) if flat else value, where) for where, value in records]


def _numbered(path: Path, values: Sequence[Any]) -> list[tuple[str, Any]]:
    return [(f"{path}, record {n}", value) for n, value in enumerate(values, 1)]


def _whole(line: str) -> bool:
    """Whether a line is JSON by itself, and not the beginning of an object that is printed over several lines."""
    try:
        loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _one_after_another(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """Objects that are printed over several lines."""
    decoder, place, number = DECODER, 0, 0
    while rest := re.compile(r"[\s,]*(?=\S)").match(text, place):
        number, line = number + 1, text.count("\n", 0, rest.end()) + 1
        try:
            value, place = decoder.raw_decode(text, rest.end())
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {error.lineno}: not JSON ({error.msg}); mend that line") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {line}: not usable JSON ({error!s:.80}); mend it") from error
        yield f"{path}, record {number}", value


def _unwrapped(path: Path, only: Record) -> list[tuple[str, Any]]:
    """The records of a file that is one object; none if the object is a record itself."""
    lists = [key for key in LISTS if isinstance(only.get(key), list) and only[key] and isinstance(only[key][0], dict)]
    if len(lists) == 1 and not only.keys() & set(ID_KEYS):
        return _numbered(path, only[lists[0]])
    if only.keys() & FIELDS:
        return []
    rows = []
    for key, value in only.items():
        inner = value[0] if isinstance(value, list) and len(value) == 1 else value
        row = inner if isinstance(inner, dict) else {"text": inner}
        rows.append((f"{path}, key {key:.60}", row if row.keys() & set(ID_KEYS) else {"question_id": key, **row}))
    return rows


def logged_question(record: Record) -> Record:
    """What a sample of lmms-eval without its `doc` tells of the question: the prompt, and the picture and ids that its
    media and metrics name."""
    places = [value for value in record.values() if isinstance(value, dict)]
    keys = ("question_id", "image_id", "image", "image_path")
    named = {key: next(place[key] for place in places if key in place) for key in keys if any(key in p for p in places)}
    media = [source for source in record.get("input_media") or [] if not str(source).startswith("data:")]
    shown = {"image": media[0]} if len(media) == 1 else {}
    asked = {"prompt": record["input"]} if isinstance(record.get("input"), str) else {}
    return {**named, **shown, **asked}


def _flat(record: Record) -> Record:
    """A record of lmms-eval with the fields of its question, whose answer is the label."""
    doc = record.get("doc")
    if not isinstance(doc, dict):
        logged = "doc_id" in record and "filtered_resps" in record
        return {**logged_question(record), **record} if logged else record
    asked = {"label" if key == "answer" else key: value for key, value in doc.items()}
    return {**asked, **{key: value for key, value in record.items() if key != "doc"}}


def _parse(path: Path, text: str, first_line: int) -> Any:
    try:
        return loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise InputError(f"{path}, line {line}: not JSON ({error.msg}); mend that line") from error
    except (ValueError, RecursionError) as error:  # a number with thousands of digits, too many nested lists
        raise InputError(f"{path}, line {first_line}: not usable JSON ({error!s:.80}); mend that line") from error

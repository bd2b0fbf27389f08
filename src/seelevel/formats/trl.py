"""Preference rows with `chosen` and `rejected` ↔ ladders: TRL's, and the same keys as others write them.

    {"id": "7", "images": ["a.jpg"],
     "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}],
     "chosen": [{"role": "assistant", "content": [{"type": "text", "text": "A cup."}]}],
     "rejected": [{"role": "assistant", "content": [{"type": "text", "text": "A dog."}]}]}

An answer is a text, one turn, or turns; it may begin with the question again. The question is in any key of
`formats.questions`. RLHF-V's rows have all of it as one JSON text; OpenAI's have `input`, `preferred_output` and
`non_preferred_output`. Rows of one question become one ladder if they fit into one order (`formats.joining.grouped`).
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from seelevel.formats.llava import relative
from seelevel.formats.pairs import PairRows, asked, pair
from seelevel.formats.pictures import Pictures
from seelevel.formats.questions import answer_turns
from seelevel.formats.ranked import listed
from seelevel.formats.values import BadRecord, missing, number
from seelevel.images import read_file
from seelevel.json_text import loads
from seelevel.ladder import IMAGE_MARK, Ladder, Message
from seelevel.store import write_atomically, write_lines

SCORES = (
    ("score_chosen", "score_rejected"), ("chosen_score", "rejected_score"), ("chosen-rating", "rejected-rating"),
    ("chosen_rating", "rejected_rating"),
)  # fmt: skip


def ladders(name: str, record: dict[str, Any], pictures: Pictures) -> list[Ladder]:
    """The ladder of one row. Raises `BadRecord`."""
    row = {**record, **held} if (held := inside(record)) else record
    for side in ("chosen", "rejected"):
        if missing(row.get(side)):
            raise BadRecord(f"no {side}")
    for first, second in SCORES:
        if first not in row or second not in row:
            continue
        scores = [row[key] for key in (first, second)]
        better, worse = (None if missing(score) else number(score, "a score") for score in scores)
        if better is not None and worse is not None and better < worse:
            raise BadRecord(f"{first} {better:g} is below {second} {worse:g}")
    if isinstance(row["chosen"], int | float) and (key := listed(row)):
        raise BadRecord(f"chosen and rejected are numbers beside {key}; write the answers themselves")
    question = asked(row, pictures)
    ladder = question.pair(name, row, pictures)
    question.checked = row is record and ladder is not None
    if ladder is None:
        chosen, rejected = (answer_turns(row[side], side) for side in ("chosen", "rejected"))
        ladder = pair(name, row, pictures, chosen, rejected)
    return [ladder]


def inside(record: dict[str, Any]) -> dict[str, Any]:
    """The row inside a record: RLHF-V's JSON in `text`, or OpenAI's preference form; empty if there is none."""
    asked = record.get("input")
    if isinstance(asked, dict) and not missing(record.get("preferred_output")):
        answers = {"chosen": record["preferred_output"], "rejected": record.get("non_preferred_output")}
        return {"messages": record["input"].get("messages"), "input": None, **answers}
    text = record.get("text")
    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return {}
    try:
        value = loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) and {"chosen", "rejected"} <= value.keys() else {}


def write(ladders: Iterable[Ladder], path: Path) -> int:
    """Write one row per pair of each ladder, as Parquet or JSON lines (by the suffix).

    Returns how many ladders had a pair.
    """
    rows = PairRows(ladders, _rows)
    if path.suffix == ".parquet":
        write_atomically(path, _parquet(list(rows)))
        return rows.written
    named = cache(partial(relative, folder=path.parent))
    write_lines(path, ({**row, "images": [named(image) for image in row["images"]]} for row in rows))
    return rows.written


def _rows(ladder: Ladder) -> Iterator[dict[str, Any]]:
    row = {"id": ladder.id, "images": [image.path for image in ladder.images], "prompt": _parts(ladder.prompt)}
    answers = [_parts(response.messages) for response in ladder.responses]
    for better, worse in ladder.pairs():
        yield {**row, "chosen": answers[better], "rejected": answers[worse]}


def _parts(messages: list[Message]) -> list[dict[str, Any]]:
    """Messages with their contents as parts; each image mark becomes an image part."""
    return [{"role": m["role"], "content": parts(m["content"]) if m["role"] == "user" else _text(m)} for m in messages]


def _text(message: Message) -> list[dict[str, Any]]:
    return [{"type": "text", "text": message["content"]}]


def parts(content: str) -> list[dict[str, Any]]:
    """'<image>\\nWhat?' → [{"type": "image"}, {"type": "text", "text": "What?"}]; a leading mark loses its line."""
    pieces: list[dict[str, Any]] = []
    for place, piece in enumerate(content.split(IMAGE_MARK)):
        if place:
            pieces.append({"type": "image"})
            if all(part["type"] == "image" for part in pieces):
                piece = piece.removeprefix("\n")
        if piece:
            pieces.append({"type": "text", "text": piece})
    return pieces


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    """Rows as one Parquet file with the pictures' bytes and the features that `datasets` reads."""
    from datasets import Dataset, Features, Image, List, Value

    text = {"role": Value("string"), "content": List({"type": Value("string"), "text": Value("string")})}
    features = Features(
        {
            "id": Value("string"),
            "images": List(Image()),
            "prompt": List(text),
            "chosen": List(text),
            "rejected": List(text),
        }
    )
    for row in rows:
        row["images"] = [{"path": Path(p).name, "bytes": read_file(p)} for p in row["images"]]
    buffer = io.BytesIO()
    Dataset.from_list(rows, features=features).to_parquet(buffer)
    return buffer.getvalue()

"""TRL's preference rows ↔ ladders: one row per pair, with `prompt`, `chosen`, `rejected` and `images`.

    {"id": "7", "images": ["a.jpg"],
     "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}],
     "chosen": [{"role": "assistant", "content": [{"type": "text", "text": "A cup."}]}],
     "rejected": [{"role": "assistant", "content": [{"type": "text", "text": "A dog."}]}]}

JSON lines name picture files; Parquet holds the pictures' bytes, in the type that `datasets` opens. Contents may be
plain texts. The prompt may be missing if chosen and rejected start with the same turns.

Rows with the same id, prompt and pictures become one ladder if their pairs are exactly those of an order with ties. If
they are not (a cycle, or pairs that leave the order open), each row stays a ladder of two.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from seelevel.formats.llava import relative
from seelevel.formats.records import BadRecord, Pictures, Record, Rejected, record_id, settled, turns
from seelevel.formats.sources import Source
from seelevel.ladder import IMAGE_MARK, Image, Ladder, Message, Response
from seelevel.store import write_atomically

COLUMNS = ("id", "images", "prompt", "chosen", "rejected")


class Row(NamedTuple):
    """One preference and its place in the file."""

    where: str
    name: str
    images: list[Image]
    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]


def parse(source: Source) -> Iterator[Record | Rejected]:
    """Ladders in the order of their first rows. Their pictures exist but are not decoded yet.

    Raises `InputError` if the source as a whole cannot be read.
    """
    pictures = Pictures(source.images, source.path, source.keep)
    groups: dict[str, list[Row]] = {}
    order: list[str | Rejected] = []
    for number, (where, record) in enumerate(source.records()):
        name = ""
        try:
            if not isinstance(record, dict):
                raise BadRecord("not a mapping")
            name = record_id(record, f"{source.stem}-{number}")
            row = _row(where, name, record, pictures.named(record))
        except BadRecord as error:
            order.append(Rejected(where, name, str(error)))
            continue
        given = name if record.get("id") not in (None, "") else ""
        key = json.dumps([given, [image.path for image in row.images], row.prompt])
        if key not in groups:
            order.append(key)
        groups.setdefault(key, []).append(row)
    for entry in order:
        if isinstance(entry, Rejected):
            yield entry
        else:
            yield from _ladders(groups[entry])


def _row(where: str, name: str, record: dict[str, Any], images: list[Image]) -> Row:
    chosen, rejected = _messages(record, "chosen"), _messages(record, "rejected")
    if record.get("prompt") is None:
        shared = 0
        while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
            shared += 1
        prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
    else:
        prompt = _messages(record, "prompt", "user")
    for side, answer in (("chosen", chosen), ("rejected", rejected)):
        if not answer or answer[0]["role"] != "assistant":
            raise BadRecord(f"{side} does not start with an answer")
    if not prompt or prompt[-1]["role"] != "user":
        raise BadRecord("prompt does not end with the user")
    prompt_length = len(prompt)
    better, worse = settled([*prompt, *chosen], len(images)), settled([*prompt, *rejected], len(images))
    for side, messages in (("chosen", better), ("rejected", worse)):
        if len(messages) == prompt_length or messages[-1]["role"] != "assistant":
            raise BadRecord(f"{side} does not end with an answer")
    return Row(where, name, images, better[:prompt_length], better[prompt_length:], worse[prompt_length:])


def _messages(record: dict[str, Any], key: str, role: str = "assistant") -> list[Message]:
    value = record.get(key)
    if value is None:
        raise BadRecord(f"no {key}")
    return turns([{"role": role, "content": value}] if isinstance(value, str) else value, key)


def _ladders(rows: list[Row]) -> list[Record | Rejected]:
    """One ladder if the rows fit into one order, else a ladder of two per row."""
    where, name, images, prompt, _, _ = rows[0]
    texts: dict[str, list[Message]] = {}
    pairs = set()
    for row in rows:
        better, worse = json.dumps(row.chosen), json.dumps(row.rejected)
        texts.setdefault(better, row.chosen)
        texts.setdefault(worse, row.rejected)
        pairs.add((better, worse))
    levels = levels_of(list(texts), pairs)
    if levels is not None:
        responses = [Response(texts[key], level, {"kind": "given"}) for key, level in levels.items()]
        return [Record(where, Ladder(name, images, prompt, sorted(responses, key=lambda r: r.level)))]
    single: list[Record | Rejected] = []
    for number, row in enumerate(rows):
        if row.chosen == row.rejected:
            single.append(Rejected(row.where, name, "chosen and rejected are the same"))
            continue
        answers = [Response(row.chosen, 0, {"kind": "given"}), Response(row.rejected, 1, {"kind": "given"})]
        single.append(Record(row.where, Ladder(f"{name}#{number}" if len(rows) > 1 else name, images, prompt, answers)))
    return single


def levels_of(items: list[str], pairs: set[tuple[str, str]]) -> dict[str, int] | None:
    """Levels (0 is best) whose pairs are exactly the given ones and those they imply; None if there are none.

    An item's level is the length of the longest path to it from a best item. These levels are right if they add no pair
    that the rows do not imply: A>B, B>C implies A>C, but A>B, A>C, C>D leaves B and D open.
    """
    worse: dict[str, set[str]] = {item: {b for a, b in pairs if a == item} for item in items}
    level = dict.fromkeys(items, 0)
    for _ in items:
        changed = False
        for better, below in worse.items():
            for item in below:
                if level[item] <= level[better]:
                    level[item], changed = level[better] + 1, True
        if not changed:
            break
    else:
        return None  # a cycle: the levels would grow forever
    implied = {item: set(below) for item, below in worse.items()}
    for item in sorted(items, key=level.__getitem__, reverse=True):
        for lower in worse[item]:
            implied[item] |= implied[lower]
    for a in items:
        if any(level[a] < level[b] and b not in implied[a] for b in items):
            return None
    return level


def write(ladders: Iterable[Ladder], path: Path) -> int:
    """Write one row per pair of each ladder, as Parquet or JSON lines (by the suffix).

    Returns how many ladders had a pair.
    """
    rows: list[dict[str, Any]] = []
    written = 0
    for ladder in ladders:
        pairs = ladder.pairs()
        written += bool(pairs)
        for better, worse in pairs:
            rows.append(
                {
                    "id": ladder.id,
                    "images": [image.path for image in ladder.images],
                    "prompt": _parts(ladder.prompt),
                    "chosen": _parts(ladder.responses[better].messages),
                    "rejected": _parts(ladder.responses[worse].messages),
                }
            )
    if path.suffix == ".parquet":
        write_atomically(path, _parquet(rows))
    else:
        for row in rows:
            row["images"] = [relative(image, path.parent) for image in row["images"]]
        write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return written


def _parts(messages: list[Message]) -> list[dict[str, Any]]:
    """Messages with their contents as parts; each image mark becomes an image part."""
    return [{"role": m["role"], "content": parts(m["content"]) if m["role"] == "user" else _text(m)} for m in messages]


def _text(message: Message) -> list[dict[str, Any]]:
    return [{"type": "text", "text": message["content"]}]


def parts(content: str) -> list[dict[str, Any]]:
    """'<image>\\nWhat?' → [{"type": "image"}, {"type": "text", "text": "What?"}]; a line break after a mark goes."""
    pieces: list[dict[str, Any]] = []
    for number, piece in enumerate(content.split(IMAGE_MARK)):
        if number:
            pieces.append({"type": "image"})
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
        row["images"] = [{"path": Path(p).name, "bytes": Path(p).read_bytes()} for p in row["images"]]
    buffer = io.BytesIO()
    Dataset.from_list(rows, features=features).to_parquet(buffer)
    return buffer.getvalue()

"""ms-swift's preference rows ↔ ladders: a whole conversation, and another last answer that is worse.

    {"messages": [{"role": "user", "content": "<image>What is it?"}, {"role": "assistant", "content": "A cup."}],
     "rejected_response": "A dog.", "images": ["a.jpg"]}

`rejected_messages` (or `rejected_conversations`) is the worse conversation as a whole. Older rows have `query`,
`response` and `rejected_response`, with `history` and `system`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from seelevel.formats.llava import relative
from seelevel.formats.pairs import PairRows, message_pairs, pair
from seelevel.formats.pictures import Pictures
from seelevel.formats.questions import answer_turns, conversation_of
from seelevel.formats.turns import turns
from seelevel.formats.values import BadRecord, empty, missing
from seelevel.ladder import Ladder
from seelevel.store import write_lines

WHOLE = ("rejected_messages", "rejected_conversations")
"""Keys of the worse conversation as a whole."""


def ladders(name: str, record: dict[str, Any], pictures: Pictures) -> list[Ladder]:
    """The ladder of one row. Raises `BadRecord`."""
    keys = [key for key in ("rejected_response", *WHOLE) if not empty(record.get(key))]
    if len(keys) > 1:
        raise BadRecord(f"{' and '.join(keys)} are two worse answers; keep one of them")
    if not keys:
        pictures.named(record)  # names the pair of pictures, if that is the row's difference
        raise BadRecord("no rejected_response")
    worse = turns(record[keys[0]], keys[0]) if keys[0] in WHOLE else answer_turns(record[keys[0]], keys[0])
    better = conversation_of(record)
    if better is None:
        if keys[0] in WHOLE or missing(record.get("response")):
            raise BadRecord("no messages" if keys[0] in WHOLE else "no response")
        return [pair(name, record, pictures, answer_turns(record["response"], "response"), worse)]
    if worse and worse[0].role != "assistant":
        return [pair(name, record, pictures, better, worse)]
    if not better or better[-1].role != "assistant":
        raise BadRecord("messages does not end with an answer")
    return [pair(name, record, pictures, better[-1:], worse)]


def write(ladders: Iterable[Ladder], path: Path) -> int:
    """Write one JSON line per pair of each ladder; return how many ladders had a pair."""

    def of_ladder(ladder: Ladder) -> Iterator[dict[str, Any]]:
        for better, worse in message_pairs(ladder):
            entry: dict[str, Any] = {"id": ladder.id, "messages": [*ladder.prompt, *better]}
            if len(better) == len(worse) == 1:
                entry["rejected_response"] = worse[0]["content"]
            else:
                entry["rejected_messages"] = [*ladder.prompt, *worse]
            yield {**entry, "images": [relative(image.path, path.parent) for image in ladder.images]}

    rows = PairRows(ladders, of_ladder)
    write_lines(path, rows)
    return rows.written

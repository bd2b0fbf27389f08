"""Pairs of one question → one ladder, if they fit into one order."""

from __future__ import annotations

import marshal
from array import array
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from seelevel.formats.pairs import ORIGIN
from seelevel.formats.records import Record, Rejected
from seelevel.ladder import Image, Ladder, Message, Response, changed
from seelevel.store import batched

GIVEN = Response([Message(role="assistant", content="")], 0, ORIGIN)
"""The response that `changed` copies for each answer of a pair."""
Item = TypeVar("Item", bound=Hashable)


def grouped(records: Iterable[Record | Rejected]) -> Iterator[Record | Rejected]:
    """The records, with pairs of one question joined: same id (or none), prompt, pictures and annotations.

    They become one ladder if their pairs are exactly those of an order with ties. If they are not (a cycle, or pairs
    that leave the order open), each stays a ladder of two. Ladders stand in the order of their first pairs.
    """
    groups: dict[bytes, _Group] = {}
    order: list[bytes | Record | Rejected] = []
    last, key = tuple[Any, ...](), b""
    for record in records:
        if isinstance(record, Rejected) or not _is_pair(record.ladder):
            if not groups:
                yield record
            else:
                order.append(record)
            continue
        x = record.ladder
        of_row = (record.unnamed, x.id, x.images, x.prompt, x.annotations)
        if of_row != last:
            shared = ["" if record.unnamed else x.id, [vars(image) for image in x.images], x.prompt, x.annotations]
            last, key = of_row, marshal.dumps(shared, 2)
        group = groups.get(key)
        if group is None:
            group = groups[key] = _Group()
            order.append(key)
        group.add(record)
    for number, entry in enumerate(order):
        order[number] = b""  # frees what has been yielded
        if isinstance(entry, bytes):
            yield from groups.pop(entry).joined(*marshal.loads(entry))
        else:
            yield entry


class _Group:
    """The pairs of one question, in little memory: a file may have millions. Each answer is kept once, packed."""

    __slots__ = ("answers", "names", "pairs", "places", "reasoning", "scores")

    def __init__(self) -> None:
        self.answers: dict[str | bytes, int] = {}
        self.pairs = array("I")  # better, worse, better, worse, …
        self.places: list[str] = []
        self.names: list[str] = []  # of records without an id of their own
        self.scores: dict[int, list[dict[str, float]]] | None = None  # of the rows that have any
        self.reasoning: dict[int, str] | None = None  # of the answers that have any

    def add(self, record: Record) -> None:
        better, worse = responses = record.ladder.responses
        if better.scores or worse.scores:
            self.scores = self.scores or {}
            self.scores[len(self.places)] = [better.scores, worse.scores]
        for response in responses:
            answer = self.answers.setdefault(_packed(response.messages), len(self.answers))
            self.pairs.append(answer)
            if response.reasoning:
                self.reasoning = self.reasoning or {}
                self.reasoning.setdefault(answer, response.reasoning)
        self.places.append(record.where)
        if record.unnamed:
            self.names.append(record.ladder.id)

    def joined(
        self, name: str, images: list[dict[str, str]], prompt: list[Message], annotations: dict[str, Any]
    ) -> Iterator[Record]:
        """One ladder if the pairs fit into one order, else a ladder of two per pair."""
        answers = [_unpacked(answer) for answer in self.answers]
        rows, given, thoughts = list(batched(self.pairs, 2)), self.scores or {}, self.reasoning or {}
        levels = levels_of(range(len(answers)), {(better, worse) for better, worse in rows}) if len(rows) > 1 else None
        scores = [dict(zip(row, given.get(number, ({}, {})), strict=True)) for number, row in enumerate(rows)]
        if levels is None:
            orders = [dict(zip(row, (0, 1), strict=True)) for row in rows]
        else:
            orders = [dict(sorted(levels.items(), key=lambda entry: entry[1]))]
            scores = [{answer: value for row in reversed(scores) for answer, value in row.items()}]  # the first counts
        for number, order in enumerate(orders):
            responses = [
                changed(  # every answer has been checked as one of a pair
                    GIVEN,
                    messages=answers[answer],
                    level=level,
                    origin=dict(ORIGIN),
                    scores=scores[number][answer],
                    reasoning=thoughts.get(answer, ""),
                )
                for answer, level in order.items()
            ]
            pictures = [Image(**image) for image in images]
            ladder = Ladder(self.names[number] if self.names else name, pictures, prompt, responses, annotations)
            yield Record(self.places[number], ladder, unnamed=bool(self.names))


def _packed(messages: list[Message]) -> str | bytes:
    """Messages in little memory: one answer as its text."""
    return messages[0]["content"] if len(messages) == 1 else marshal.dumps(messages, 2)


def _unpacked(packed: str | bytes) -> list[Message]:
    if isinstance(packed, str):
        return [Message(role="assistant", content=packed)]
    messages: list[Message] = marshal.loads(packed)
    return messages


def _is_pair(ladder: Ladder) -> bool:
    if len(ladder.responses) != 2:
        return False
    better, worse = ladder.responses
    return better.level == 0 and worse.level == 1 and better.origin == worse.origin == ORIGIN


def levels_of(items: Sequence[Item], pairs: set[tuple[Item, Item]]) -> dict[Item, int] | None:
    """Levels (0 is best) whose pairs are exactly the given ones and those they imply; None if there are none.

    An item's level is the length of the longest path to it from a best item. These levels are right if they add no pair
    that the rows do not imply: A>B, B>C implies A>C, but A>B, A>C, C>D leaves B and D open.
    """
    worse: dict[Item, set[Item]] = {item: set() for item in items}
    for a, b in pairs:
        worse[a].add(b)
    level = dict.fromkeys(items, 0)
    for _ in items:
        moved = False
        for better, below in worse.items():
            for item in below:
                if level[item] <= level[better]:
                    level[item], moved = level[better] + 1, True
        if not moved:
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

"""Pairs of a better and a worse answer: one ladder each, or one for all that fit into one order."""

from __future__ import annotations

import marshal
from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from seelevel.formats.pictures import Pictures, shown
from seelevel.formats.questions import answer_turns, no_question, plain, question_of
from seelevel.formats.records import Record, Rejected
from seelevel.formats.turns import Turn
from seelevel.formats.values import BadRecord, mapping
from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.store import batched

ORIGIN = {"kind": "given"}
SIDES = ("chosen", "rejected")
REMEMBERED = 10_000
OF_A_PAIR = ("id", *SIDES)
"""Keys of a record that change from pair to pair of one question."""
Item = TypeVar("Item", bound=Hashable)


class Question:
    """What a record asks. A question's pairs stand one after another, and each answer in several: all is read once."""

    def __init__(self, record: dict[str, Any], pictures: Pictures) -> None:
        self.turns, self.images = question_of(record), pictures.named(record)
        self._prompt, self._shown = list[Message](), list[Image]()
        self._answers: dict[bytes, list[Message]] = {}

    def pair(self, name: str, record: dict[str, Any], pictures: Pictures) -> Ladder | None:
        """The ladder of a record whose sides are one answer each; None if one of them is more. Raises `BadRecord`."""
        better, worse = (self._answer(record[side], side, record, pictures) for side in SIDES)
        if not better or not worse:
            return None
        return _ladder(name, record, self._prompt, self._shown, better, worse)

    def _answer(self, value: Any, side: str, record: dict[str, Any], pictures: Pictures) -> list[Message]:
        """One answer alone; empty if the value is more than that."""
        key = _bytes(value)
        if key is not None and key in self._answers:
            return self._answers[key]
        turns, answer = answer_turns(value, side), list[Message]()
        if self.turns and len(turns) == 1 and turns[0].role == "assistant":
            self._prompt, answer, self._shown = _answered(self.turns, turns, side, record, self.images, pictures)
        if key is not None:
            if len(self._answers) == REMEMBERED:
                self._answers.clear()
            self._answers[key] = answer
        return answer


def asked(record: dict[str, Any], pictures: Pictures) -> Question:
    """What a record asks: the same object as that of the record before, if both ask the same. Raises `BadRecord`."""
    key = _bytes([entry for entry in record.items() if entry[0] not in OF_A_PAIR])
    if key is None:
        return Question(record, pictures)
    if key != pictures.asked[0]:
        pictures.asked = (key, Question(record, pictures))
    question: Question = pictures.asked[1]
    return question


def _bytes(value: Any) -> bytes | None:
    """A JSON value as bytes, equal for equal values; None for a value that JSON does not have."""
    try:
        return marshal.dumps(value, 2)
    except ValueError:
        return None


def pair(name: str, record: dict[str, Any], pictures: Pictures, chosen: list[Turn], rejected: list[Turn]) -> Ladder:
    """The ladder of a record's two answers, which may be whole conversations that begin with the question.

    Raises `BadRecord`.
    """
    question = asked(record, pictures)
    prompt, chosen, rejected = _parted(question.turns, chosen, rejected)
    if not prompt:
        raise no_question(record)
    sides = {}
    for side, answer in (("chosen", chosen), ("rejected", rejected)):
        if not answer or answer[0].role != "assistant":
            raise BadRecord(f"{side} does not start with an answer")
        sides[side] = _answered(prompt, answer, side, record, question.images, pictures)
    (asked_here, better, images), (asked_there, worse, others) = sides["chosen"], sides["rejected"]
    if images != others:
        raise BadRecord("chosen and rejected show different pictures")
    if asked_here != asked_there:
        raise BadRecord("chosen and rejected answer different questions")
    return _ladder(name, record, asked_here, images, better, worse)


def _ladder(
    name: str,
    record: dict[str, Any],
    prompt: list[Message],
    images: list[Image],
    better: list[Message],
    worse: list[Message],
) -> Ladder:
    if better == worse:
        raise BadRecord("chosen and rejected are the same")
    responses = [Response(answer, level, dict(ORIGIN)) for level, answer in enumerate((better, worse))]
    return Ladder(name, images, prompt, responses, mapping(record.get("annotations"), "annotations"))


def _answered(
    prompt: list[Turn],
    answer: list[Turn],
    side: str,
    record: dict[str, Any],
    given: list[Image],
    pictures: Pictures,
) -> tuple[list[Message], list[Message], list[Image]]:
    """(prompt, answer, pictures) as a ladder has them. Raises `BadRecord`."""
    messages, images = shown([*prompt, *answer], record, given, pictures)
    if len(messages) == len(prompt) or messages[-1]["role"] != "assistant":
        raise BadRecord(f"{side} does not end with an answer")
    return messages[: len(prompt)], messages[len(prompt) :], images


def _parted(prompt: list[Turn], chosen: list[Turn], rejected: list[Turn]) -> tuple[list[Turn], list[Turn], list[Turn]]:
    """(prompt, chosen, rejected) without the question in the answers.

    If both begin with a question, what they begin with is the prompt. The record's own prompt must then say the same;
    it may be the longer one by earlier turns.
    """
    if not chosen or not rejected or "assistant" in (chosen[0].role, rejected[0].role):
        return prompt, chosen, rejected
    length = 0
    while length < min(len(chosen), len(rejected)) and chosen[length] == rejected[length]:
        length += 1
    if length == len(chosen) == len(rejected):
        raise BadRecord("chosen and rejected are the same")
    while length and chosen[length - 1].role != "user":
        length -= 1
    if not length:
        raise BadRecord("chosen and rejected begin with different questions")
    shared, answers = chosen[:length], (chosen[length:], rejected[length:])
    asked, held, better, worse = (
        [(turn.role, plain(turn.content)) for turn in turns] for turns in (prompt, shared, chosen, rejected)
    )
    if asked and asked[-len(held) :] == held:  # the prompt has earlier turns, or the marks
        marks = sum(len(turn.shown) for turn in shared)
        longer = len(prompt) > len(shared) or sum(len(turn.shown) for turn in prompt) > marks
        return prompt if longer else shared, *answers
    begins = asked in (better[: len(asked)], worse[: len(asked)])  # the prompt is all but the end of one side
    if asked and not begins and held[-len(asked) :] != asked and not (len(asked) == 1 and asked[0] in held):
        raise BadRecord("prompt is not the question that chosen and rejected begin with")
    return shared, *answers


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
        order[number] = b""  # what has been handed on need not stay in memory
        if isinstance(entry, bytes):
            yield from groups.pop(entry).joined(*marshal.loads(entry))
        else:
            yield entry


class _Group:
    """The pairs of one question, in little memory: a file may have millions. Answers are texts or bytes, each once."""

    __slots__ = ("answers", "names", "pairs", "places", "reasoning", "scores")

    def __init__(self) -> None:
        self.answers: dict[str | bytes, int] = {}
        self.pairs = array("I")  # better, worse, better, worse, …
        self.places: list[str] = []
        self.names: list[str] = []  # of records without an id of their own
        self.scores: dict[int, list[dict[str, float]]] | None = None  # of the rows that have any
        self.reasoning: dict[int, str] | None = None  # of the answers that have any

    def add(self, record: Record) -> None:
        scores = [response.scores for response in record.ladder.responses]
        if any(scores):
            self.scores = self.scores or {}
            self.scores[len(self.places)] = scores
        for response in record.ladder.responses:
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
        orders = [dict(zip(row, (0, 1), strict=True)) for row in rows]
        scores = [dict(zip(row, given.get(number, ({}, {})), strict=True)) for number, row in enumerate(rows)]
        if levels is not None:
            orders = [dict(sorted(levels.items(), key=lambda entry: entry[1]))]
            scores = [{answer: value for row in reversed(scores) for answer, value in row.items()}]  # the first counts
        for number, order in enumerate(orders):
            responses = [
                Response(
                    answers[answer],
                    level,
                    dict(ORIGIN),
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
    return ladder.levels == [0, 1] and all(response.origin == ORIGIN for response in ladder.responses)


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


class PairRows:
    """`rows(ladder)` of each ladder, one after another. `written`: ladders so far that had a row."""

    def __init__(self, ladders: Iterable[Ladder], rows: Callable[[Ladder], Iterable[dict[str, Any]]]) -> None:
        self._ladders, self._rows, self.written = ladders, rows, 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for ladder in self._ladders:
            of_ladder = list(self._rows(ladder))
            self.written += bool(of_ladder)
            yield from of_ladder


def message_pairs(ladder: Ladder) -> Iterator[tuple[list[Message], list[Message]]]:
    """(better, worse) of every pair of a ladder."""
    for better, worse in ladder.pairs():
        yield ladder.responses[better].messages, ladder.responses[worse].messages

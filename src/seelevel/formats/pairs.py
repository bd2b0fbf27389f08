"""Pairs of a better and a worse answer: a ladder for each. `seelevel.formats.joining` makes one of several."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from seelevel.formats.pictures import Pictures, shown
from seelevel.formats.questions import answer_turns, no_question, plain, question_of
from seelevel.formats.turns import Turn
from seelevel.formats.values import BadRecord, mapping
from seelevel.ladder import IMAGE_MARK, Image, Ladder, Message, Response, changed

ORIGIN = {"kind": "given"}
SIDES = ("chosen", "rejected")
REMEMBERED = 10_000
OF_A_PAIR = ("id", *SIDES)
"""Keys of a record that change from pair to pair of one question."""


class Question:
    """What a record asks. Pairs of one question are adjacent and share answers, so each answer is read once.

    `checked`: whether a record that asks this has passed the checks of its form (`seelevel.formats.trl`).
    """

    def __init__(self, record: dict[str, Any], pictures: Pictures) -> None:
        self.turns, self.images = question_of(record), pictures.named(record)
        self.checked = False
        self._prompt, self._shown = list[Message](), list[Image]()
        self._answers: dict[bytes, tuple[Response, ...]] = {}
        self._first: Ladder | None = None

    def pair(self, name: str, record: dict[str, Any], pictures: Pictures) -> Ladder | None:
        """The ladder of a record whose sides are one answer each; None if one of them is more. Raises `BadRecord`."""
        chosen = self._answer(record["chosen"], "chosen", record, pictures)
        rejected = self._answer(record["rejected"], "rejected", record, pictures)
        if not chosen or not rejected:
            return None
        responses = [chosen[0], rejected[1]]
        if self._first is None:
            self._first = _ladder(name, record, self._prompt, self._shown, responses)
            return self._first
        _refuse_same(responses)
        return changed(self._first, id=name, responses=responses)

    def _answer(self, value: Any, side: str, record: dict[str, Any], pictures: Pictures) -> tuple[Response, ...]:
        """One answer alone, as the better and as the worse; empty if the value is more than that."""
        key = _bytes(value)
        if key is not None and key in self._answers:
            return self._answers[key]
        turns, responses = answer_turns(value, side), tuple[Response, ...]()
        if self.turns and len(turns) == 1 and turns[0].role == "assistant":
            text = turns[0].content
            # Once the pictures have their places in the question, a text without a mark changes nothing there.
            if self._shown and text.strip() and IMAGE_MARK not in text:
                answer = [turns[0].message]
            else:
                self._prompt, answer, self._shown = _answered(self.turns, turns, side, record, self.images, pictures)
            better = Response(answer, 0, dict(ORIGIN))
            responses = (better, changed(better, level=1))
        if key is not None:
            if len(self._answers) == REMEMBERED:
                self._answers.clear()
            self._answers[key] = responses
        return responses


def asked(record: dict[str, Any], pictures: Pictures) -> Question:
    """What a record asks: the same object as that of the record before, if both ask the same. Raises `BadRecord`."""
    key = _asked(record)
    if key is None:
        return Question(record, pictures)
    if key != pictures.asked[0]:
        pictures.asked = (key, Question(record, pictures))
    question: Question = pictures.asked[1]
    return question


def again(name: str, record: dict[str, Any], pictures: Pictures) -> Ladder | None:
    """The ladder of a record that asks what the one before asked, which was `checked`; None if it is another record.

    Raises `BadRecord`.
    """
    key, question = pictures.asked
    if question is None or not question.checked or key != _asked(record):
        return None
    if type(record.get("chosen")) not in (str, list) or type(record.get("rejected")) not in (str, list):
        return None
    ladder: Ladder | None = question.pair(name, record, pictures)
    return ladder


def _asked(record: dict[str, Any]) -> bytes | None:
    """All of a record except what changes from pair to pair of a question."""
    return _bytes([entry for entry in record.items() if entry[0] not in OF_A_PAIR])


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
    return _ladder(name, record, asked_here, images, [_response(better, 0), _response(worse, 1)])


def _response(answer: list[Message], level: int) -> Response:
    return Response(answer, level, dict(ORIGIN))


def _ladder(
    name: str, record: dict[str, Any], prompt: list[Message], images: list[Image], responses: list[Response]
) -> Ladder:
    _refuse_same(responses)
    return Ladder(name, images, prompt, responses, mapping(record.get("annotations"), "annotations"))


def _refuse_same(responses: list[Response]) -> None:
    if responses[0].messages == responses[1].messages:
        raise BadRecord("chosen and rejected are the same")


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

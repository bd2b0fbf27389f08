"""Pairs of a better and a worse answer: one ladder each, or one for all that fit into one order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from seelevel.formats.pictures import Pictures, shown
from seelevel.formats.questions import no_question, plain, question_of
from seelevel.formats.records import Record, Rejected
from seelevel.formats.turns import Turn
from seelevel.formats.values import BadRecord, mapping
from seelevel.ladder import Ladder, Message, Response

ORIGIN = {"kind": "given"}


def pair(name: str, record: dict[str, Any], pictures: Pictures, chosen: list[Turn], rejected: list[Turn]) -> Ladder:
    """The ladder of a record's two answers, which may be whole conversations that begin with the question.

    Raises `BadRecord`.
    """
    prompt, chosen, rejected = _parted(question_of(record), chosen, rejected)
    if not prompt:
        raise no_question(record)
    given = pictures.named(record)
    sides = {}
    for side, answer in (("chosen", chosen), ("rejected", rejected)):
        if not answer or answer[0].role != "assistant":
            raise BadRecord(f"{side} does not start with an answer")
        messages, images = shown([*prompt, *answer], record, given, pictures)
        if len(messages) == len(prompt) or messages[-1]["role"] != "assistant":
            raise BadRecord(f"{side} does not end with an answer")
        sides[side] = (messages, images)
    (better, images), (worse, others) = sides["chosen"], sides["rejected"]
    if images != others:
        raise BadRecord("chosen and rejected show different pictures")
    if better == worse:
        raise BadRecord("chosen and rejected are the same")
    cut = len(prompt)
    responses = [Response(better[cut:], 0, dict(ORIGIN)), Response(worse[cut:], 1, dict(ORIGIN))]
    return Ladder(name, images, better[:cut], responses, mapping(record.get("annotations"), "annotations"))


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
    groups: dict[str, list[Record]] = {}
    order: list[str | Record | Rejected] = []
    for record in records:
        if isinstance(record, Rejected) or not _is_pair(record.ladder):
            if not groups:
                yield record
            else:
                order.append(record)
            continue
        x = record.ladder
        name = "" if record.unnamed else x.id
        key = json.dumps([name, [image.path for image in x.images], x.prompt, x.annotations])
        if key not in groups:
            order.append(key)
        groups.setdefault(key, []).append(record)
    for entry in order:
        if isinstance(entry, str):
            yield from _joined(groups.pop(entry))
        else:
            yield entry


def _is_pair(ladder: Ladder) -> bool:
    return ladder.levels == [0, 1] and all(response.origin == ORIGIN for response in ladder.responses)


def _joined(rows: list[Record]) -> list[Record]:
    """One ladder if the pairs fit into one order, else a ladder of two per pair."""
    if len(rows) == 1:
        return rows
    responses: dict[str, Response] = {}
    pairs = set()
    for row in rows:
        better, worse = (json.dumps(response.messages) for response in row.ladder.responses)
        responses.setdefault(better, row.ladder.responses[0])
        responses.setdefault(worse, row.ladder.responses[1])
        pairs.add((better, worse))
    levels = levels_of(list(responses), pairs)
    if levels is None:
        return rows
    answers = [replace(responses[key], level=level) for key, level in levels.items()]
    ladder = replace(rows[0].ladder, responses=sorted(answers, key=lambda response: response.level))
    return [Record(rows[0].where, ladder, rows[0].unnamed)]


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


def pair_rows(
    ladders: Iterable[Ladder], row: Callable[[Ladder, list[Message], list[Message]], dict[str, Any] | None]
) -> tuple[list[dict[str, Any]], int]:
    """`row(ladder, better, worse)` of every pair of each ladder, and how many ladders had a row. None is left out."""
    rows: list[dict[str, Any]] = []
    written = 0
    for ladder in ladders:
        answers = [response.messages for response in ladder.responses]
        of_ladder = [row(ladder, answers[better], answers[worse]) for better, worse in ladder.pairs()]
        rows += [entry for entry in of_ladder if entry is not None]
        written += any(entry is not None for entry in of_ladder)
    return rows, written

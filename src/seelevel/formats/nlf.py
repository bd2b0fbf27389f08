"""LVLM_NLF's records of natural-language feedback (DRESS, arXiv 2311.10081) ↔ ladders, one ladder per round.

    {"image_id": "000000000009.jpg", "caption": "A cup on a table.",
     "interaction": [{"user": "What is it?", "model": "A dog.", "rating": "1", "critique NLF": "There is no dog."},
                     {"user": "Look at the table again.", "model": "A cup.", "rating": "4", "critique NLF": "Right."}]}

A turn's refinement is the next turn's `user`, unless the turn has its own `refinement`. A rating without a criterion
rates helpfulness. `Ladder.round_of` names the interaction and the round, so that `write` can join the ladders of a
record again. Conditions, levels, origins and scores have no place in a record and are lost.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from seelevel.formats.llava import relative
from seelevel.formats.pictures import Pictures
from seelevel.formats.turns import settled
from seelevel.formats.values import BadRecord, checked_text, first, mapping, missing, name_of
from seelevel.ladder import IMAGE_MARK, Feedback, Image, Interaction, Ladder, Message, Response
from seelevel.levels import CRITERIA
from seelevel.notes import RoundOf
from seelevel.progress import say
from seelevel.store import write_lines

CRITIQUES = ("critique NLF", "critique_NLF")
"""Names of a turn's critique in the public files; the first one is written."""
UNNAMED = "helpfulness"
"""The criterion of a rating without one."""


def ladders(name: str, record: dict[str, Any], pictures: Pictures) -> list[Ladder]:
    """The rounds of one record. Raises `BadRecord`."""
    return _interaction(name, record, pictures).rounds()


def _interaction(name: str, record: dict[str, Any], pictures: Pictures) -> Interaction:
    turns = record.get("interaction")
    if turns is None or turns == []:
        raise BadRecord("no interaction")
    if not isinstance(turns, list):
        raise BadRecord("interaction is not a list of turns")
    for number, turn in enumerate(turns):
        if not isinstance(turn, dict):
            raise BadRecord(f"interaction[{number}] is not a mapping")
    images = pictures.identified(record)
    questions = [_turn_text(turn, "user", n) for n, turn in enumerate(turns)]
    answers = [_turn_text(turn, "model", n) for n, turn in enumerate(turns)]
    messages: list[Message] = []
    for question, answer in zip(questions, answers, strict=True):
        messages += [Message(role="user", content=question), Message(role="assistant", content=answer)]
    messages = settled(messages, len(images))
    if any(IMAGE_MARK in message["content"] for message in messages[1:]):
        raise BadRecord(f"an {IMAGE_MARK} mark after the first question")
    rounds = []
    for number, (turn, following) in enumerate(zip(turns, [*questions[1:], ""], strict=True)):
        feedback = _feedback(turn, following, f"interaction[{number}]")
        response = Response([messages[2 * number + 1]], 0, {"kind": "given"}, feedback=feedback)
        rounds.append((messages[2 * number], response))
    return Interaction(name, images, rounds, picture_annotations(record))


def _turn_text(turn: dict[str, Any], key: str, number: int) -> str:
    text = checked_text(turn.get(key), f"interaction[{number}].{key}")
    if not text.strip():
        raise BadRecord(f"interaction[{number}].{key} is empty")
    return text


def picture_annotations(record: dict[str, Any]) -> dict[str, Any]:
    """A record's `annotations`, with its `caption` as `image_content`: the lines that a judge sees."""
    annotations = mapping(record.get("annotations"), "annotations")
    caption = record.get("caption")
    if isinstance(caption, list):
        return {**annotations, "image_content": [checked_text(line, "a line of caption") for line in caption]}
    lines = [] if caption is None else [line for line in checked_text(caption, "caption").splitlines() if line.strip()]
    return {**annotations, "image_content": lines} if lines else annotations


def _feedback(turn: dict[str, Any], following: str, name: str) -> Feedback | None:
    """The feedback in a turn, if there is any. `following`: the user's next turn, or an empty text."""
    turn = {key: None if missing(value) else value for key, value in turn.items()}
    critique = first(turn, *CRITIQUES)
    rating, refinement, annotator = turn.get("rating"), turn.get("refinement"), turn.get("annotator")
    if rating is None and critique is None and refinement is None and annotator is None:
        return None
    return Feedback(
        ratings=_ratings(rating, f"{name}.rating"),
        critique="" if critique is None else checked_text(critique, f"{name}.critique"),
        refinement=following if refinement is None else checked_text(refinement, f"{name}.refinement"),
        annotator="" if annotator is None else checked_text(annotator, f"{name}.annotator"),
    )


def _ratings(value: Any, name: str) -> dict[str, int]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        return {UNNAMED: _rating(value, name)}
    for criterion in mapping(value, name):
        if criterion not in CRITERIA:
            raise BadRecord(f"{name} has the criterion '{criterion:.20}', not one of {', '.join(CRITERIA)}")
    return {criterion: _rating(rating, name) for criterion, rating in value.items()}


def _rating(value: Any, name: str) -> int:
    """A whole number from 1 to 4, which may be written as '3', 3.0 or '3.0'."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadRecord(f"{name} is not a number")
    text = name_of(value, name).strip()
    if not re.fullmatch(r"[1-4](\.0+)?", text):
        raise BadRecord(f"{name} '{text:.20}' is not a whole number from 1 to 4")
    return int(text[0])


def write(ladders: Iterable[Ladder], path: Path) -> int:
    """Write ladders as JSON lines; return the number of records.

    Ladders of one interaction make one record. Any other response makes its own record: `id/0`, `id/1` and so on if a
    ladder has several. Answers that a record cannot hold are not written; their number is printed. A record cannot hold
    a system turn, a picture in a later turn, an empty turn, or a prompt with answers that are not rounds of the
    interaction: after reading, these would count as answers to train on. Picture names are relative to the file's
    folder if the pictures are below it.
    """
    source = list(ladders)
    records = list(interactions(source))
    write_lines(path, (_record(x, path) for x in records))
    answers = sum(response.rounds for ladder in source for response in ladder.responses)
    if missing := answers - sum(len(record.turns) for record in records):
        say(f"nlf: {missing} of {answers} answers not written: a record cannot hold them (see docs/formats.md)")
    return len(records)


def interactions(ladders: Iterable[Ladder]) -> Iterator[Interaction]:
    """Ladders as interactions, ordered by their first ladder: the inverse of `Interaction.rounds()`.

    A response that later rounds continue is their round 0 (`_with_first_rounds`). An interaction ends before the first
    round that does not fit: an earlier round is missing, or the prompt is not the conversation so far.
    """
    groups: dict[tuple[str, int], list[Ladder]] = {}
    for number, ladder in enumerate(_with_first_rounds(list(ladders))):
        key = ("", number) if ladder.round_of is None else (ladder.round_of.interaction, -1)
        groups.setdefault(key, []).append(ladder)
    for (name, _), group in groups.items():
        rounds = sorted(group, key=_number)
        whole = _whole(name, rounds) if name else None
        if whole is not None:
            yield whole
        for ladder in rounds[len(whole.turns) if whole is not None else 0 :]:
            yield from _one_per_response(ladder)


def _number(ladder: Ladder) -> int:
    """The number of the ladder's round; -1 if it belongs to no interaction."""
    return -1 if ladder.round_of is None else ladder.round_of.number


def _with_first_rounds(ladders: list[Ladder]) -> Iterator[Ladder]:
    """The ladders, with responses split off that are round 0 of an interaction of which only later rounds are present.

    The feedback stage names a conversation after its ladder, `a`, and a dialogue after its response, for example `a/1`.
    """
    begun = {ladder.interaction for ladder in ladders if _number(ladder) == 0}
    second: dict[str, list[Ladder]] = {}
    for ladder in ladders:
        if _number(ladder) == 1:
            name = ladder.interaction
            for first in {name, re.sub(r"/[0-9]+$", "", name)}:
                second.setdefault(first, []).append(ladder)
    for ladder in ladders:
        names: dict[int, str] = {}
        for following in second.get(ladder.id, []) if ladder.round_of is None else []:
            name = following.interaction
            for place, response in enumerate(ladder.responses):
                if place not in names and name not in begun and _continues(following, ladder, response):
                    names[place] = name
                    begun.add(name)
        if not names:
            yield ladder
            continue
        free = (name for n in itertools.count() if (name := f"{ladder.id}/{n}") not in names.values())
        for place, response in enumerate(ladder.responses):
            if place in names:
                start = RoundOf(names[place], 0)
                yield replace(ladder, id=f"{names[place]}#0", responses=[response], notes={}, round_of=start)
            else:
                yield replace(ladder, id=next(free), responses=[response])


def _continues(following: Ladder, ladder: Ladder, response: Response) -> bool:
    """Whether the prompt of `following` is this ladder's prompt, this response, and the user's next turn."""
    alike = (ladder.images, ladder.annotations) == (following.images, following.annotations)
    return alike and response.rounds == 1 and following.prompt[:-1] == [*ladder.prompt, *response.messages]


def _whole(name: str, rounds: list[Ladder]) -> Interaction | None:
    """The interaction of these rounds in order, up to the first that does not fit; None if the first does not."""
    history: list[Message] = []
    turns = []
    for number, ladder in enumerate(rounds):
        alike = (ladder.images, ladder.annotations) == (rounds[0].images, rounds[0].annotations)
        if not alike or _number(ladder) != number or ladder.prompt[:-1] != history:
            break
        if len(ladder.responses) != 1 or ladder.responses[0].rounds != 1:
            break
        history = [*ladder.prompt, *ladder.responses[0].messages]
        if not _readable(history):
            break
        turns.append((ladder.prompt[-1], ladder.responses[0]))
    return Interaction(name, rounds[0].images, turns, rounds[0].annotations) if turns else None


def _readable(messages: list[Message]) -> bool:
    """Whether a record can hold a conversation: it starts with the user, only that turn has pictures, none is empty."""
    later = any(IMAGE_MARK in message["content"] for message in messages[1:])
    return messages[0]["role"] == "user" and not later and all(message["content"].strip() for message in messages)


def _one_per_response(ladder: Ladder) -> Iterator[Interaction]:
    """Each response of a ladder as an interaction, with its feedback at its last round.

    Nothing if the prompt has answers: a record could not tell them from the response's.
    """
    if len(ladder.prompt) > 1:
        return
    for number, response in enumerate(ladder.responses):
        messages = [*ladder.prompt, *response.messages]
        if not _readable(messages):
            continue
        turns = [(user, Response([answer], 0)) for user, answer in zip(messages[::2], messages[1::2], strict=True)]
        turns[-1] = (messages[-2], Response([messages[-1]], 0, feedback=response.feedback))
        name = f"{ladder.id}/{number}" if len(ladder.responses) > 1 else ladder.id
        yield Interaction(name, ladder.images, turns, ladder.annotations)


def _record(interaction: Interaction, path: Path) -> dict[str, Any]:
    annotations = dict(interaction.annotations)
    record: dict[str, Any] = {"id": interaction.id, **_image_entry(interaction.images, path)}
    content = annotations.get("image_content")
    if isinstance(content, list) and all(isinstance(line, str) for line in content):
        record["caption"] = annotations.pop("image_content")
    questions = [user["content"] for user, _ in interaction.turns]
    marks = f"{IMAGE_MARK}\n" * len(interaction.images)
    unmarked = questions[0].removeprefix(marks)
    if unmarked.strip() and IMAGE_MARK not in unmarked:  # the public records have no marks
        questions[0] = unmarked
    record["interaction"] = [
        {"user": question, "model": response.messages[0]["content"], **_feedback_keys(response.feedback, following)}
        for question, (_, response), following in zip(questions, interaction.turns, [*questions[1:], ""], strict=True)
    ]
    if annotations:
        record["annotations"] = annotations
    return record


def _image_entry(images: list[Image], path: Path) -> dict[str, Any]:
    names = [relative(image.path, path.parent) for image in images]
    return {} if not names else {"image_id": names[0]} if len(names) == 1 else {"image": names}


def _feedback_keys(feedback: Feedback | None, following: str) -> dict[str, Any]:
    """Feedback as the keys of a turn: the public records' keys if they suffice, else also our own."""
    if feedback is None:
        return {}
    ratings = feedback.ratings
    entry: dict[str, Any] = {"rating": str(ratings[UNNAMED]) if set(ratings) == {UNNAMED} else ratings}
    entry[CRITIQUES[0]] = feedback.critique
    if feedback.refinement != following:
        entry["refinement"] = feedback.refinement
    if feedback.annotator:
        entry["annotator"] = feedback.annotator
    return entry

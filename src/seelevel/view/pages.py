"""What stands on the pages of `seelevel view`: plain data for the templates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from math import isnan, nan
from typing import Any

from markupsafe import Markup

from seelevel.check.overrides import BY_HAND
from seelevel.ladder import IMAGE_MARK, Ladder, Response
from seelevel.report.ladders import MARKS, SCORES, reasons, say_origin
from seelevel.report.text import marked
from seelevel.scorers.views import Span
from seelevel.training.margins import Summed, smallest_margin
from seelevel.view.changes import Entry, place_in
from seelevel.view.collection import Collection, Place
from seelevel.view.judged import contradictions

FIRST = 140
"""Characters of a prompt in the gallery."""


@dataclass(frozen=True)
class Card:
    """A ladder in the gallery."""

    id: str
    prompt: str
    place: Place
    size: int
    levels: int
    has_picture: bool
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """An answer on a ladder's page.

    name: its `Response.id` as checked; text_id: as it is now; differs: the answer, with marks on words that the best
    answer lacks; out: whether somebody has left it out; back: whether it comes back with the next check; log_prob: per
    token, before and after training; rated: a judge's ratings; against: which of them contradict the levels.
    """

    name: str
    text_id: str
    level: int
    tied: bool
    origin: str
    text: Markup
    differs: Markup | None
    words: int
    scores: list[tuple[str, str]]
    covered: str
    missed: list[str]
    moved: str
    thought: str
    critique: str = ""
    editable: str = ""
    out: bool = False
    back: bool = False
    log_prob: str = ""
    rated: str = ""
    against: str = ""
    by: str = ""


def _short(text: str, most: int = 400) -> str:
    return text[:most] + "…" if len(text) > most else text


def card_of(collection: Collection, place: Place, with_margin: bool = False) -> Card:
    """A ladder's card, from the index alone."""
    shard, row = collection.shards[place[0]], place[1]
    prompt = _short(" ".join(shard.prompts[row].replace(IMAGE_MARK, " ").split()), FIRST)
    remarks = [*(["reordered"] if shard.reordered[row] else []), *(["unchecked"] if shard.unchecked[row] else [])]
    remarks += ["ties"] if shard.levels[row] < shard.size[row] else []
    (margin,) = collection.figures.margins([shard.ids[row]]) if with_margin else (nan,)
    remarks += [] if isnan(margin) else [f"margin {_signed(margin)}"]
    return Card(
        id=shard.ids[row],
        prompt=prompt,
        place=place,
        size=int(shard.size[row]),
        levels=int(shard.levels[row]),
        has_picture=bool(shard.pictures[row]),
        remarks=(*remarks, *shard.flags[row]),
    )


def ladder_page(collection: Collection, place: Place) -> dict[str, Any]:
    """The fields of a ladder's page: the ladder as it is with the changes by hand, and answers left out at the end."""
    original = collection.ladder(place)
    ladder = collection.changes.applied(original)
    checker = "" if ladder.check is None else ladder.check.checker
    entries = _by_id(original, collection.changes.of(ladder.id))
    columns = [_column(ladder, n, original, entries) for n in range(len(ladder.responses))]
    columns += [
        replace(_column(original, n, original, entries), out=True)
        for n in range(len(original.responses))
        if entries.get(original.responses[n].id, {}).get("drop")
    ]
    columns += _left_out(collection, original)
    figures = collection.figures.of(ladder.id)
    columns = _with_judge(ladder, [_with_log_prob(column, figures) for column in columns])
    margin = smallest_margin(original, figures)
    return {
        "title": ladder.id,
        "ladder": ladder,
        "turns": [(m["role"], m["content"].replace(IMAGE_MARK, "").strip()) for m in ladder.prompt],
        "columns": columns,
        "checker": checker,
        "margin": "" if margin is None else _signed(margin),
        "marks": MARKS.get(checker, []),
        "remarks": [*ladder.flags, *([ladder.check.unchecked] if ladder.check and ladder.check.unchecked else [])],
        "annotations": [(key, _short(str(value))) for key, value in sorted(ladder.annotations.items())],
        "version": collection.changes.version(ladder.id),
        "levels": list(range(max([*ladder.levels, *original.levels], default=0) + 2)),
    }


def _by_id(ladder: Ladder, entries: Sequence[Entry]) -> dict[str, Entry]:
    """The overrides of a ladder's responses by `Response.id`."""
    places = [(place_in(ladder, entry), entry) for entry in entries]
    return {ladder.responses[place].id: entry for place, entry in places if place is not None}


def _left_out(collection: Collection, original: Ladder) -> list[Column]:
    """Answers that the last check has left out, because somebody wanted it, from the ladders that it has read."""
    notes = [note for note in _notes(original) if note.get("what") == "drop"]
    earlier = collection.before_check(original.id) if notes else None
    if earlier is None:
        return []
    entries = _by_id(earlier, collection.changes.of(original.id))
    noted = {str(note.get("response")): note for note in notes}
    dropped = {name for name, entry in entries.items() if entry.get("drop")} | noted.keys()
    shown = {response.id for response in original.responses}
    return [
        replace(
            _column(earlier, n, earlier, {}),
            out=True,
            back=not entries.get(response.id, {}).get("drop"),
            by=_author(entries.get(response.id) or noted.get(response.id, {})),
        )
        for n, response in enumerate(earlier.responses)
        if response.id in dropped - shown
    ]


def _notes(ladder: Ladder) -> list[Mapping[str, Any]]:
    """What people have changed, as the check has noted it."""
    notes = ladder.notes.get(BY_HAND)
    return [note for note in notes if isinstance(note, dict)] if isinstance(notes, list) else []


def _author(entry: Mapping[str, Any]) -> str:
    """Who has made a change, and when, to the minute."""
    when = re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d).*", r"\1 \2", str(entry.get("when") or ""))
    return ", ".join(filter(None, (str(entry.get("who") or ""), when)))


def _with_log_prob(column: Column, figures: Mapping[str, Summed]) -> Column:
    """The column with its answer's log-prob per token: before, after, and the change."""
    summed = figures.get(column.text_id)
    if summed is None or not summed.tokens:
        return column
    after = summed.trained / summed.tokens
    if summed.reference is None:
        return replace(column, log_prob=f"log-prob per token {_signed(after)}")
    before = summed.reference / summed.tokens
    words = f"log-prob per token {_signed(before)} before, {_signed(after)} after training ({_signed(after - before)})"
    return replace(column, log_prob=words)


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def _with_judge(ladder: Ladder, columns: Sequence[Column]) -> list[Column]:
    """The columns of a ladder's answers, the first of all columns, with what contradicts their levels."""
    ratings = [{} if r.feedback is None else r.feedback.ratings for r in ladder.responses]
    scores = [r.scores.get("rating") for r in ladder.responses]
    _, pairs = contradictions(ladder.levels, ratings, scores)
    judged = list(columns)
    for n in range(len(ladder.responses)):
        words = [f"above answer {i + 1}" for i, j in pairs if j == n] + [
            f"below answer {j + 1}" for i, j in pairs if i == n
        ]
        rated = ", ".join(f"{name} {rating}" for name, rating in ratings[n].items())
        judged[n] = replace(judged[n], rated=rated, against=", ".join(words))
    return judged


def _column(ladder: Ladder, n: int, original: Ladder, entries: Mapping[str, Mapping[str, Any]]) -> Column:
    response = ladder.responses[n]
    # An edited answer has another id; its origin tells which one it was.
    before = next((r for r in original.responses if r.id == response.id or _same_standard(r, response)), response)
    entry = entries.get(before.id, {})
    spans, covered, missed = reasons(response.check, ladder.holds_measure)
    shift = 0 if response.check is None else response.check.place_before - n
    best = ladder.responses[0]
    edited = response.text != before.text
    return Column(
        name=before.id,
        text_id=response.id,
        level=response.level,
        tied=ladder.levels.count(response.level) > 1,
        origin=say_origin(response.origin),
        text=_text(response, [] if edited else spans),  # the places are those of the old text
        differs=None if n == 0 else marked(response.text, differences(best.text, response.text)),
        words=len(response.text.split()),
        scores=[(SCORES.get(name, name), f"{value:.2f}") for name, value in sorted(response.scores.items())],
        covered=covered,
        missed=missed,
        moved="" if not shift else f"place {n + 1 + shift} before the check",
        thought=response.reasoning,
        critique=response.feedback.critique if response.feedback is not None else "",
        editable=response.text if response.is_standard and response.rounds == 1 else "",
        by=_author(entry),
    )


def _same_standard(a: Response, b: Response) -> bool:
    return a.is_standard and b.is_standard


def _text(response: Response, spans: list[Span]) -> Markup:
    """The assistant's turns, marked, with the user's between them in brackets."""
    if response.rounds == 1:
        return marked(response.text, spans)
    parts, start = [], 0
    for message in response.messages:
        if message["role"] != "assistant":
            parts.append(Markup("<span class='user'>{}</span>").format(message["content"]))
            continue
        here = [Span(s.start - start, s.end - start, s.kind, s.note, s.said) for s in spans if s.start >= start]
        parts.append(marked(message["content"], here))
        start += len(message["content"]) + 2
    return Markup("\n\n").join(parts)


def differences(best: str, text: str) -> list[Span]:
    """The words of a text that the best answer does not have in that place, as spans."""
    theirs, ours = best.split(), list(_words(text))
    matcher = SequenceMatcher(None, theirs, [word for word, _, _ in ours], autojunk=False)
    spans = []
    for tag, _, _, start, end in matcher.get_opcodes():
        if tag in ("replace", "insert"):
            spans.append(Span(ours[start][1], ours[end - 1][2], "new", "not in the best answer"))
    return spans


def _words(text: str) -> list[tuple[str, int, int]]:
    """The words of a text with their places."""
    words, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        words.append((word, at, at + len(word)))
        at += len(word)
    return words

"""Ladders on the page: counts over all of them, and a few of them in full."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from markupsafe import Markup

from seelevel.formats.parquet import read_ladders
from seelevel.ladder import IMAGE_MARK, Ladder, Response
from seelevel.report.pictures import Album, Picture
from seelevel.report.sample import spaced
from seelevel.report.text import marked
from seelevel.scorers.views import Span
from seelevel.store import shards

SCORES = {"acc": "Acc", "score": "score"}


@dataclass
class LadderFacts:
    """Counts over all ladders. `reordered` is None if the order before or after the check is missing."""

    ladders: int = 0
    responses: int = 0
    pairs: int = 0
    tied: int = 0
    without_pair: int = 0
    reordered: int | None = None
    unchecked: int = 0
    sizes: Counter[int] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Turn:
    """One message of a response on the page."""

    role: str
    text: Markup


@dataclass(frozen=True)
class Answer:
    """One response on the page. `before` is its place before the check, counted from 1; None if it is unknown."""

    level: int
    tied: bool
    origin: str
    turns: list[Turn]
    before: int | None
    moved: str
    scores: list[tuple[str, str]]
    covered: str
    missed: list[str]
    condition: str


@dataclass(frozen=True)
class Shown:
    """One ladder on the page."""

    id: str
    pictures: list[Picture]
    prompt: list[Turn]
    answers: list[Answer]
    reordered: bool | None
    remarks: list[str]


def read_facts_and_choice(
    before: Path, after: Path, root: Path, wanted: int
) -> tuple[LadderFacts, list[tuple[Ladder, list[Response] | None]]]:
    """Counts over all ladders, and `wanted` of them with their responses in the order before the check.

    Half of them are reordered ladders, if there are enough. Both halves are evenly spaced in the files: a sample, not a
    selection. Shards are read one at a time, so memory does not grow with the run.
    """
    facts, changed, kept = LadderFacts(), list[tuple[Path, int]](), list[tuple[Path, int]]()
    for path in shards(after) or shards(before):
        for number, (ladder, old) in enumerate(_read(path, before, root)):
            moved = None if old is None else _reordered(_places(ladder, old))
            _count(facts, ladder, moved)
            (changed if moved else kept).append((path, number))
    half = min(len(changed), max(wanted - len(kept), (wanted + 1) // 2))
    chosen = []
    for path, places in groupby(sorted(spaced(changed, half) + spaced(kept, wanted - half)), key=itemgetter(0)):
        pairs = _read(path, before, root)
        chosen += [pairs[number] for _, number in places]
    return facts, chosen


def _read(path: Path, before: Path, root: Path) -> list[tuple[Ladder, list[Response] | None]]:
    """A shard's ladders, each with its responses from before the check if the shard is the check's."""
    earlier, old = before / path.name, dict[str, list[Response]]()
    if path != earlier and earlier.exists():
        old = {ladder.id: ladder.responses for ladder in read_ladders(earlier, root)}
    return [(ladder, old.get(ladder.id)) for ladder in read_ladders(path, root)]


def _reordered(places: list[int]) -> bool:
    return places != sorted(places)


def _places(ladder: Ladder, old: list[Response]) -> list[int]:
    """The place (from 0) of each response among those before the check."""
    free = dict(enumerate(map(_identity, old)))
    places = []
    for response in ladder.responses:
        me = _identity(response)
        place = next((n for n, other in free.items() if other == me), None)
        if place is not None:
            del free[place]
            places.append(place)
    return places


def _identity(response: Response) -> str:
    return json.dumps([response.messages, response.origin], sort_keys=True)


def _count(facts: LadderFacts, ladder: Ladder, moved: bool | None) -> None:
    facts.ladders += 1
    facts.responses += len(ladder.responses)
    facts.sizes[len(ladder.responses)] += 1
    pairs = len(ladder.pairs())
    facts.pairs += pairs
    facts.without_pair += pairs == 0
    facts.tied += len(set(ladder.levels)) < len(ladder.levels)
    if moved is not None:
        facts.reordered = (facts.reordered or 0) + moved
    facts.unchecked += bool(_unchecked(ladder))
    facts.flags.update(_flags(ladder))


def _unchecked(ladder: Ladder) -> str:
    """Why the check left the ladder unchanged; empty if it checked it."""
    return str(_check_notes(ladder).get("unchecked", ""))


def _flags(ladder: Ladder) -> list[str]:
    flags = ladder.notes.get("flags", [])
    return [str(flag) for flag in flags] if isinstance(flags, list) else [str(flags)]


def _check_notes(ladder: Ladder) -> Mapping[str, Any]:
    notes = ladder.notes.get("check")
    return notes if isinstance(notes, dict) else {}


def show(ladder: Ladder, old: list[Response] | None, album: Album) -> Shown:
    """A ladder as the page shows it."""
    places = None if old is None else _places(ladder, old)
    aligned = places if places is not None and len(places) == len(ladder.responses) else None
    answers = []
    for n, response in enumerate(ladder.responses):
        before = None if aligned is None else aligned[n] + 1
        answers.append(_answer(ladder, n, response, before))
    unchecked = _unchecked(ladder)
    return Shown(
        id=ladder.id,
        pictures=[album.picture(image.path) for image in ladder.images],
        prompt=[Turn(m["role"], marked(m["content"].replace(IMAGE_MARK, "").strip())) for m in ladder.prompt],
        answers=answers,
        reordered=None if aligned is None else _reordered(aligned),
        remarks=[
            *_flags(ladder),
            *([f"order kept, unchecked: {unchecked}"] if unchecked else []),
            *_overrides(ladder),
        ],
    )


def _overrides(ladder: Ladder) -> list[str]:
    """The levels that people have set, one line each."""
    origins = {response.text: say_origin(response.origin) for response in ladder.responses}
    return [
        f"{origins[entry['text']]}: level {entry.get('from')} set to {entry['to']} by {entry['who']}"
        + "".join(f", {entry[name]}" for name in ("when", "why") if entry.get(name))
        for entry in ladder.notes.get("overrides", [])
        if entry["text"] in origins
    ]


def _answer(ladder: Ladder, n: int, response: Response, before: int | None) -> Answer:
    spans, covered, missed = chunk_spans(_check_notes(ladder), n, response)
    shift = 0 if before is None else before - (n + 1)
    return Answer(
        level=response.level,
        tied=ladder.levels.count(response.level) > 1,
        origin=say_origin(response.origin),
        turns=_turns(response, spans),
        before=before,
        moved="up" if shift > 0 else "down" if shift < 0 else "",
        scores=[(SCORES.get(name, name), f"{value:.2f}") for name, value in sorted(response.scores.items())],
        covered=covered,
        missed=missed,
        condition=response.condition,
    )


def _turns(response: Response, spans: list[Span]) -> list[Turn]:
    """The messages of a response. Spans count in `response.text`: the assistant's turns, joined by a blank line."""
    turns, start = [], 0
    for message in response.messages:
        text = message["content"]
        if message["role"] != "assistant":
            turns.append(Turn(message["role"], marked(text)))
            continue
        here = [Span(s.start - start, s.end - start, s.kind, s.note, s.said) for s in spans if s.start >= start]
        turns.append(Turn("assistant", marked(text, here)))
        start += len(text) + 2
    return turns


def say_origin(origin: Mapping[str, Any]) -> str:
    """The origin of a response in a few words: `standard response`, `expert world:l`, `perturbation of 10%`."""
    kind, model = str(origin.get("kind", "")), origin.get("model")
    words = {"standard": "standard response"}.get(kind, kind)
    if isinstance(origin.get("share"), float):
        words += f" of {origin['share']:.0%}"
    return " ".join(part for part in (words, str(model) if model else "") if part) or "origin not noted"


def chunk_spans(notes: Mapping[str, Any], n: int, response: Response) -> tuple[list[Span], str, list[str]]:
    """The check's notes on response `n`: its chunks as spans of its text (matched or not), the coverage of the standard
    response in words, and the chunks of the standard response that it leaves out.

    The chunks of the standard response itself are only underlined.
    """
    judged = notes.get("responses")
    if not isinstance(judged, list) or n >= len(judged):
        return [], "", []
    chunks, standard = judged[n].get("chunks", []), judged[n].get("standard_chunks", [])
    order = notes.get("order")
    if (order[n] if isinstance(order, list) else n) == 0:  # a person may have put another one above it
        return [Span(c["start"], c["end"], "plain") for c in chunks], "the measure", []
    spans = []
    for chunk in chunks:
        note = f"nearest: {chunk['best']} ({chunk['similarity']:.2f})" if chunk["best"] else "nothing to compare with"
        kind, said = ("hit", "matched") if chunk["matched"] else ("miss", "not matched")
        spans.append(Span(chunk["start"], chunk["end"], kind, note, said))
    covered = sum(bool(chunk["matched"]) for chunk in standard)
    missed = [str(chunk["text"]) for chunk in standard if not chunk["matched"]]
    return spans, f"covers {covered} of {len(standard)} chunks", missed

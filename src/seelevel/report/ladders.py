"""Ladders on the page: counts over all of them, and a few of them in full."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Any

from markupsafe import Markup

from seelevel.formats.parquet import iter_shards, read_ladders
from seelevel.ladder import IMAGE_MARK, LOGPROB, Ladder, Response
from seelevel.notes import Checked, ObjectsNamed
from seelevel.report.pictures import Album, Picture
from seelevel.report.sample import spaced
from seelevel.report.text import marked
from seelevel.scorers.views import Span

SCORES = {"acc": "Acc", "score": "score", LOGPROB: "log-prob", "f1": "F1", "f0.5": "F0.5", "f2": "F2"}
MARKS = {
    "autocheck": [
        ("hit", "matched chunk"),
        ("miss", "chunk without a match in the standard response"),
        ("plain", "chunk of the standard response"),
    ],
    "objects": [("hit", "object that is in the picture"), ("miss", "object that is not annotated in the picture")],
}
"""The marks in the texts of each checker's ladders, and their meaning."""


@dataclass
class LadderFacts:
    """Counts over all ladders. `reordered` is None if no check has been run. `logprobs`: by level, those of samples."""

    ladders: int = 0
    responses: int = 0
    pairs: int = 0
    tied: int = 0
    without_pair: int = 0
    reordered: int | None = None
    unchecked: int = 0
    sizes: Counter[int] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    logprobs: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))


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


def read_facts_and_choice(folder: Path, root: Path, wanted: int) -> tuple[LadderFacts, list[Ladder]]:
    """Counts over all ladders of a stage, and `wanted` of them to show.

    Half of them are reordered ladders, if there are enough. Both halves are evenly spaced in the files: a sample, not a
    selection. Shards are read one at a time, so memory does not grow with the run.
    """
    facts, changed, kept = LadderFacts(), list[tuple[Path, int]](), list[tuple[Path, int]]()
    for path, ladders in iter_shards(folder, root):
        for number, ladder in enumerate(ladders):
            _count(facts, ladder)
            (changed if ladder.reordered else kept).append((path, number))
    half = min(len(changed), max(wanted - len(kept), (wanted + 1) // 2))
    chosen = []
    for path, places in groupby(sorted(spaced(changed, half) + spaced(kept, wanted - half)), key=itemgetter(0)):
        ladders = read_ladders(path, root)
        chosen += [ladders[number] for _, number in places]
    return facts, chosen


def _count(facts: LadderFacts, ladder: Ladder) -> None:
    facts.ladders += 1
    facts.responses += len(ladder.responses)
    facts.sizes[len(ladder.responses)] += 1
    pairs = len(ladder.pairs())
    facts.pairs += pairs
    facts.without_pair += pairs == 0
    facts.tied += len(set(ladder.levels)) < len(ladder.levels)
    if ladder.check is not None:
        facts.reordered = (facts.reordered or 0) + ladder.reordered
        facts.unchecked += bool(ladder.check.unchecked)
    facts.flags.update(ladder.flags)
    for response in ladder.responses:
        if LOGPROB in response.scores:
            facts.logprobs[response.level].append(response.scores[LOGPROB])


def off_policy(facts: LadderFacts) -> list[str]:
    """How likely the samples of each level are to the model that gave them, in one sentence; none without samples."""
    if not facts.logprobs:
        return []
    means = ", ".join(
        f"{fmean(values):.2f} at level {level} ({len(values):,})" for level, values in sorted(facts.logprobs.items())
    ).replace("-", "\N{MINUS SIGN}")
    return [f"Mean log-probability per token of samples, under the model that gave them: {means}."]


def show(ladder: Ladder, album: Album) -> Shown:
    """A ladder as the page shows it."""
    unchecked = ladder.check.unchecked if ladder.check is not None else ""
    return Shown(
        id=ladder.id,
        pictures=[album.picture(image.path) for image in ladder.images],
        prompt=[Turn(m["role"], marked(m["content"].replace(IMAGE_MARK, "").strip())) for m in ladder.prompt],
        answers=[_answer(ladder, n, response) for n, response in enumerate(ladder.responses)],
        reordered=None if ladder.check is None else ladder.reordered,
        remarks=[
            *ladder.flags,
            *([f"order kept, unchecked: {unchecked}"] if unchecked else []),
            *_overrides(ladder),
        ],
    )


def _overrides(ladder: Ladder) -> list[str]:
    """The levels that people have set, one line each."""
    origins = {response.id: say_origin(response.origin) for response in ladder.responses}
    return [
        f"{origins[one.response]}: level {one.replaces} set to {one.to} by {one.who}"
        + "".join(f", {words}" for words in (one.when, one.why) if words)
        for one in ladder.overrides
        if one.response in origins
    ]


def _answer(ladder: Ladder, n: int, response: Response) -> Answer:
    spans, covered, missed = reasons(response.check, ladder.holds_measure)
    before = None if response.check is None else response.check.place_before + 1
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


def reasons(check: Checked | None, holds_measure: bool = True) -> tuple[list[Span], str, list[str]]:
    """A checker's reasons for one response: spans of its text, a summary in words, and what it leaves out."""
    if check is None or check.objects is None:
        return chunk_spans(check, holds_measure)
    return object_spans(check.objects)


def object_spans(objects: ObjectsNamed) -> tuple[list[Span], str, list[str]]:
    """A response's objects as spans of its text, how many there are, and the objects that it leaves out."""
    kinds = (("hit", "in the picture", objects.matched), ("miss", "not annotated", objects.invented))
    spans = [
        Span(start, end, kind, f"{one.object}: {words}", words)
        for kind, words, named in kinds
        for one in named
        for start, end in one.places
    ]
    there = len(objects.matched) + len(objects.missed)
    invented = ", ".join(one.object for one in objects.invented)
    summary = f"names {len(objects.matched)} of {there} objects" + (f", invents {invented}" if invented else "")
    return sorted(spans, key=lambda span: span.start), summary, list(objects.missed)


def chunk_spans(check: Checked | None, holds_measure: bool = True) -> tuple[list[Span], str, list[str]]:
    """A response's chunks as spans of its text (matched or not), the coverage of the standard response in words, and
    the chunks of the standard response that it leaves out.

    The response that was first before the check is the standard of the others, unless their standard is no level of
    the ladder: its chunks are only underlined.
    """
    coverage = None if check is None else check.coverage
    if check is None or coverage is None:
        return [], "", []
    if holds_measure and check.place_before == 0:  # a person may have put another response above it since
        return [Span(chunk.start, chunk.end, "plain") for chunk in coverage.chunks], "the measure", []
    spans = []
    for chunk in coverage.chunks:
        note = f"nearest: {chunk.best} ({chunk.similarity:.2f})" if chunk.best else "nothing to compare with"
        kind, words = ("hit", "matched") if chunk.matched else ("miss", "not matched")
        spans.append(Span(chunk.start, chunk.end, kind, note, words))
    standard = coverage.standard_chunks
    covered = sum(chunk.matched for chunk in standard)
    missed = [chunk.text for chunk in standard if not chunk.matched]
    return spans, f"covers {covered} of {len(standard)} chunks", missed

"""The items of a compared benchmark: how much better each got, which of them a page shows, and what stands there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from seelevel.compare.figures import WORDS, WORDS_METRIC, main_figures
from seelevel.compare.sides import Item, Shared
from seelevel.errors import InputError
from seelevel.json_text import dumps
from seelevel.report.figures import Figure, metric_of, say_value
from seelevel.report.text import marked
from seelevel.scorers.intervals import Measure
from seelevel.scorers.views import BenchmarkView, Reply
from seelevel.scorers.words import Metric

Gains = NDArray[np.float64]
ORDERS = {"": "what got better first", "worse": "what got worse first", "file": "in the file's order"}
CHANGES = {
    "better": "only better",
    "worse": "only worse",
    "same": "unchanged",
    "answer": "answer changed",
    "unscored": "not scored",
}
OF_REPORT = ""
"""In place of a figure: how the report tells whether an answer is better."""
SHORT = 240
"""Characters of a reference answer in a list."""


@dataclass(frozen=True)
class Look:
    """Which items a list shows, and how. figure: by which one an item is better; order: one of ORDERS; change: one of
    CHANGES; words: a text in an id, a question or an answer. Empty values set nothing."""

    benchmark: str = ""
    figure: str = OF_REPORT
    order: str = ""
    change: str = ""
    words: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Look:
        """From the query of an address. Orders and changes that there are not are left out."""
        given = {field.name: query.get(field.name, "") for field in fields(cls)}
        given["order"] = given["order"] if given["order"] in ORDERS else ""
        given["change"] = given["change"] if given["change"] in CHANGES else ""
        return cls(**given | {"words": given["words"].strip()})

    @property
    def values(self) -> dict[str, str]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Answer:
    """What a model said in one round. `expected`: the reference, if it is not the same for all models."""

    text: Markup
    note: str
    tone: str
    extra: str
    missing: str
    expected: str = ""


@dataclass(frozen=True)
class Turn:
    """A question, what is expected, and the models' answers in the order of the models."""

    question: str
    expected: str
    answers: list[Answer]


class Items:
    """The items of one benchmark by place. ids: the item's id, and how many items before it have that id."""

    def __init__(self, shared: Shared) -> None:
        self.shared, self.scorer = shared, shared.scorer
        self.sides = list(shared.items.values())
        self.first, self.last = self.sides[0], self.sides[-1]
        assert self.scorer.measures is not None
        self.measures = {measure.name: measure for measure in (*self.scorer.measures(self.first), WORDS)}
        self.views = [view for view in self.scorer.views if view.sides == ("base", "aligned")]
        seen = Counter[str]()
        self.ids: list[tuple[str, int]] = []
        for item in self.first:
            # an address cannot hold half a character
            name = str(item["id"]).encode("utf-8", "replace").decode()
            self.ids.append((name, seen[name]))
            seen[name] += 1
        self.place_of = {name: place for place, name in enumerate(self.ids)}
        self._gains: dict[str, Gains] = {}
        self._metrics: dict[str, Metric] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def metric(self, figure: str) -> Metric:
        """The words of a figure."""
        if figure == WORDS.name:
            return WORDS_METRIC
        if figure not in self._metrics:
            values = self._values(figure, self.first)
            top = float(np.max(values, initial=0.0, where=np.isfinite(values)))
            self._metrics[figure] = metric_of(figure, [self.scorer], [Figure(top, None, None)])
        return self._metrics[figure]

    @property
    def main(self) -> tuple[list[str], list[str]]:
        """As `Compared.main` has it."""
        return main_figures({name: self.metric(name) for name in self.measures})

    def prepare(self) -> None:
        """Make beforehand what pages need."""
        _ = self.figures, self._texts, self._changed

    @cached_property
    def figures(self) -> dict[str, str]:
        """By which figures items can be told apart, with their words: those of an item alone, in both models."""
        by_view = {OF_REPORT: f"as in the report{self.views[0].by}"} if self.views else {}
        names = [name for name in self.measures if np.isfinite(self.gains(name)).any()]
        return by_view | {name: self.metric(name).label for name in names}

    def figure(self, look: Look) -> str:
        """The figure that a list goes by: the one asked for, if items have it."""
        return look.figure if look.figure in self.figures else next(iter(self.figures), WORDS.name)

    def gains(self, figure: str) -> Gains:
        """How much better each item's last answer is than its first, shape [n]; NaN if one is not scored. More counts
        as better for a figure that is neither good nor bad."""
        if figure not in self._gains:
            if figure == OF_REPORT:
                with self._readable():
                    pairs = zip(self.first, self.last, strict=True)
                    gains = [np.nan if (gain := self._gain(*pair)) is None else gain for pair in pairs]
                self._gains[figure] = np.array(gains, dtype=np.float64)
            else:
                change = self._values(figure, self.last) - self._values(figure, self.first)
                self._gains[figure] = -change if self.metric(figure).better == "lower" else change
        return self._gains[figure]

    def _view(self, first: Item, item: Item) -> BenchmarkView | None:
        return next((view for view in self.views if view.applies(first, item)), None)

    def _gain(self, first: Item, item: Item) -> float | None:
        view = self._view(first, item)
        return None if view is None else view.gain(first, item)

    def _values(self, figure: str, items: Sequence[Item]) -> Gains:
        """A figure of every item alone; NaN if it has none."""
        measure = self.measures[figure]
        sums = [measure.scored(item) for item in items]
        values = np.full(len(items), np.nan)
        if scored := [n for n, row in enumerate(sums) if row is not None]:
            values[scored] = _value(measure, np.array([sums[n] for n in scored], dtype=np.float64))
        return values

    @cached_property
    def _texts(self) -> list[str]:
        """What is searched, item by item."""
        return [
            "\n".join(
                [str(items[0]["id"]), *_lines(items[0].get("question")), *(t for i in items for t in _answers(i))]
            )
            .casefold()
            .replace("\r", "")
            for items in zip(*self.sides, strict=True)
        ]

    @cached_property
    def _changed(self) -> NDArray[np.bool_]:
        return np.array([a["answer"] != b["answer"] for a, b in zip(self.first, self.last, strict=True)], dtype=bool)

    def matching(self, look: Look) -> list[int]:
        """The places of the items that a list shows, in its order."""
        gains = self.gains(self.figure(look))
        masks = {
            "": np.ones(len(gains), dtype=bool),
            "better": gains > 0,
            "worse": gains < 0,
            "same": gains == 0,
            "unscored": np.isnan(gains),
            "answer": self._changed,
        }
        places = np.flatnonzero(masks[look.change])
        if look.order != "file":
            signed = gains[places] if look.order == "worse" else -gains[places]
            places = places[np.argsort(signed, kind="stable")]  # NaN comes last
        if not look.words:
            return [int(place) for place in places]
        words = look.words.casefold()
        return [int(place) for place in places if words in self._texts[place]]

    def counts(self, look: Look) -> dict[str, int]:
        """How many items there are of each change."""
        gains = self.gains(self.figure(look))
        return {
            "better": int((gains > 0).sum()),
            "worse": int((gains < 0).sum()),
            "same": int((gains == 0).sum()),
            "unscored": int(np.isnan(gains).sum()),
        }

    # -- one item ------------------------------------------------------------------------------------------------------

    def tone(self, figure: str, place: int) -> str:
        """‘better’, ‘worse’, ‘same’ or ‘unscored’: what became of an item."""
        gain = self.gains(figure)[place]
        return "unscored" if np.isnan(gain) else "better" if gain > 0 else "worse" if gain < 0 else "same"

    def values(self, place: int) -> list[tuple[str, list[str]]]:
        """The figures that the item has alone, each with its text by model, as far as they are shown at once."""
        rows = []
        main, beside = self.main
        for name in (name for name in self.figures if name in (*main, *beside, WORDS.name)):
            numbers = [self._values(name, [items[place]])[0] for items in self.sides]
            kind = self.metric(name).kind
            texts = ["–" if np.isnan(number) else say_value(float(number), kind) for number in numbers]
            rows.append((self.metric(name).label, texts))
        return rows

    def turns(self, place: int, sides: Sequence[int], short: bool = False) -> list[Turn]:
        """What was asked and answered, of some of the models, by their numbers. `short`: cut long references."""
        with self._readable():
            by_side = [list(self._replies(self.sides[n][place])) for n in sides]
        turns = []
        for n in range(max(map(len, by_side))):
            rounds = [replies[n] if n < len(replies) else None for replies in by_side]
            question = next((r[0] for r in rounds if r is not None), "")
            wanted = [_short(r[1], short) for r in rounds if r is not None]
            same = len(set(wanted)) == 1
            answers = [_answer(r[2], "" if same else r[1]) if r is not None else NO_MORE for r in rounds]
            turns.append(Turn(question, wanted[0] if same else "", answers))
        return turns

    def _replies(self, item: Item) -> Iterator[tuple[str, str, Reply]]:
        """Question, reference and answer of every round: as the report shows them, or plainly if it cannot."""
        view = self._view(item, item)
        if view is not None and view.gain(item, item) is not None:
            yield from ((turn.question, turn.expected, turn.aligned) for turn in view.rounds(item, item))
            return
        questions, answers = _lines(item.get("question")), _answers(item)
        note = "not scored" if self.views else ""
        for n in range(max(len(questions), len(answers))):
            text = answers[n] if n < len(answers) else ""
            missing = "" if text else str(item.get("note") or "no answer")
            reply = Reply(text, note, missing=missing)
            yield questions[n] if n < len(questions) else "", _reference(item, n), reply

    def alternative(self, place: int) -> str:
        """The picture in words, for readers who cannot see it."""
        return f"Picture of item {self.first[place]['id']}"

    def key(self) -> str:
        """What a mark in an answer means."""
        return next((view.key for view in self.views if view.key), "")

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Tell in one line what a scorer raises on records of another version."""
        try:
            yield
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{self.scorer.name}: a record of another version ({error!r:.120}); evaluate the runs again"
            ) from error


NO_MORE = Answer(Markup(), "", "", "", "no further answer")


def _answer(reply: Reply, expected: str) -> Answer:
    return Answer(marked(reply.text, reply.spans), reply.note, reply.tone, reply.extra, reply.missing, expected)


def _value(measure: Measure, sums: Gains) -> Gains:
    with np.errstate(all="ignore"):
        return np.asarray(measure.value(sums), dtype=np.float64)


def _lines(value: Any) -> list[str]:
    return [] if value is None else [str(part) for part in (value if isinstance(value, list) else [value])]


def _answers(item: Item) -> list[str]:
    return _lines(item["answer"])


def _reference(item: Item, n: int) -> str:
    """The reference answer of a round, or the whole reference in short."""
    reference = item.get("reference")
    if isinstance(reference, dict) and isinstance(answers := reference.get("answers"), list):
        return f"Reference: {answers[n]}" if n < len(answers) else ""
    if isinstance(reference, dict):
        reference = reference.get("label") or reference.get("answer") or reference
    if not reference or n:
        return ""
    return f"Reference: {reference if isinstance(reference, str) else dumps(reference):.2000}"


def _short(text: str, short: bool) -> str:
    return text[:SHORT] + "…" if short and len(text) > SHORT else text

"""How the report compares the answers of two models to one question. The report makes HTML of these data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Item = dict[str, Any]


@dataclass(frozen=True)
class Span:
    """Characters `start:end` of a text, to be marked. `kind` is a mark of the page: hit, miss, bad or plain. `note` is
    shown on hovering; only a screen reader reads `said`."""

    start: int
    end: int
    kind: str
    note: str = ""
    said: str = ""


@dataclass(frozen=True)
class Reply:
    """One model's answer. `spans` are marked in `text`; `missing` says why there is no text; `note` is the score in
    words, and `tone` the CSS class of a verdict."""

    text: str
    note: str = ""
    tone: str = ""
    extra: str = ""
    spans: tuple[Span, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Round:
    """A question, both answers, and the expected answer."""

    question: str
    base: Reply
    aligned: Reply
    expected: str = ""


def _always(base: Item, aligned: Item) -> bool:
    return True


@dataclass(frozen=True)
class BenchmarkView:
    """How items of a benchmark are compared and shown. Each function takes the base's item and the aligned model's.

    things: what an item is, in the plural; `by` ends the sentence that counts them, such as ', by length'.
    gain: how much better the aligned answer is; None if one of the two is unscored.
    rounds: what is shown. `better` and `worse` give its title. Of `long` items half as many are shown.
    key: what a mark in a text means.
    verbs: what became of items that are better, worse, or equal. `sides` names the two answers.
    applies: whether an item belongs to this view at all.
    """

    title: str
    things: str
    by: str
    gain: Callable[[Item, Item], float | None]
    rounds: Callable[[Item, Item], list[Round]]
    better: Callable[[Item, Item], str]
    worse: Callable[[Item, Item], str]
    key: str = ""
    short: bool = False
    long: bool = False
    verbs: tuple[str, str, str] = ("got better", "got worse", "stayed as they were")
    sides: tuple[str, str] = ("base", "aligned")
    applies: Callable[[Item, Item], bool] = _always


def right_or_wrong(title: str) -> BenchmarkView:
    """The view of short answers whose items have `right` and `reference["label"]`."""
    return BenchmarkView(
        title,
        "questions",
        "",
        _right_gain,
        _right_rounds,
        lambda base, aligned: "Better: wrong → right",
        lambda base, aligned: "Worse: right → wrong",
        short=True,
    )


def _right_gain(base: Item, aligned: Item) -> float | None:
    if base.get("right") is None or aligned.get("right") is None:
        return None
    return float(bool(aligned["right"])) - float(bool(base["right"]))


def _right_rounds(base: Item, aligned: Item) -> list[Round]:
    def reply(item: Item) -> Reply:
        right = bool(item["right"])
        return Reply(str(item["answer"]), "✓ right" if right else "✗ wrong", "better" if right else "worse")

    label = base.get("reference", {}).get("label", base.get("label", ""))
    return [Round(str(base["question"]), reply(base), reply(aligned), f"Right answer: {label}")]

"""How the answers of a benchmark are read for the page: what is compared, and what of it is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Item = dict[str, Any]


@dataclass(frozen=True)
class Span:
    """A stretch `start:end` of a text, to be marked with a CSS class, a note shown on hovering, and words that only a
    screen reader says."""

    start: int
    end: int
    kind: str
    note: str = ""
    said: str = ""


@dataclass(frozen=True)
class Reply:
    """One model's answer as data; the report makes HTML of it. `spans` are marked in `text`; `missing` says why there
    is no text; `note` is the score in words, `tone` a verdict's class."""

    text: str
    note: str = ""
    tone: str = ""
    extra: str = ""
    spans: tuple[Span, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Round:
    """A question, both answers, and what was expected."""

    question: str
    base: Reply
    aligned: Reply
    expected: str = ""


@dataclass(frozen=True)
class BenchmarkView:
    """How a benchmark's items are read: `by` is what they are compared by, `gain` how much better the aligned answer is
    (None: not scored on both sides), `rounds` what is shown; of `long` ones half as many are shown. `sides` names the
    two answers, `verbs` what is said of one that is better, worse, or neither."""

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

"""How the answers of a benchmark are read for the page: what is compared, and what of it is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

Item = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """One model's answer; `note` is its score in words, `tone` a verdict's class."""

    text: Markup
    note: str = ""
    tone: str = ""
    extra: str = ""


@dataclass(frozen=True)
class Round:
    """A question, both answers, and what was expected."""

    question: str
    base: Reply
    aligned: Reply
    expected: str = ""


@dataclass(frozen=True)
class Benchmark:
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

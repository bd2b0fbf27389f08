"""Figures of metrics.json: values, intervals, verdicts, and the sentence that sums them up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from seelevel.scorers.scorer import Scorer
from seelevel.scorers.words import Kind, Metric

Verdict = Literal["better", "worse", "unclear", "changed", "chance"]


@dataclass(frozen=True)
class Figure:
    """A value, its 95% interval if it has one, and the number of items."""

    value: float
    low: float | None
    high: float | None
    n: int | None = None

    @classmethod
    def read(cls, found: Any) -> Figure | None:
        """A figure of metrics.json. None if its value is null, because nothing was scored, or it is not a figure."""
        if not isinstance(found, Mapping) or not isinstance(found.get("value"), int | float):
            return None
        low, high = (None if found.get(key) is None else float(found[key]) for key in ("low", "high"))
        return cls(float(found["value"]), low, high, found.get("n"))

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of its bar; both are the value if there is no interval."""
        return (self.value, self.value) if self.low is None or self.high is None else (self.low, self.high)

    @property
    def clear(self) -> bool | None:
        """Whether the interval excludes 0; None without an interval."""
        holds = self.holds(0)
        return None if holds is None else not holds

    def holds(self, value: float) -> bool | None:
        """Whether the interval contains a value; None without an interval."""
        return None if self.low is None or self.high is None else self.low <= value <= self.high

    def interval(self, say: Callable[[float], str]) -> str:
        """`12.0% to 15.1%`, with the ends as `say` writes them, or ‘no interval’."""
        return "no interval" if self.clear is None else " to ".join(map(say, self.ends))


@dataclass(frozen=True)
class Comparison:
    """One figure of the base model, of the aligned model, and their paired difference (aligned − base).

    at_chance: the base model guesses, so the figure says nothing about an improvement. control: the same figure with
    the control as the base; None if the run has no control.
    """

    name: str
    metric: Metric
    base: Figure | None
    aligned: Figure | None
    difference: Figure | None
    at_chance: bool = False
    control: Comparison | None = None

    def of(self, side: str) -> Figure | None:
        """The figure of the model `base`, `aligned` or `control`."""
        if side == "control":
            return None if self.control is None else self.control.base
        return self.base if side == "base" else self.aligned

    @property
    def verdict(self) -> Verdict | None:
        """‘better’ or ‘worse’ only if the interval of the difference excludes 0; None without an interval."""
        if self.difference is None or self.difference.clear is None:
            return None
        if self.at_chance:
            return "chance"
        if not self.difference.clear:
            return "unclear"
        if self.metric.better == "neither":
            return "changed"
        return "better" if (self.difference.value > 0) == (self.metric.better == "higher") else "worse"

    @property
    def relative(self) -> float | None:
        """The difference as a fraction of the base's value."""
        if self.difference is None or self.base is None or self.base.value == 0:
            return None
        return self.difference.value / self.base.value

    @property
    def closed(self) -> float | None:
        """The difference as a fraction of the gap from the base to the best score; negative if the gap grew."""
        if self.difference is None or self.base is None or self.base.value >= self.metric.top:
            return None
        return self.difference.value / (self.metric.top - self.base.value)

    def say(self, value: float) -> str:
        return self.say_change(value) if self.metric.signed else say_value(value, self.metric.kind)

    def say_change(self, value: float, unit: bool = False) -> str:
        return say_change(value, self.metric.kind, unit)


def say_value(value: float, kind: Kind) -> str:
    """`21.3%` for a rate of .2131, `4.07` for a score."""
    return f"{100 * value:.1f}%" if kind == "rate" else f"{value:.2f}"


def say_change(value: float, kind: Kind, unit: bool = False) -> str:
    """`−8.4` (percentage points) for a rate, `+0.31` for a score, with a true minus sign. unit: append ‘points’."""
    text = f"{100 * value:+.1f}" if kind == "rate" else f"{value:+.2f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "\N{MINUS SIGN}") + (" points" if unit and kind == "rate" else "")


def say_share(value: float) -> str:
    """`38%` for .38, with a true minus sign."""
    return f"{100 * value:.0f}%".replace("-0%", "0%").replace("-", "\N{MINUS SIGN}")


def comparisons(metrics: Mapping[str, Any] | None, scorers: Sequence[Scorer]) -> list[Comparison]:
    """All figures of a metrics.json: those that scorers list in their order, then the others by name."""
    if not metrics:
        return []
    keys = ("base", "aligned", "differences", "control", "differences_from_control")
    sides = {side: metrics.get(side) or {} for side in keys}
    names = set(sides["base"]) | set(sides["aligned"])
    listed = [name for scorer in scorers for name in scorer.metrics if name in names]
    rows = []
    for name in [*listed, *sorted(names - set(listed))]:
        figures = {side: Figure.read(values.get(name)) for side, values in sides.items()}
        if figures["base"] is None and figures["aligned"] is None:
            continue
        metric = metric_of(name, scorers, [f for f in figures.values() if f is not None])
        row = Comparison(
            name,
            metric,
            figures["base"],
            figures["aligned"],
            figures["differences"],
            at_chance(metric, sides["base"]),
        )
        if sides["control"]:
            control = replace(
                row,
                base=figures["control"],
                difference=figures["differences_from_control"],
                at_chance=at_chance(metric, sides["control"]),
            )
            row = replace(row, control=control)
        rows.append(row)
    return rows


def at_chance(metric: Metric, base: Mapping[str, Any]) -> bool:
    """Whether the interval of the base model's accuracy contains the level of chance."""
    if metric.chance is None:
        return False
    accuracy, level = (Figure.read(base.get(name)) for name in (metric.chance.accuracy, metric.chance.level))
    return accuracy is not None and bool(accuracy.holds(metric.chance.default if level is None else level.value))


def metric_of(name: str, scorers: Sequence[Scorer], figures: Sequence[Figure]) -> Metric:
    """The words of a figure. One that no scorer has words for is shown by its name and judged neither good nor bad."""
    words = next((metric for scorer in scorers if (metric := scorer.words(name)) is not None), None)
    if words is not None:
        return words
    top = max((f.ends[1] for f in figures), default=1.0)
    kind: Kind = "rate" if top <= 1 else "score"
    return Metric(name.replace("_", " "), "", "neither", kind, max(top, 1.0), table="details")


def headline(rows: Sequence[Comparison]) -> list[Comparison]:
    """The figures that open the page: without those of a base model that guesses."""
    return [c for c in rows if c.metric.headline and not c.at_chance]


def outcome(rows: Sequence[Comparison]) -> str:
    """The run's result in one sentence: what changed, in which direction, and what shows no clear change.

    A figure has changed only if the 95% interval of its paired difference excludes 0.
    """
    head = headline(rows) or list(rows)
    if not head:
        return "Nothing has been evaluated yet; this page shows what was run so far."
    if all(c.difference is None for c in head):
        side, figure = ("base", "base") if head[0].base is not None else ("aligned", "aligned")
        values = [f"{c.metric.label} {c.say(f.value)}" for c in head if (f := getattr(c, figure)) is not None]
        return f"Only the {side} model has been evaluated: {_joined(values)}."
    clauses = []
    for verdict, note in (("better", ""), ("worse", ", which is worse"), ("changed", "")):
        moved = [c for c in head if c.verdict == verdict]
        if moved:
            clauses.append(_joined([_moved(c) for c in moved]) + note)
    reasons: dict[Verdict | None, str] = {
        "unclear": "no clear change in",
        None: "no interval, and so no verdict, for",
        "chance": "no verdict, because the base model's answers are at chance, for",
    }
    for reason, note in reasons.items():
        values = [_values(c) for c in head if c.difference is not None and c.verdict == reason]
        if values:
            clauses.append(f"{note if clauses else note.capitalize()} {_joined(values)}")
    return "; ".join(clauses) + "."


CONTROL_WORDS = "SFT on the best response of the same ladders"
"""What the control is."""


def against_control(rows: Sequence[Comparison]) -> str:
    """How the aligned model compares with the control, in one sentence; empty if there is none."""
    compared = [c.control for c in rows if c.control is not None and c.control.difference is not None]
    head = headline(compared) or compared
    if not head:
        return ""
    words: dict[Verdict | None, str] = {
        "better": "better in",
        "worse": "worse in",
        "changed": "different in",
        "unclear": "not clearly different in",
        None: "without an interval, and so without a verdict, in",
        "chance": "without a verdict, because the control's answers are at chance, in",
    }
    clauses = []
    for verdict, note in words.items():
        values = [_beside(c) for c in head if c.verdict == verdict]
        if values:
            clauses.append(f"{note} {_joined(values)}")
    return f"Against the control ({CONTROL_WORDS}), the aligned model is {'; '.join(clauses)}."


def _beside(c: Comparison) -> str:
    assert c.base is not None and c.aligned is not None
    return f"{c.metric.label} ({c.say(c.aligned.value)}, control {c.say(c.base.value)})"


def _moved(c: Comparison) -> str:
    assert c.difference is not None and c.base is not None and c.aligned is not None
    verb = "rose" if c.difference.value > 0 else "fell"
    return f"{c.metric.gloss or c.metric.label} {verb} from {c.say(c.base.value)} to {c.say(c.aligned.value)}"


def _values(c: Comparison) -> str:
    assert c.base is not None and c.aligned is not None
    return f"{c.metric.label} ({c.say(c.base.value)}\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}{c.say(c.aligned.value)})"


def _joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]

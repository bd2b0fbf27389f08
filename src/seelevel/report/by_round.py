"""The main figures of the page by round, and by step of the last training: of the base and of each later model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise, takewhile
from typing import Any

from markupsafe import Markup

from seelevel.report.figures import Comparison, Figure
from seelevel.report.plots import Rounds, by_round, nice_ticks
from seelevel.store import SNAPSHOT, snapshot_step


@dataclass(frozen=True)
class Row:
    """A figure by round or step. `base` compares base and last model; `steps` each later model with the one before it.
    `first`: the figure of the first model. `plot` is empty if that is not the base."""

    base: Comparison
    first: Figure | None
    steps: list[Comparison]
    plot: Markup


def rows_by_round(metrics: Mapping[str, Any] | None, rows: Sequence[Comparison]) -> list[Row]:
    """Each figure by round; none if the run has one round only."""
    figures = metrics or {}
    earlier = _rounds(figures)
    sides = dict(enumerate(["base", *earlier, "aligned"]))
    return [_row(figures, row, sides, "round") for row in rows] if earlier else []


def rows_by_step(metrics: Mapping[str, Any] | None, rows: Sequence[Comparison], last: int | None) -> list[Row]:
    """Each figure by step of the last training, from the model that it trains; none without evaluated snapshots.
    `last`: the number of its steps."""
    figures = metrics or {}
    steps = _steps(figures)
    first = ["base", *_rounds(figures)][-1]
    end = last or max(steps, default=0) + 1
    sides = {0: first, **{step: f"{SNAPSHOT}{step}" for step in steps}, end: "aligned"}
    return [_row(figures, row, sides, "step") for row in rows] if steps else []


def by_number(
    metrics: Mapping[str, Any] | None, rows: Sequence[Comparison], last: int | None
) -> list[tuple[str, str, list[str], list[Row]]]:
    """The tables that have rows, by round and by step: the unit, what is shown, the columns' names, and the rows."""
    figures = metrics or {}
    earlier = len(_rounds(figures))
    rounds, steps = rows_by_round(figures, rows), rows_by_step(figures, rows, last)
    tables = list[tuple[str, str, list[str], list[Row]]]()
    if rounds:
        heads = ["Base", *(f"Round {number}" for number in range(1, earlier + 2))]
        tables.append(("round", "The base, and the model after each round", heads, rounds))
    if steps:
        first = f"Round {earlier}" if earlier else "Base"
        heads = [first, *(f"Step {step}" for step in _steps(figures)), "Aligned"]
        what = "The model that the last training began with, its snapshots, and the aligned model"
        tables.append(("step", what, heads, steps))
    return tables


def _rounds(metrics: Mapping[str, Any]) -> list[str]:
    """The models of the rounds before the last."""
    return list(takewhile(metrics.__contains__, (f"round-{number}" for number in count(1))))


def _steps(metrics: Mapping[str, Any]) -> list[int]:
    """The steps of the evaluated snapshots."""
    return sorted(step for side in metrics if (step := snapshot_step(side)) is not None)


def _row(metrics: Mapping[str, Any], row: Comparison, sides: Mapping[int, str], unit: str) -> Row:
    figures = [Figure.read((metrics.get(side) or {}).get(row.name)) for side in sides.values()]
    changes = metrics.get(f"differences_by_{unit}") or {}
    steps = [
        replace(row, base=before, aligned=after, difference=Figure.read((changes.get(side) or {}).get(row.name)))
        for (before, after), side in zip(pairwise(figures), [*sides.values()][1:], strict=True)
    ]
    points = {number: figure for number, figure in zip(sides, figures, strict=True) if figure is not None}
    ends = [end for figure in points.values() for end in (*figure.ends, figure.value)]
    lines = [Rounds("model", "aligned", points)]
    key, title = f"by-{unit}-{row.name.replace('_', '-')}", f"{row.metric.label} by {unit}"
    drawn = bool(ends) and sides[0] == "base"  # the plot calls the first model so
    plot = by_round(lines, nice_ticks(min(ends), max(ends), 4), key, title, unit, row.metric.kind) if drawn else ""
    return Row(row, figures[0], steps, Markup(plot))

"""The main figures of the page by round: of the base and of the model of each round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise, takewhile
from typing import Any

from markupsafe import Markup

from seelevel.report.figures import Comparison, Figure
from seelevel.report.plots import Rounds, by_round, nice_ticks


@dataclass(frozen=True)
class Row:
    """A figure by round. `base` compares base and last round; `steps` each round's model with the model before it."""

    base: Comparison
    steps: list[Comparison]
    plot: Markup


def rows_by_round(metrics: Mapping[str, Any] | None, rows: Sequence[Comparison]) -> list[Row]:
    """Each figure by round; none if the run has one round only."""
    figures = metrics or {}
    earlier = list(takewhile(figures.__contains__, (f"round-{number}" for number in count(1))))
    return [_row(figures, row, ["base", *earlier, "aligned"]) for row in rows] if earlier else []


def _row(metrics: Mapping[str, Any], row: Comparison, sides: Sequence[str]) -> Row:
    figures = [Figure.read((metrics.get(side) or {}).get(row.name)) for side in sides]
    changes = metrics.get("differences_by_round") or {}
    steps = [
        replace(row, base=before, aligned=after, difference=Figure.read((changes.get(side) or {}).get(row.name)))
        for (before, after), side in zip(pairwise(figures), sides[1:], strict=True)
    ]
    points = {number: figure for number, figure in enumerate(figures) if figure is not None}
    ends = [end for figure in points.values() for end in (*figure.ends, figure.value)]
    lines = [Rounds("model", "aligned", points)]
    key, title = f"by-round-{row.name.replace('_', '-')}", f"{row.metric.label} by round"
    plot = by_round(lines, nice_ticks(min(ends), max(ends), 4), key, title, "round", row.metric.kind) if ends else ""
    return Row(row, steps, Markup(plot))

"""Bootstrap intervals: every figure is a function of sums over items, so one matrix product resamples it.

Intervals are 95% percentile intervals over 2,000 resamples of whole clusters (an image with its questions, a dialogue
with its rounds). A difference resamples the same clusters on both sides, and leaves out items that one side lacks. A
figure of a single cluster has no interval: it says nothing about how clusters differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
TAIL = 2.5
BLOCK = 4_000_000
"""Resampling weights held at once, in numbers: bounds memory at 32 MB however many clusters there are."""

Item = Mapping[str, Any]
Array = NDArray[np.float64]


class Figure(TypedDict):
    """A figure with its 95% interval. `value` is None if it is undefined (no mention, no item). `low` and `high` are
    None then, and also if fewer than two clusters are scored."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Measure:
    """A figure as a function of sums.

    sums: k numbers of an item, or None if the item is unscored. An item with a `note`, which has no answer, always is.
    value: maps the totals, shape (..., k), to the figure, shape (...); NaN if it is undefined.
    """

    name: str
    sums: Callable[[Item], Sequence[float] | None]
    value: Callable[[Array], Array]

    def scored(self, item: Item) -> Sequence[float] | None:
        """`sums` of an item that has an answer."""
        return None if item.get("note") else self.sums(item)


def ratio(sums: Array) -> Array:
    """sums[..., 0] / sums[..., 1]: a ratio of sums; NaN if the divisor is 0."""
    over = sums[..., 1]
    return np.where(over > 0, sums[..., 0] / np.where(over > 0, over, 1), np.nan)


def figures(measures: Sequence[Measure], items: Sequence[Item], seed: int = 0) -> dict[str, Figure]:
    """Each measure of the items, with its interval. Items with the same `item["cluster"]` are resampled together."""
    return {measure.name: _figure(*_table(measure, [(i,) for i in items]), measure.value, seed) for measure in measures}


def differences(
    measures: Sequence[Measure], before: Sequence[Item], after: Sequence[Item], seed: int = 0
) -> dict[str, Figure]:
    """After minus before, of the same questions in the same order. `n` counts the pairs with both sides scored."""
    pairs = list(zip(before, after, strict=True))

    def change(measure: Measure) -> Callable[[Array], Array]:
        def value(sums: Array) -> Array:
            k = sums.shape[-1] // 2
            return measure.value(sums[..., k:]) - measure.value(sums[..., :k])

        return value

    return {m.name: _figure(*_table(m, pairs), change(m), seed) for m in measures}


def _table(measure: Measure, rows: Sequence[tuple[Item, ...]]) -> tuple[Array, int]:
    """Sums per cluster, shape (clusters, k · sides), and the number of rows that are scored on every side."""
    clusters: dict[Any, Array] = {}
    scored = 0
    for row in rows:
        sides = [measure.scored(item) for item in row]
        if any(side is None for side in sides):
            continue
        scored += 1
        numbers = np.concatenate([np.asarray(side, dtype=np.float64) for side in sides])
        key = row[0]["cluster"]
        clusters[key] = clusters[key] + numbers if key in clusters else numbers
    return (np.stack(list(clusters.values())) if clusters else np.zeros((0, 1))), scored


def _figure(table: Array, n: int, value: Callable[[Array], Array], seed: int) -> Figure:
    if not n:
        return Figure(value=None, low=None, high=None, n=0)
    point = float(value(table.sum(axis=0)))
    samples = np.concatenate([value(weights @ table) for weights in _weights(len(table), seed)])
    samples = samples[np.isfinite(samples)]
    if not np.isfinite(point) or not len(samples):
        return Figure(value=None, low=None, high=None, n=n)
    if len(table) < 2:
        return Figure(value=point, low=None, high=None, n=n)
    low, high = np.percentile(samples, [TAIL, 100 - TAIL])
    return Figure(value=point, low=float(low), high=float(high), n=n)


def _weights(clusters: int, seed: int) -> Iterator[Array]:
    """How often each resample draws each cluster, in blocks of shape (resamples, clusters)."""
    rng = np.random.default_rng(seed)
    rows = max(1, min(RESAMPLES, BLOCK // clusters))
    for start in range(0, RESAMPLES, rows):
        count = min(rows, RESAMPLES - start)
        drawn = rng.integers(0, clusters, size=(count, clusters)) + np.arange(count)[:, None] * clusters
        yield np.bincount(drawn.ravel(), minlength=count * clusters).reshape(count, clusters).astype(np.float64)


def difference_text(figure: Figure) -> str:
    """A difference with its interval, '+0.1250 [+0.1000, +0.1500]'; '–' for a missing value or interval."""
    if figure["value"] is None:
        return "–"
    interval = "–" if figure["low"] is None else f"{figure['low']:+.4f}, {figure['high']:+.4f}"
    return f"{figure['value']:+.4f} [{interval}]"

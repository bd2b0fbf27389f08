"""Rules that choose what the page shows, so that nobody's taste picks the examples."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TypeVar

T = TypeVar("T")


def spaced(things: Sequence[T], wanted: int) -> list[T]:
    """`wanted` things, evenly spaced, in their order."""
    if wanted >= len(things):
        return list(things)
    return [things[(2 * n + 1) * len(things) // (2 * wanted)] for n in range(wanted)]


def largest(weighed: Sequence[tuple[float, T]], wanted: int) -> list[T]:
    """The `wanted` things with the largest absolute weights. Among equal weights they are evenly spaced."""
    ranked = sorted(weighed, key=lambda pair: -abs(pair[0]))  # stable: equals keep their order
    chosen: list[T] = []
    for _, equals in groupby(ranked, key=lambda pair: abs(pair[0])):
        chosen += [thing for _, thing in spaced(list(equals), wanted - len(chosen))]
    return chosen

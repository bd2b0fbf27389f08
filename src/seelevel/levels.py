"""Arithmetic of levels: their pairs, and levels from scores and ratings. Level 0 is best."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, Literal

PairSet = Literal["all", "adjacent", "best-vs-rest", "best-vs-worst"]
CRITERIA = ("helpfulness", "honesty", "harmlessness")


def preference_pairs(levels: Sequence[int], which: PairSet | Sequence[Sequence[int]] = "all") -> list[tuple[int, int]]:
    """Index pairs (i, j) with levels[i] < levels[j] that are in the pair set (see `Ladder.pairs`)."""
    present = sorted(set(levels))
    rank = {level: n for n, level in enumerate(present)}
    if isinstance(which, str):
        last = len(present) - 1
        wanted: dict[str, Callable[[int, int], bool]] = {
            "all": lambda a, b: True,
            "adjacent": lambda a, b: rank[b] == rank[a] + 1,
            "best-vs-rest": lambda a, b: rank[a] == 0,
            "best-vs-worst": lambda a, b: rank[a] == 0 and rank[b] == last,
        }
        if which not in wanted:
            raise ValueError(f"pair set '{which}' is not one of {', '.join(wanted)}")
        keep = wanted[which]
    else:
        explicit = {(int(a), int(b)) for a, b in which}
        keep = lambda a, b: (a, b) in explicit  # noqa: E731 - a predicate like those above
    return [(i, j) for i, a in enumerate(levels) for j, b in enumerate(levels) if a < b and keep(a, b)]


def dense_levels(keys: Sequence[Any]) -> list[int]:
    """Levels from 0 for sort keys: the smallest key is best, and equal keys share a level."""
    order = {key: n for n, key in enumerate(sorted(set(keys)))}
    return [order[key] for key in keys]


def shared_criteria(ratings: Sequence[Mapping[str, int]]) -> list[str]:
    """The criteria that all the ratings have."""
    return [name for name in CRITERIA if all(name in rating for rating in ratings)]


def rating_levels(ratings: Sequence[Mapping[str, int]]) -> list[int]:
    """Levels from 0 by the mean of the criteria that all ratings have, then by the lowest of them; else a tie.

    Comparing two at a time, by the criteria that both have, could run in a circle. Without a shared criterion all tie.
    """
    shared = shared_criteria(ratings)
    rows = [[rating[name] for name in shared] for rating in ratings]
    return dense_levels([(-sum(values), -min(values, default=0)) for values in rows])


def kendall_tau_b(a: Sequence[float], b: Sequence[float]) -> float | None:
    """How far two orders of the same things agree: 1 if they are the same, −1 if one is the other reversed.

    Kendall (1945): (C − D) / √((P − T_a) · (P − T_b)). Of P pairs, C are in the same order and D in the opposite one;
    T_a are tied in `a`, T_b in `b`. None if one of them ties all.
    """
    pairs = [(_sign(a[i] - a[j]), _sign(b[i] - b[j])) for i, j in combinations(range(len(a)), 2)]
    ordered_a, ordered_b = sum(x != 0 for x, _ in pairs), sum(y != 0 for _, y in pairs)
    if not ordered_a or not ordered_b:
        return None
    return sum(x * y for x, y in pairs) / math.sqrt(ordered_a * ordered_b)


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)

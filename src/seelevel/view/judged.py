"""Where a judge's ratings contradict the levels of the check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from seelevel.levels import preference_pairs, rating_levels

Pair = tuple[int, int]


def contradictions(
    levels: Sequence[int], ratings: Sequence[Mapping[str, int]], scores: Sequence[float | None]
) -> tuple[bool, list[Pair]]:
    """Whether a judge has ordered any pair of different levels; and the pairs (i, j), i better by level, that it orders
    the other way.

    ratings: by criterion, compared as `rating_levels` does, empty for a response without; scores: the worth that an
    ordering judge has given.
    """
    rated = [n for n, of_response in enumerate(ratings) if of_response]
    by_ratings = dict(zip(rated, rating_levels([ratings[n] for n in rated]), strict=True))
    by_scores = {n: -score for n, score in enumerate(scores) if score is not None}
    compared, against = False, list[Pair]()
    for i, j in preference_pairs(levels):
        orders = [(of[i], of[j]) for of in (by_ratings, by_scores) if i in of and j in of]
        compared |= any(better != worse for better, worse in orders)
        if any(better > worse for better, worse in orders):
            against.append((i, j))
    return compared, against

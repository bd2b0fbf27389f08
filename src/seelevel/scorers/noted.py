"""Which items of a benchmark are missing, doubled or unparsable: the same keys for every scorer of files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any


def noted(given: Sequence[str], wanted: Iterable[str] = (), unparsable: Iterable[str] = ()) -> dict[str, Any]:
    """Counts and ids. `given`: the ids that the file has, in its order. `wanted`: the benchmark's ids, if known."""
    counts = Counter(given)
    lists = {
        "missing": [key for key in wanted if key not in counts],
        "repeated": [key for key, count in counts.items() if count > 1],
        "unparsable": list(unparsable),
    }
    return {name: value for key, ids in lists.items() for name, value in ((key, len(ids)), (f"{key}_ids", ids))}


def over(part: float, whole: float) -> float | None:
    """part / whole; None, an undefined figure, if whole is 0."""
    return part / whole if whole else None

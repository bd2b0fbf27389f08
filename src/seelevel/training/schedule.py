"""Which ladders each optimiser step sees, and each forward pass: fixed by numbers, epochs and seed alone, so the same
in a resumed run. Torch-free."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Sequence


def schedule(interactions: Sequence[str], epochs: float, per_step: int, seed: int) -> list[int]:
    """Indices of ladders in training order, `per_step` for each step. `interactions`: of each ladder, which one it is a
    round of (`Ladder.interaction`).

    Epoch after epoch is shuffled and laid end to end, and the last step is filled from one epoch more: every step
    covers exactly `per_step` ladders, also where an epoch is not a whole number of steps. The rounds of an interaction
    stay together in a step; one is cut only where no other fits into what is left of a step.
    """
    count = len(interactions)
    rounds: dict[str, list[int]] = {}
    for index, name in enumerate(interactions):
        rounds.setdefault(name, []).append(index)
    steps = max(math.ceil(count * epochs / per_step - 1e-9), 1)
    order: list[int] = []
    for epoch in range(math.ceil(steps * per_step / count)):
        units = list(rounds.values())
        random.Random(f"{seed}/{epoch}").shuffle(units)
        order += _place_units(units, per_step, len(order) % per_step)
    return order[: steps * per_step]


def _place_units(units: Sequence[list[int]], per_step: int, begun: int) -> list[int]:
    """Units end to end in their order, the first of them that fits into what is left of a step, of which `begun`
    ladders are there."""
    waiting: dict[int, deque[tuple[int, list[int]]]] = {}
    for place, unit in enumerate(units):
        waiting.setdefault(len(unit), deque()).append((place, unit))
    order: list[int] = []
    room = per_step - begun
    while waiting:
        fitting = [size for size in waiting if size <= room or room == per_step]
        size = min(fitting or waiting, key=lambda one: waiting[one][0][0])
        place, unit = waiting[size].popleft()
        if not waiting[size]:
            del waiting[size]
        order += unit[:room]
        if rest := unit[room:]:
            waiting.setdefault(len(rest), deque()).appendleft((place, rest))
        room = room - len(unit[:room]) or per_step
    return order


def group_into_rows(
    interactions: Sequence[str], length: Callable[[list[int]], int | None], budget: float
) -> list[list[int]]:
    """Which of a step's ladders share a row: indices, row by row. `length`: of the row that ladders of an interaction
    would share, None where they cannot; a row that would be longer than `budget` is not made."""
    rows: list[list[int]] = []
    of: dict[str, list[list[int]]] = {}
    for index, name in enumerate(interactions):
        for row in of.setdefault(name, []):
            joined = length([*row, index])
            if joined is not None and joined <= budget:
                row.append(index)
                break
        else:
            rows.append([index])
            of[name].append(rows[-1])
    return rows


def buckets(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Groups of indices whose padded size, count × longest, stays within `budget`, neighbours in length together.

    An item over the budget is a group of its own. Longest first: a batch that does not fit the memory fails at once.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if groups and (len(groups[-1]) + 1) * lengths[groups[-1][0]] <= budget:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups

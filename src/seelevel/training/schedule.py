"""The ladders of each optimiser step and of each forward pass. Torch-free.

They depend on counts, epochs and the seed alone, so a resumed run has the same ones.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Sequence


def schedule(interactions: Sequence[str], epochs: float, per_step: int, seed: int) -> list[int]:
    """Indices of ladders in training order, `per_step` for each step. `interactions`: each ladder's
    `Ladder.interaction`.

    Shuffled epochs follow each other without a gap, and one more epoch fills the last step. So every step covers
    exactly `per_step` ladders, even if an epoch is not a whole number of steps. The rounds of an interaction stay in
    one step, unless no other interaction fits into the rest of the step.
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


def _place_units(units: Sequence[list[int]], per_step: int, filled: int) -> list[int]:
    """One epoch's units in their order, but always the first one that fits into the rest of the step. `filled`: ladders
    that the step already has."""
    waiting: dict[int, deque[tuple[int, list[int]]]] = {}
    for place, unit in enumerate(units):
        waiting.setdefault(len(unit), deque()).append((place, unit))
    order: list[int] = []
    room = per_step - filled
    while waiting:
        fitting = [size for size in waiting if size <= room or room == per_step]
        size = min(fitting or waiting, key=lambda length: waiting[length][0][0])
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
    """The rows of a step: indices of ladders, row by row. Ladders of one interaction share a row up to `budget` tokens.

    length: tokens of the row that some ladders would share; None if they cannot share one.
    """
    rows: list[list[int]] = []
    rows_of: dict[str, list[list[int]]] = {}
    for index, name in enumerate(interactions):
        for row in rows_of.setdefault(name, []):
            joined = length([*row, index])
            if joined is not None and joined <= budget:
                row.append(index)
                break
        else:
            rows.append([index])
            rows_of[name].append(rows[-1])
    return rows


def linked(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Groups of rows that have a member in common, directly or through other rows: indices, group by group."""
    above: dict[int, int] = {}

    def top(member: int) -> int:
        while above.setdefault(member, member) != member:
            member = above[member]
        return member

    for first, *others in rows:
        for other in others:
            above[top(other)] = top(first)
    groups: dict[int, list[int]] = {}
    for index, (first, *_) in enumerate(rows):
        groups.setdefault(top(first), []).append(index)
    return list(groups.values())


def buckets(lengths: Sequence[int], budget: int, more: Sequence[int] = (), rows: Sequence[int] = ()) -> list[list[int]]:
    """Groups of indices whose padded size is at most `budget`; similar lengths are together. The padded size is
    rows × longest, plus `more` of each item, which needs no padding. rows: rows of each item, 1 if not given.

    An item over the budget is a group of its own. The longest come first: if memory is too small, it shows at once.
    """
    more, rows = more or [0] * len(lengths), rows or [1] * len(lengths)
    groups: list[list[int]] = []
    unpadded = height = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], -more[i], i)):
        longest = lengths[groups[-1][0]] if groups else 0
        if groups and (height + rows[index]) * longest + unpadded + more[index] <= budget:
            groups[-1].append(index)
            unpadded, height = unpadded + more[index], height + rows[index]
        else:
            groups.append([index])
            unpadded, height = more[index], rows[index]
    return groups


SEGMENT_TOKENS = 256
"""What one more segment costs, in tokens: it reads and, if they train, updates all weights once more. On two cores a
second segment for one answer of K = 5 cost about 160 tokens of a model with 44M weights."""


def answer_groups(lengths: Sequence[int], most: int | None = None) -> list[list[int]]:
    """Which answers go through the model together: indices, similar lengths together, at most `most` in a group.

    Of all such groups the cheapest: tokens and padding, and `SEGMENT_TOKENS` for each group.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    cheapest, starts = [0], list[int]()
    for end in range(1, len(order) + 1):
        first = max(end - most, 0) if most else 0
        costs = {start: cheapest[start] + (end - start) * lengths[order[start]] for start in range(first, end)}
        starts.append(min(costs, key=lambda start: costs[start]))
        cheapest.append(costs[starts[-1]] + SEGMENT_TOKENS)
    groups, end = list[list[int]](), len(order)
    while end:
        groups.insert(0, order[starts[end - 1] : end])
        end = starts[end - 1]
    return groups

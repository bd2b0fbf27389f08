"""Which ladders each optimiser step sees, and each forward pass: fixed by numbers, epochs and seed alone, so the same
in a resumed run. Torch-free."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence


def schedule(count: int, epochs: float, per_step: int, seed: int) -> list[int]:
    """Indices of ladders in training order, `per_step` for each step.

    Epoch after epoch is shuffled and laid end to end, and the last step is filled from one epoch more: every step
    covers exactly `per_step` ladders, also where an epoch is not a whole number of steps.
    """
    steps = max(math.ceil(count * epochs / per_step - 1e-9), 1)
    order: list[int] = []
    for epoch in range(math.ceil(steps * per_step / count)):
        indices = list(range(count))
        random.Random(f"{seed}/{epoch}").shuffle(indices)
        order += indices
    return order[: steps * per_step]


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

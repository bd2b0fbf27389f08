"""Which ladders each optimiser step sees: fixed by number, epochs and seed alone, so the same in a resumed run."""

from __future__ import annotations

import math
import random


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

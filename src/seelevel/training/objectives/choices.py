"""Choices of a batch as index tensors, for listwise objectives: one response chosen against all strictly worse ones.

A ladder of L levels makes L − 1 choices, one a level but the lowest. A tied group is one level: its members share its
choice, each chosen against the strictly lower levels and weighing 1 / size of the group; nothing is chosen inside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seelevel.ladder import Ladder
from seelevel.training.objectives.logs import Mean


@dataclass(frozen=True)
class ChoiceIndex:
    """C choices over all responses of a batch, laid end to end, W the most that one chooses from. among: [C, W],
    positions of responses, the chosen one first; there: [C, W], false where a choice has fewer; share: [C], 1 / size of
    the chosen one's tied group; ladders: how many ladders have a choice; without: how many have none."""

    among: Tensor
    there: Tensor
    share: Tensor
    ladders: int
    without: int

    def terms(self, values: Tensor) -> Tensor:
        """[C]: −log of the chosen one's share, values[·, 0] − logsumexp(values). values: [C, W] or broadcast to it."""
        return values.masked_fill(~self.there, -torch.inf).logsumexp(1) - values[:, 0]

    def mean(self, terms: Tensor) -> Tensor:
        """Sum over each ladder's choices, mean over the ladders that have one. terms: [C]."""
        return (self.share * terms).sum() / max(self.ladders, 1)

    def logged(self, terms: Tensor) -> Mean:
        """The same as a figure to log."""
        return Mean((self.share * terms).sum().detach(), self.ladders)


def choice_index(ladders: Sequence[Ladder], like: Tensor) -> ChoiceIndex:
    """All choices of the ladders, on the device of `like` and with its dtype where not integer."""
    among, share = list[list[int]](), list[float]()
    start = counted = 0
    for ladder in ladders:
        levels = ladder.levels
        counted += len(set(levels)) > 1
        for k, level in enumerate(levels):
            if level < max(levels):
                among.append([start + k, *(start + j for j, lower in enumerate(levels) if lower > level)])
                share.append(1 / levels.count(level))
        start += len(levels)
    width = max(map(len, among), default=1)
    padded = [row + row[:1] * (width - len(row)) for row in among]
    there = [[n < len(row) for n in range(width)] for row in among]
    return ChoiceIndex(
        torch.tensor(padded, dtype=torch.long, device=like.device).reshape(-1, width),
        torch.tensor(there, dtype=torch.bool, device=like.device).reshape(-1, width),
        torch.tensor(share, dtype=like.dtype, device=like.device),
        counted,
        len(ladders) - counted,
    )

"""Choices of a batch as index tensors, for listwise objectives: one response chosen against all strictly worse ones.

A ladder of L levels makes L − 1 choices, one for each level but the lowest. A tied group is one level. Each of its
members is chosen against the strictly lower levels with weight 1 / size of the group, and never against each other.
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
    """C choices over all responses of a batch in one sequence; W is the largest number of responses in a choice.

    among: [C, W], positions of responses, the chosen one first; mask: [C, W], false for padding; share: [C], 1 / size
    of the chosen one's tied group; ladders: how many ladders have a choice; without: how many have none.
    """

    among: Tensor
    mask: Tensor
    share: Tensor
    ladders: int
    without: int

    def terms(self, values: Tensor) -> Tensor:
        """[C]: −log softmax of the chosen one, logsumexp(values) − values[·, 0]. values: [C, W]."""
        return values.masked_fill(~self.mask, -torch.inf).logsumexp(1) - values[:, 0]

    def mean(self, terms: Tensor) -> Tensor:
        """Sum over each ladder's choices, then mean over the ladders with a choice. terms: [C]."""
        return (self.share * terms).sum() / max(self.ladders, 1)

    def logged(self, terms: Tensor) -> Mean:
        """The same as a figure to log."""
        return Mean((self.share * terms).sum().detach(), self.ladders)


def choice_index(ladders: Sequence[Ladder], like: Tensor) -> ChoiceIndex:
    """All choices of the ladders, on the device of `like`; floats have its dtype."""
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
    mask = [[n < len(row) for n in range(width)] for row in among]
    return ChoiceIndex(
        torch.tensor(padded, dtype=torch.long, device=like.device).reshape(-1, width),
        torch.tensor(mask, dtype=torch.bool, device=like.device).reshape(-1, width),
        torch.tensor(share, dtype=like.dtype, device=like.device),
        counted,
        len(ladders) - counted,
    )

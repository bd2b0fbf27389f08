"""Preference pairs of a batch as index tensors: responses are stored once, pairs point at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seelevel.ladder import Ladder
from seelevel.training.logprobs import TokenLogprobs
from seelevel.training.objectives.settings import Pairs


@dataclass(frozen=True)
class PairIndex:
    """P pairs over all responses of a batch, laid end to end. better, worse: [P], positions of responses; best: [P], 1
    where the better response is of its ladder's best level; share: [P], 1 / pairs of the ladder; ladders: how many
    ladders have a pair, and so count in the mean; without: how many have none."""

    better: Tensor
    worse: Tensor
    best: Tensor
    share: Tensor
    ladders: int
    without: int

    def mean(self, values: Tensor) -> Tensor:
        """Mean over each ladder's pairs, then over the ladders that have one. values: [P]."""
        return (self.share * values).sum() / max(self.ladders, 1)


def pair_index(ladders: Sequence[Ladder], pairs: Pairs, like: Tensor) -> PairIndex:
    """The pairs that the pair set asks for, on the device of `like` and with its dtype where not integer."""
    better, worse, best, share = [list[float]() for _ in range(4)]
    start = counted = 0
    for ladder in ladders:
        found = ladder.pairs(pairs)
        counted += bool(found)
        top = min(ladder.levels, default=0)
        for i, j in found:
            better.append(start + i)
            worse.append(start + j)
            best.append(float(ladder.levels[i] == top))
            share.append(1 / len(found))
        start += len(ladder.responses)
    whole = [torch.tensor(part, dtype=torch.long, device=like.device) for part in (better, worse)]
    real = [torch.tensor(part, dtype=like.dtype, device=like.device) for part in (best, share)]
    return PairIndex(whole[0], whole[1], real[0], real[1], counted, len(ladders) - counted)


def best_logprob(policy: TokenLogprobs, ladders: Sequence[Ladder]) -> Tensor:
    """Mean log-probability of a token of the best responses: mean over tokens, then over all best responses."""
    sums, lengths = torch.cat(policy.per_response(0.0)), torch.cat(policy.lengths())
    best = [level == min(ladder.levels) for ladder in ladders for level in ladder.levels]
    chosen = torch.tensor(best, device=sums.device)
    return (sums[chosen] / lengths[chosen].clamp(min=1)).mean().detach()

"""Preference pairs of a batch as index tensors: responses are stored once, pairs point at them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seelevel.ladder import Ladder
from seelevel.training.objectives.base import Pairs
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.objectives.logs import Mean
from seelevel.training.objectives.ratios import averaged, in_order


@dataclass(frozen=True)
class Shares:
    """Items, such as pairs, of the ladders of a batch. share: [N], 1 / how many items the ladder has; ladders: how many
    ladders have one, and so count in the mean; without: how many have none."""

    share: Tensor
    ladders: int
    without: int

    def mean(self, values: Tensor) -> Tensor:
        """Mean over each ladder's items, then over the ladders that have one. values: [N]."""
        return (self.share * values).sum() / max(self.ladders, 1)

    def logged(self, values: Tensor) -> Mean:
        """The same as a figure to log."""
        return Mean((self.share * values).sum().detach(), self.ladders)


@dataclass(frozen=True)
class PairIndex(Shares):
    """P pairs over all responses of a batch, laid end to end. better, worse: [P], positions of responses; best: [P], 1
    where the better response is of its ladder's best level; between: the pairs' (ladder, level of the better, level of
    the worse)."""

    better: Tensor
    worse: Tensor
    best: Tensor
    between: list[tuple[int, int, int]]


def pair_index(ladders: Sequence[Ladder], pairs: Pairs, like: Tensor) -> PairIndex:
    """The pairs that the pair set asks for, on the device of `like` and with its dtype where not integer."""
    better, worse = list[int](), list[int]()
    best, share = list[float](), list[float]()
    between = list[tuple[int, int, int]]()
    start = counted = 0
    for number, ladder in enumerate(ladders):
        chosen = ladder.pairs(pairs)
        counted += bool(chosen)
        top = min(ladder.levels, default=0)
        for i, j in chosen:
            better.append(start + i)
            worse.append(start + j)
            best.append(float(ladder.levels[i] == top))
            share.append(1 / len(chosen))
            between.append((number, ladder.levels[i], ladder.levels[j]))
        start += len(ladder.responses)
    betters, worses = (torch.tensor(part, dtype=torch.long, device=like.device) for part in (better, worse))
    bests, shares = (torch.tensor(part, dtype=like.dtype, device=like.device) for part in (best, share))
    return PairIndex(shares, counted, len(ladders) - counted, betters, worses, bests, between)


@dataclass(frozen=True)
class BestIndex(Shares):
    """B best responses over all responses of a batch, laid end to end. place: [B], their positions."""

    place: Tensor


def best_index(ladders: Sequence[Ladder], used: Sequence[bool], like: Tensor) -> BestIndex:
    """The best responses of the ladders that are `used` and have one, on the device of `like`."""
    place, share = list[int](), list[float]()
    start = counted = 0
    for ladder, is_used in zip(ladders, used, strict=True):
        best = [start + k for k, level in enumerate(ladder.levels) if is_used and level == min(ladder.levels)]
        place += best
        share += [1 / len(best) for _ in best]
        counted += bool(best)
        start += len(ladder.responses)
    places = torch.tensor(place, dtype=torch.long, device=like.device)
    shares = torch.tensor(share, dtype=like.dtype, device=like.device)
    return BestIndex(shares, counted, len(ladders) - counted, places)


def margin_logs(values: Tensor, error: Tensor, ladders: Sequence[Ladder], index: PairIndex) -> dict[str, Mean]:
    """`margin` and `accuracy` over the index's pairs and by adjacent level; margins are values_i − values_j, of [R].
    error: [R], how much of each value may be rounding."""
    adjacent = pair_index(ladders, "adjacent", values)
    margins = [values[i.better] - values[i.worse] for i in (index, adjacent)]
    errors = [error[i.better].hypot(error[i.worse]) for i in (index, adjacent)]
    return {**over_pairs(index, margins[0], errors[0]), **by_level(adjacent, margins[1], errors[1])}


def over_pairs(index: PairIndex, margin: Tensor, error: Tensor) -> dict[str, Mean]:
    """`margin`: of the index's pairs; `accuracy`: share of them in the right order, where a margin within its rounding
    `error` of 0 counts one half. margin, error: [P]."""
    return {"margin": index.logged(margin), "accuracy": index.logged(in_order(margin, error))}


def by_level(index: PairIndex, margin: Tensor, error: Tensor) -> dict[str, Mean]:
    """`margin_0_1`, `accuracy_0_1` … : of the index's pairs, those between levels 0 and 1; mean over a ladder's such
    pairs, then over the ladders that have one. margin, error: [P]."""
    size = Counter(index.between)
    groups = sorted({(a, b) for _, a, b in index.between})
    share = [[((a, b) == group) / size[n, a, b] for n, a, b in index.between] for group in groups]
    weights = torch.tensor(share, dtype=margin.dtype, device=margin.device).reshape(len(groups), len(margin))
    margins, right = (weights @ margin.detach()).unbind(), (weights @ in_order(margin.detach(), error)).unbind()
    logs = dict[str, Mean]()
    for (a, b), total, correct in zip(groups, margins, right, strict=True):
        count = sum((x, y) == (a, b) for _, x, y in size)
        logs |= {f"margin_{a}_{b}": Mean(total, count), f"accuracy_{a}_{b}": Mean(correct, count)}
    return logs


def best_share(ladders: Sequence[Ladder], like: Tensor) -> Tensor:
    """[R]: 1 over the number of its ladder's best responses for each of those, 0 for the others."""
    shares = list[float]()
    for ladder in ladders:
        best = [level == min(ladder.levels) for level in ladder.levels]
        shares += [is_best / sum(best) for is_best in best]
    return torch.tensor(shares, dtype=like.dtype, device=like.device)


def best_logs(policy: TokenLogprobs, reference: TokenLogprobs | None, ladders: Sequence[Ladder]) -> dict[str, Mean]:
    """`best_logprob`: log-probability of a token of the best responses, mean over tokens, over a ladder's best
    responses, over ladders; and `best_change`, the same less the reference's."""
    share = best_share(ladders, policy.values)
    count = sum(bool(ladder.levels) for ladder in ladders)
    now = (share * averaged(policy, 0.0).detach()).sum()
    if reference is None:
        return {"best_logprob": Mean(now, count)}
    before = (share * averaged(reference, 0.0).detach()).sum()
    return {"best_logprob": Mean(now, count), "best_change": Mean(now - before, count)}

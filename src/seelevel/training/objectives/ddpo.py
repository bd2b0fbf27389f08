"""Dense DPO (RLHF-V, arXiv 2312.00849): tokens that differ within a pair weigh more than common ones.

    log π(y | x) = (Σ_same log p + γ Σ_changed log p) / (n_same + γ n_changed)
    L(ladder)    = mean over pairs (i, j) of −log σ(β (r_i − r_j))        r = log π − log π_ref

β: `beta`; γ: `gamma`. A token is changed if it is in no matching block of difflib's diff of the two responses'
token ids, so its weight depends on the pair. A token of answer round t weighs 1 + round_weight · t in the sums and in
their divisor. With γ = 1, and between responses without a changed token, log π is the mean over tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from seelevel.ladder import Ladder
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.objectives.logs import Logs
from seelevel.training.objectives.pairs import PairIndex, best_logs, by_level, over_pairs, pair_index
from seelevel.training.objectives.ratios import change, rounding
from seelevel.training.objectives.settings import DdpoSettings


@lru_cache(maxsize=4096)  # a pair is used in every epoch, and again among the adjacent pairs
def changed(ours: tuple[int, ...], theirs: tuple[int, ...]) -> tuple[list[bool], list[bool]]:
    """For each token of two responses: whether the other response lacks it, in order."""
    marks = [True] * len(ours), [True] * len(theirs)
    for block in SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks():
        for mark, start in zip(marks, (block.a, block.b), strict=True):
            mark[start : start + block.size] = [False] * block.size
    return marks


def dense_margin(
    moved: TokenLogprobs, error: TokenLogprobs, index: PairIndex, settings: DdpoSettings
) -> tuple[Tensor, Tensor]:
    """r_i − r_j of P pairs, and how much of each may be rounding, both [P]. moved: log π − log π_ref by token; error:
    how much of that may be rounding."""
    ends = torch.cat(moved.lengths()).long().cumsum(0).tolist()
    spans = [range(start, end) for start, end in zip([0, *ends], ends, strict=False)]
    tokens = moved.tokens.tolist()
    side, place, weight = list[int](), list[int](), list[float]()
    for number, pair in enumerate(zip(index.better.tolist(), index.worse.tolist(), strict=True)):
        marks = changed(*(tuple(tokens[spans[response].start : spans[response].stop]) for response in pair))
        for which, response in enumerate(pair):
            side += [2 * number + which] * len(spans[response])
            place += spans[response]
            weight += [settings.gamma if mark else 1.0 for mark in marks[which]]
    values = moved.values
    sides, places = (torch.tensor(part, dtype=torch.long, device=values.device) for part in (side, place))
    weights = torch.tensor(weight, dtype=values.dtype, device=values.device)
    weights = weights * (1 + settings.round_weight * moved.round[places].to(values.dtype))
    zeros = torch.zeros(2 * len(index.between), dtype=values.dtype, device=values.device)
    total = zeros.index_add(0, sides, weights)
    r = zeros.index_add(0, sides, weights * values[places]) / total
    off = zeros.index_add(0, sides, (weights * error.values[places]) ** 2).sqrt() / total
    return r[0::2] - r[1::2], off[0::2].hypot(off[1::2])


def ddpo(
    policy: TokenLogprobs, reference: TokenLogprobs | None, ladders: Sequence[Ladder], settings: DdpoSettings
) -> tuple[Tensor, Logs]:
    """Mean dense DPO loss over the ladders that have a pair, and what to log."""
    moved, error = change(policy, reference), rounding(policy, reference)
    index, adjacent = (pair_index(ladders, pairs, moved.values) for pairs in (settings.pairs, "adjacent"))
    margin, off = dense_margin(moved, error, index, settings)

    terms = -logsigmoid(settings.beta * margin)
    loss = index.mean(terms)

    logs = {
        "preference": index.logged(terms),
        **over_pairs(index, margin, off),
        **by_level(adjacent, *dense_margin(moved, error, adjacent, settings)),
        **best_logs(policy, reference, ladders),
    }
    return loss, Logs(logs, index.ladders, index.without)

"""Direct preference optimisation (DPO, arXiv 2305.18290) on ladders, and its variants.

    r_i = log π(y_i | x) − log π_ref(y_i | x)
    L(ladder) = mean over pairs (i, j) of loss(r_i, r_j)        the losses: `pair_losses`

Log-probabilities are sums over tokens; in `ipo` and `sigmoid_norm` they are means. IPO's paper writes of whole answers
and says nothing of tokens, but its authors told TRL that their results are with means (with sums, long answers reach
the target 1 / (2β) sooner). `per_token` says which for any loss.

`ld_alpha` is α of LD-DPO (arXiv 2409.06411): tokens of the longer response beyond the length of the shorter one weigh
α in the sums, so that length alone wins less. What weighs less depends on the pair. Means still divide by all tokens.

The pairs are best against worst by default: what a pairwise method would be given of a ladder. With `sigmoid` it is
MDPO without the penalty, on other pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seelevel.ladder import Ladder
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.objectives.logs import Logs
from seelevel.training.objectives.pair_losses import LOSSES, PairValues
from seelevel.training.objectives.pairs import PairIndex, best_logs, by_level, over_pairs, pair_index
from seelevel.training.objectives.ratios import change, length, needed, rounding, summed
from seelevel.training.objectives.settings import DpoSettings


def shared_sums(tokens: TokenLogprobs, index: PairIndex, round_weight: float) -> Tensor:
    """[2, P]: the sums over the first n tokens of the pairs' better and worse responses, n the shorter one's length."""
    counts = torch.cat(tokens.lengths()).long()
    responses = torch.stack([index.better, index.worse])
    shared = counts[responses].amin(0).repeat(2)
    side = torch.arange(len(shared), device=shared.device).repeat_interleave(shared)
    first = (counts.cumsum(0) - counts)[responses.flatten()] - (shared.cumsum(0) - shared)
    place = first.repeat_interleave(shared) + torch.arange(len(side), device=side.device)
    weights = 1 + round_weight * tokens.round[place].to(tokens.values.dtype)
    zeros = torch.zeros(len(shared), dtype=tokens.values.dtype, device=tokens.values.device)
    return zeros.index_add(0, side, weights * tokens.values[place]).view(2, -1)


def pair_sums(tokens: TokenLogprobs, index: PairIndex, alpha: float | None, round_weight: float) -> Tensor:
    """[2, P]: the sums over the tokens of the pairs' better and worse responses; those that only the longer one has
    weigh `alpha`."""
    whole = summed(tokens, round_weight)[torch.stack([index.better, index.worse])]
    return whole if alpha is None else alpha * whole + (1 - alpha) * shared_sums(tokens, index, round_weight)


def pair_values(
    policy: TokenLogprobs, reference: TokenLogprobs | None, index: PairIndex, settings: DpoSettings
) -> tuple[PairValues, Tensor]:
    """The values of the index's pairs, and how much of each margin may be rounding, [P]."""
    alpha, weight = settings.ld_alpha, settings.round_weight
    lengths = length(policy, weight)
    divisor = (lengths if settings.in_means else torch.ones_like(lengths))[torch.stack([index.better, index.worse])]
    better, worse = pair_sums(change(policy, reference), index, alpha, weight) / divisor
    before = torch.sub(*(pair_sums(needed(reference), index, alpha, weight) / divisor))
    ladder = torch.tensor([ladder for ladder, *_ in index.between], dtype=torch.long, device=better.device)

    error = rounding(policy, reference)
    squares = error.with_values(error.values**2 * (1 + weight * error.round.to(error.values.dtype)))
    off = pair_sums(squares, index, None if alpha is None else alpha**2, weight).sqrt() / divisor
    return PairValues(better, worse, before, ladder), torch.hypot(*off)


def dpo(
    policy: TokenLogprobs, reference: TokenLogprobs | None, ladders: Sequence[Ladder], settings: DpoSettings
) -> tuple[Tensor, Logs]:
    """Mean DPO loss over the ladders that have a pair, and what to log."""
    index, adjacent = (pair_index(ladders, pairs, policy.values) for pairs in (settings.pairs, "adjacent"))
    pairs, off = pair_values(policy, reference, index, settings)
    neighbours, off_neighbours = pair_values(policy, reference, adjacent, settings)

    terms = LOSSES[settings.loss](pairs, settings)
    loss = index.mean(terms)

    logs = {
        "preference": index.logged(terms),
        **over_pairs(index, pairs.margin, off),
        **by_level(adjacent, neighbours.margin, off_neighbours),
        **best_logs(policy, reference, ladders),
    }
    return loss, Logs(logs, index.ladders, index.without)

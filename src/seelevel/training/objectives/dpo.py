"""Direct preference optimisation (arXiv 2305.18290) on ladders.

    r_i       = log π(y_i | x) − log π_ref(y_i | x)
    L(ladder) = mean over pairs (i, j) of −log σ(β (r_i − r_j))

β: `beta`. The pairs are best against worst by default: what a pairwise method would be given of a ladder. It is MDPO
without the penalty, on other pairs; and with K = 2 the two are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from seelevel.ladder import Ladder
from seelevel.training.logprobs import TokenLogprobs
from seelevel.training.objectives.pairs import best_logprob, pair_index
from seelevel.training.objectives.settings import DpoSettings


def dpo(
    policy: TokenLogprobs, reference: TokenLogprobs | None, ladders: Sequence[Ladder], settings: DpoSettings
) -> tuple[Tensor, dict[str, Tensor | float]]:
    """Mean DPO loss over the ladders that have a pair, and what to log (means over the same ladders)."""
    if reference is None:
        raise ValueError("dpo needs the reference's log-probabilities")
    r = torch.cat(policy.per_response(settings.round_weight)) - torch.cat(reference.per_response(settings.round_weight))
    index = pair_index(ladders, settings.pairs, r)
    margin = r[index.better] - r[index.worse]

    loss = index.mean(-logsigmoid(settings.beta * margin))

    return loss, {
        "preference": loss.detach(),
        "margin": index.mean(margin).detach(),
        "accuracy": index.mean((margin > 0).to(r.dtype)).detach(),
        "best_logprob": best_logprob(policy, ladders),
        "best_change": best_logprob(policy, ladders) - best_logprob(reference, ladders),
        "ladders": index.ladders,
        "without_pair": index.without,
    }

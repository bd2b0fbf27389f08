"""Supervised fine-tuning on the best responses.

    L = −mean over ladders of Σ log π(y_0 | x)

The sum runs over the scored tokens of the ladder's best response; where several tie for best, the ladder's term is
their mean. No reference is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seelevel.ladder import Ladder
from seelevel.training.logprobs import TokenLogprobs
from seelevel.training.objectives.pairs import best_logprob
from seelevel.training.objectives.settings import SftSettings


def sft(
    policy: TokenLogprobs, reference: TokenLogprobs | None, ladders: Sequence[Ladder], settings: SftSettings
) -> tuple[Tensor, dict[str, Tensor | float]]:
    """Mean over the ladders of the best response's negative log-probability, and what to log."""
    terms = []
    for logprob, ladder in zip(policy.per_response(settings.round_weight), ladders, strict=True):
        best = [k for k, level in enumerate(ladder.levels) if level == min(ladder.levels)]
        terms.append(-logprob[best].mean())
    loss = torch.stack(terms).mean()
    return loss, {
        "nll": loss.detach(),
        "best_logprob": best_logprob(policy, ladders),
        "ladders": len(ladders),
        "without_pair": 0,
    }

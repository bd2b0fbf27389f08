"""Conditional training on feedback (DRESS, arXiv 2311.10081): every response, good or bad, given its feedback.

    L = −mean over ladders of mean over the ladder's responses of Σ log π(y_k | x, c_k)

c_k is the response's condition, ratings and critique as text at the end of the user turn (`models.conditions`); the
sum runs over the scored tokens of the response. No reference is needed. A ladder without a response is not in the mean.
With one response per ladder and no condition it is `sft`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seelevel.ladder import Ladder
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.objectives.logs import Logs, Mean
from seelevel.training.objectives.pairs import best_logs
from seelevel.training.objectives.ratios import summed
from seelevel.training.objectives.settings import ConditionalSettings


def conditional(
    policy: TokenLogprobs, reference: TokenLogprobs | None, ladders: Sequence[Ladder], settings: ConditionalSettings
) -> tuple[Tensor, Logs]:
    """Mean over the ladders of their responses' negative log-probability given their conditions, and what to log."""
    logprob = summed(policy, settings.round_weight)
    count = sum(bool(ladder.responses) for ladder in ladders)
    share = [1 / len(ladder.responses) for ladder in ladders for _ in ladder.responses]

    nll = -(torch.tensor(share, dtype=logprob.dtype, device=logprob.device) * logprob).sum()
    loss = nll / max(count, 1)

    logs = {"nll": Mean(nll.detach(), count), **best_logs(policy, None, ladders)}
    return loss, Logs(logs, count, len(ladders) - count)

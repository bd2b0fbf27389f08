"""Supervised fine-tuning on the best responses.

    L = −mean over ladders of Σ log π(y_0 | x)

The sum runs over the scored tokens of the ladder's best response; with `per_token` it is their mean. If several
responses tie for best, the ladder's term is the mean of theirs. No reference is needed. A ladder without a response is
not in the mean.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from seelevel.ladder import Ladder
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.objectives.logs import Logs, Mean
from seelevel.training.objectives.pairs import best_logs, best_share
from seelevel.training.objectives.ratios import averaged, summed
from seelevel.training.objectives.settings import SftSettings


def sft(
    policy: TokenLogprobs, reference: TokenLogprobs | None, ladders: Sequence[Ladder], settings: SftSettings
) -> tuple[Tensor, Logs]:
    """Mean over the ladders of the best response's negative log-probability, and what to log."""
    logprob = (averaged if settings.per_token else summed)(policy, settings.round_weight)
    count = sum(bool(ladder.levels) for ladder in ladders)

    nll = -(best_share(ladders, logprob) * logprob).sum()
    loss = nll / max(count, 1)

    logs = {"nll": Mean(nll.detach(), count), **best_logs(policy, None, ladders)}
    return loss, Logs(logs, count, len(ladders) - count)

"""Anchored preference optimisation (AncPO): the reward anchor of mDPO (arXiv 2406.11839).

    r(y)      = log π(y | x) − log π_ref(y | x)
    L(ladder) = mean over its best responses y of −log σ(β r(y) − δ)

Preferences alone may lower the likelihood of both answers, as long as the worse one falls more. The anchor asks for a
positive reward of the best one. δ: `delta`, 0 in the paper's experiments. `mdpo` has the same term as
`penalty: anchored`, there in each pair with a best response.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import logsigmoid

from seelevel.ladder import Ladder
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.objectives.logs import Logs
from seelevel.training.objectives.pairs import best_index, best_logs
from seelevel.training.objectives.picture_settings import AncpoSettings
from seelevel.training.objectives.ratios import change, summed


def ancpo(
    policy: TokenLogprobs, reference: TokenLogprobs | None, ladders: Sequence[Ladder], settings: AncpoSettings
) -> tuple[Tensor, Logs]:
    """Mean loss over the ladders that have a response, and what to log."""
    index = best_index(ladders, [True] * len(ladders), policy.values)
    r = summed(change(policy, reference), settings.round_weight)[index.place]

    terms = -logsigmoid(settings.beta * r - settings.delta)
    loss = index.mean(terms)

    logs = {"anchor": index.logged(terms), **best_logs(policy, reference, ladders)}
    return loss, Logs(logs, index.ladders, index.without)

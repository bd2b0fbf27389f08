"""Multi-level direct preference optimisation (AMP, arXiv 2405.11165, eq. 6-7; not the mDPO of arXiv 2406.11839).

    r_i       = log π(y_i | x) − log π_ref(y_i | x)
    L(ladder) = mean over pairs i < j of [ −log σ(β (r_i − r_j)) − 1{i is best} · λ · r_i ]

β: `beta`; λ: `weight`; log π(y_i | x): sum over the scored tokens of response i, end of turn included, a token of
answer round t weighing 1 + round_weight · t. The second term is the penalty `paper` (at the start its gradient on the
best response is 2λ/β times the preference term's); `penalties` has the other ones.

The paper prints a sum over pairs, its authors' code takes the mean; here it is the mean over a ladder's pairs, then the
mean over ladders, so that a ladder weighs the same whatever its K. Ties make no pair; all responses of the best level
are best; ladders without a pair leave the mean.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import logsigmoid

from seelevel.ladder import Ladder
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.objectives.logs import Logs
from seelevel.training.objectives.pairs import best_logs, margin_logs, pair_index
from seelevel.training.objectives.penalties import INSIDE, PENALTIES, shift
from seelevel.training.objectives.ratios import summed_rounding
from seelevel.training.objectives.settings import MdpoSettings


def mdpo(
    policy: TokenLogprobs, reference: TokenLogprobs | None, ladders: Sequence[Ladder], settings: MdpoSettings
) -> tuple[Tensor, Logs]:
    """Mean MDPO loss over the ladders that have a pair, and what to log."""
    beta, moved = settings.beta, shift(policy, reference, settings.beta, settings.round_weight)
    index = pair_index(ladders, settings.pairs, moved.r)
    margin = moved.r[index.better] - moved.r[index.worse]
    charge = index.best * settings.weight * PENALTIES[settings.penalty](moved)[index.better]
    inside, outside = (charge, 0) if settings.penalty in INSIDE else (0, charge)

    preference = -logsigmoid(beta * margin)
    terms = -logsigmoid(beta * (margin - inside)) + outside
    loss = index.mean(terms)

    logs = {
        "preference": index.logged(preference),
        "penalty": index.logged(terms - preference),
        **margin_logs(moved.r, summed_rounding(policy, reference, settings.round_weight), ladders, index),
        **best_logs(policy, reference, ladders),
    }
    return loss, Logs(logs, index.ladders, index.without)

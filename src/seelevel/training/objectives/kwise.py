"""K-wise comparison: the Plackett–Luce model of a whole ranking (Zhu et al. 2023, arXiv 2301.11270), on DPO's rewards.

    r_i       = log π(y_i | x) − log π_ref(y_i | x)
    L(ladder) = −Σ over levels k but the lowest of log [ exp(β r_k) / (exp(β r_k) + Σ_{j below k} exp(β r_j)) ]

β: `beta`. Without ties the sum is over k < K − 1 and the denominator over j ≥ k; a tied group is one level, whose term
is the mean of its members' (`choices`). A ladder's choices are summed, as published, so that a longer ladder weighs
more; ladders are averaged. With two responses it is DPO.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from seelevel.ladder import Ladder
from seelevel.training.objectives.choices import choice_index
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.objectives.logs import Logs
from seelevel.training.objectives.pairs import best_logs, margin_logs, pair_index
from seelevel.training.objectives.ratios import change, summed, summed_rounding
from seelevel.training.objectives.settings import KwiseSettings


def kwise(
    policy: TokenLogprobs, reference: TokenLogprobs | None, ladders: Sequence[Ladder], settings: KwiseSettings
) -> tuple[Tensor, Logs]:
    """Mean K-wise loss over the ladders of two levels at least, and what to log."""
    r = summed(change(policy, reference), settings.round_weight)
    index = choice_index(ladders, r)

    terms = index.terms(settings.beta * r[index.among])
    loss = index.mean(terms)

    logs = {
        "preference": index.logged(terms),
        **margin_logs(
            r, summed_rounding(policy, reference, settings.round_weight), ladders, pair_index(ladders, "all", r)
        ),
        **best_logs(policy, reference, ladders),
    }
    return loss, Logs(logs, index.ladders, index.without)

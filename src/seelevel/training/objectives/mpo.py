"""A weighted sum of objectives; by default mixed preference optimisation (MPO, InternVL, arXiv 2411.10442).

    L(ladder) = Σ_n w_n L_n(ladder)        L_n: the loss of term n; w: `weights`

The default is DPO (0.8), BCO (0.2) and the mean over tokens of the best response's negative log-probability (1), as
in TRL's `loss_weights`. A ladder without a signal for a term goes without it: one response alone still trains
`sft`. The mean is over the ladders that have a signal for some term.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from seelevel.ladder import Ladder
from seelevel.training.objectives.ancpo import ancpo
from seelevel.training.objectives.base import Objective
from seelevel.training.objectives.copo import copo
from seelevel.training.objectives.ddpo import ddpo
from seelevel.training.objectives.dpo import dpo
from seelevel.training.objectives.grpo import grpo
from seelevel.training.objectives.kwise import kwise
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.objectives.logs import Logs, Mean
from seelevel.training.objectives.mdpo import mdpo
from seelevel.training.objectives.pro import pro
from seelevel.training.objectives.settings import MpoSettings
from seelevel.training.objectives.sft import sft
from seelevel.training.objectives.symmpo import symmpo

TERMS: dict[str, Callable[..., tuple[Tensor, Logs]]] = {
    "copo": copo,
    "ancpo": ancpo,
    "symmpo": symmpo,
    "mdpo": mdpo,
    "dpo": dpo,
    "kwise": kwise,
    "pro": pro,
    "ddpo": ddpo,
    "grpo": grpo,
    "sft": sft,
}


def of_term(
    term: Objective, policy: TokenLogprobs, reference: TokenLogprobs | None, ladders: Sequence[Ladder]
) -> tuple[Tensor, Logs]:
    """The loss of one term, which sees the reference only if it needs it."""
    before = reference if term.needs_reference else None
    if term.name in TERMS:
        return TERMS[term.name](policy, before, ladders, term)
    return term.compute_loss(policy, before, ladders)


def mpo(
    policy: TokenLogprobs, reference: TokenLogprobs | None, ladders: Sequence[Ladder], settings: MpoSettings
) -> tuple[Tensor, Logs]:
    """Mean weighted sum over the ladders that have a signal for a term, and what to log: the loss of each term, and
    every other figure of the first term that has it."""
    parts = [of_term(term, policy, reference, ladders) for term in settings.terms]
    count = sum(settings.learns_from(ladder, policy.views_of(n)) for n, ladder in enumerate(ladders))

    sums = [loss * logs.ladders for loss, logs in parts]
    weighted = [weight * total for weight, total in zip(settings.weights, sums, strict=True)]
    loss = torch.stack(weighted).sum() / max(count, 1)

    means = dict[str, Mean]()
    for number, (total, (_, logs)) in enumerate(zip(sums, parts, strict=True)):
        means = {f"term_{number}": Mean(total.detach(), logs.ladders), **logs.means, **means}
    return loss, Logs(means, count, len(ladders) - count)

"""Penalties of MDPO that keep the best responses likely: one function each, [R] from the responses of a batch.

    r_i = log π(y_i | x) − log π_ref(y_i | x)        r_it: its share of one token t, weighted as r_i is
    |y_i|: scored tokens of response i, weighted likewise (their number, if there is one answer round)

A penalty, times λ, applies to every pair whose better response is its ladder's best. It is added to the pair's loss or,
if its name is in `INSIDE`, subtracted from the pair's margin inside the sigmoid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.objectives.ratios import change, length, summed


@dataclass(frozen=True)
class Shift:
    """How far R responses have moved from the reference. r: [R], nats; fallen: [R], Σ_t max(0, −r_it), the losses of
    their tokens; length: [R], |y|; beta: β of the objective."""

    r: Tensor
    fallen: Tensor
    length: Tensor
    beta: float


def shift(policy: TokenLogprobs, reference: TokenLogprobs | None, beta: float, round_weight: float) -> Shift:
    """The shift of every response of a batch, laid end to end."""
    moved = change(policy, reference)
    fallen = moved.with_values(relu(-moved.values))
    return Shift(summed(moved, round_weight), summed(fallen, round_weight), length(moved, round_weight), beta)


def none(s: Shift) -> Tensor:
    """0: preferences alone."""
    return torch.zeros_like(s.r)


def paper(s: Shift) -> Tensor:
    """−r (AMP, eq. 7): the pull is constant, whether the response has risen or fallen."""
    return -s.r


def scaled(s: Shift) -> Tensor:
    """−β r: the paper's, scaled to the size of the preference term."""
    return -s.beta * s.r


def mean(s: Shift) -> Tensor:
    """−r / |y|: per token; up to a constant, the α · NLL / |y| of RPO (arXiv 2404.19733)."""
    return -s.r / s.length


def clamped(s: Shift) -> Tensor:
    """max(0, −r): nothing while the best response is no less likely than under the reference."""
    return relu(-s.r)


def clamped_tokens(s: Shift) -> Tensor:
    """Σ_t max(0, −r_t): no token may fall, so that easy tokens' gains don't pay for the others' losses."""
    return s.fallen


def anchored(s: Shift) -> Tensor:
    """−log σ(β r): the best response preferred to what the reference gave it; at the start half as steep as `scaled`,
    fading as r grows (the anchor of mDPO, arXiv 2406.11839, with δ = 0)."""
    return -logsigmoid(s.beta * s.r)


PENALTIES: dict[str, Callable[[Shift], Tensor]] = {
    "none": none,
    "paper": paper,
    "scaled": scaled,
    "mean": mean,
    "clamped": clamped,
    "clamped-tokens": clamped_tokens,
    "anchored": anchored,
    "dpop": clamped,  # DPO-Positive, arXiv 2402.13228
}
INSIDE = {"dpop"}

"""Sums and means over the tokens of responses, by which objectives compare them. R: all responses of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from seelevel.training.objectives.logprobs import TokenLogprobs


def summed(tokens: TokenLogprobs, round_weight: float) -> Tensor:
    """[R]: Σ_t (1 + round_weight · round(t)) · value_t."""
    return torch.cat(tokens.per_response(round_weight))


def length(tokens: TokenLogprobs, round_weight: float) -> Tensor:
    """|y|, [R]: the number of scored tokens, weighted as in `summed`; at least 1, so that it can be a divisor."""
    return summed(tokens.with_values(torch.ones_like(tokens.values)), round_weight).clamp(min=1)


def averaged(tokens: TokenLogprobs, round_weight: float) -> Tensor:
    """[R]: the weighted mean, `summed` / `length`."""
    return summed(tokens, round_weight) / length(tokens, round_weight)


def change(policy: TokenLogprobs, reference: TokenLogprobs | None) -> TokenLogprobs:
    """log π − log π_ref of every token: summed, r_i = log π(y_i | x) − log π_ref(y_i | x)."""
    if reference is None:
        raise ValueError("this objective needs the reference's log-probabilities")
    return policy.with_values(policy.values - reference.values.detach())

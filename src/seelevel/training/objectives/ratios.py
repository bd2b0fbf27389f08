"""Sums and means over the tokens of responses, by which objectives compare them. R: all responses of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from seelevel.training.objectives.logprobs import TokenLogprobs

FLOAT32 = torch.finfo(torch.float32).eps
ROUNDINGS, LEAST = 16, 64 * FLOAT32
"""The largest error to expect of a token's log-prob, as a share of it, or of 1 nat if that is more: `ROUNDINGS`
roundings of the format in which the model multiplies. At least `LEAST`: float32 rounds at every addition, bfloat16 only
the sum."""


def summed(tokens: TokenLogprobs, round_weight: float) -> Tensor:
    """[R]: Σ_t (1 + round_weight · round(t)) · value_t."""
    return torch.cat(tokens.per_response(round_weight))


def length(tokens: TokenLogprobs, round_weight: float) -> Tensor:
    """|y|, [R]: the number of scored tokens, weighted as in `summed`; at least 1, so that it can be a divisor."""
    return summed(tokens.with_values(torch.ones_like(tokens.values)), round_weight).clamp(min=1)


def averaged(tokens: TokenLogprobs, round_weight: float) -> Tensor:
    """[R]: the weighted mean, `summed` / `length`."""
    return summed(tokens, round_weight) / length(tokens, round_weight)


def needed(reference: TokenLogprobs | None) -> TokenLogprobs:
    """The reference without gradient. Raises `ValueError` if there is none."""
    if reference is None:
        raise ValueError("this objective needs the reference's log-probabilities")
    return reference.with_values(reference.values.detach())


def change(policy: TokenLogprobs, reference: TokenLogprobs | None) -> TokenLogprobs:
    """log π − log π_ref of every token: summed, r_i = log π(y_i | x) − log π_ref(y_i | x)."""
    return policy.with_values(policy.values - needed(reference).values)


def relative_error(rounding: float) -> float:
    """The largest error to expect of a token's log-prob, as a share. rounding: `TokenLogprobs.rounding`."""
    return max(ROUNDINGS * rounding, LEAST)


def rounding(policy: TokenLogprobs, reference: TokenLogprobs | None = None) -> TokenLogprobs:
    """How much of every token's log-prob, or of its change from the reference, may be rounding:
    `relative_error` · √(max(1, |log π|)² + max(1, |log π_ref|)²)."""
    squares = sum(
        tokens.values.detach().abs().clamp(min=1) ** 2 for tokens in (policy, reference) if tokens is not None
    )
    return policy.with_values(relative_error(policy.rounding) * torch.as_tensor(squares).sqrt())


def summed_rounding(policy: TokenLogprobs, reference: TokenLogprobs | None, round_weight: float) -> Tensor:
    """[R]: how much of `summed` may be rounding: √Σ_t ((1 + round_weight · round(t)) · rounding_t)². Tokens are rounded
    up and down independently, so squares add up."""
    tokens = rounding(policy, reference)
    weights = 1 + round_weight * tokens.round.to(tokens.values.dtype)
    return summed(tokens.with_values(tokens.values**2 * weights), round_weight).sqrt()


def averaged_rounding(policy: TokenLogprobs, reference: TokenLogprobs | None, round_weight: float) -> Tensor:
    """[R]: how much of `averaged` may be rounding."""
    return summed_rounding(policy, reference, round_weight) / length(policy, round_weight)


def in_order(margin: Tensor, error: Tensor) -> Tensor:
    """1 for a margin above 0, 0 for one below, one half for one within its rounding `error` of 0."""
    return torch.where(margin.abs() <= error, 0.5, (margin > 0).to(margin.dtype))

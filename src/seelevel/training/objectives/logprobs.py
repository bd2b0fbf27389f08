"""Log-probabilities of response tokens: the input of every objective."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenLogprobs:
    """Log-probabilities of N scored tokens, ragged: ladder by ladder, response by response, in text order.

    values: [N] in nats, differentiable for a policy; tokens, ladder (index in the batch), response (index in the
    ladder), round (of answers, from 0): [N]. sizes: K of each ladder. rounding: one rounding of the number format that
    the model multiplies in, as a share of the result; `values` are in a finer format if that is bfloat16.
    """

    values: Tensor
    tokens: Tensor
    ladder: Tensor
    response: Tensor
    round: Tensor
    sizes: tuple[int, ...]
    rounding: float = torch.finfo(torch.float32).eps

    def per_response(self, round_weight: float = 0.05) -> list[Tensor]:
        """One tensor [K] per ladder: Σ (1 + round_weight · t) log p over the tokens of each response, t their round."""
        return self._sums(self.values * (1 + round_weight * self.round.to(self.values.dtype)))

    def lengths(self) -> list[Tensor]:
        """One tensor [K] per ladder: the number of scored tokens of each response."""
        return self._sums(torch.ones_like(self.values))

    def _sums(self, values: Tensor) -> list[Tensor]:
        starts = torch.tensor([0, *self.sizes], device=values.device).cumsum(0)
        place = starts[self.ladder] + self.response
        total = torch.zeros(sum(self.sizes), dtype=values.dtype, device=values.device).index_add(0, place, values)
        return list(total.split(list(self.sizes)))

    def with_values(self, values: Tensor) -> TokenLogprobs:
        """The same tokens under another model."""
        return replace(self, values=values)

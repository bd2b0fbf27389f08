"""Log-probabilities of response tokens: the input of every objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenLogprobs:
    """Log-probabilities of N scored tokens, ragged: ladder by ladder, response by response, in text order.

    values: [N] in nats, differentiable for a policy; tokens, ladder (index in the batch), response (index in the
    ladder), round (of answers, from 0): [N]. sizes: K of each ladder. rounding: one rounding of the number format that
    the model multiplies in, as a share of the result; `values` are in a finer format if that is bfloat16. views: the
    log-probs of the ladders' second views, by name; a ladder without such a view has no response there.
    """

    values: Tensor
    tokens: Tensor
    ladder: Tensor
    response: Tensor
    round: Tensor
    sizes: tuple[int, ...]
    rounding: float = torch.finfo(torch.float32).eps
    views: dict[str, TokenLogprobs] = field(default_factory=dict)

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

    def select(self, ladders: Sequence[int | None]) -> TokenLogprobs:
        """Only these ladders of the batch, with the tokens in its order; None makes a ladder without responses.

        Views are not selected.
        """
        chosen = {ladder: number for number, ladder in enumerate(ladders) if ladder is not None}
        numbers = torch.tensor([chosen.get(n, -1) for n in range(len(self.sizes))], device=self.ladder.device)
        number = numbers[self.ladder]
        kept = number >= 0
        values, tokens, response, rounds = (
            part[kept] for part in (self.values, self.tokens, self.response, self.round)
        )
        sizes = tuple(0 if ladder is None else self.sizes[ladder] for ladder in ladders)
        return replace(
            self, values=values, tokens=tokens, ladder=number[kept], response=response, round=rounds, sizes=sizes
        )

    def with_views(self, count: int, views: dict[str, list[int | None]]) -> TokenLogprobs:
        """The first `count` ladders of the batch, with the others as their views. views: the place of each ladder's
        view in the batch, by name."""
        if not views:
            return self
        return replace(self.select(range(count)), views={name: self.select(places) for name, places in views.items()})

    def view(self, name: str) -> TokenLogprobs:
        """The log-probs of one view; without responses if no ladder has it."""
        return self.views[name] if name in self.views else self.select([None] * len(self.sizes))

    def views_of(self, ladder: int) -> list[str]:
        """The names of the views that a ladder has."""
        return [name for name, view in self.views.items() if view.sizes[ladder]]

    def with_values(self, values: Tensor) -> TokenLogprobs:
        """The same tokens with other values, such as those of another model. Views keep theirs."""
        return replace(self, values=values)

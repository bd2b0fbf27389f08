"""How a local model chooses its next tokens: a draw from each row's own random numbers, or the likeliest token.

Transformers draws for a whole batch at once, so that an answer would depend on the rows beside it. Here each row has
its own seed, and a sample is the same in every batch, up to the rounding of the logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from seelevel.models.base import Sampling


class Repetition(LogitsProcessor):
    """Transformers' repetition penalty without the padding. In many models the padding token is the end token, and the
    penalty would keep a padded prompt's answer from ending."""

    def __init__(self, penalty: float, padding: Tensor, beams: int) -> None:
        self._penalty = RepetitionPenaltyLogitsProcessor(penalty)
        self._padding = padding.repeat_interleave(beams, dim=0)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        tokens = input_ids.clone()
        head = tokens[:, : self._padding.shape[1]]
        last = head[:, -1:].expand_as(head)
        head[self._padding] = last[self._padding]
        penalised: Tensor = self._penalty(tokens, scores)
        return penalised


class Choice(LogitsProcessor):
    """Chooses the next token of every row, and leaves it as the only possible one.

    With a temperature, a token is drawn by inverting the cumulated probabilities at the row's next random number.
    `seeds`: one per row. `logprobs` gets one tensor [rows] per step: the chosen tokens' log-probabilities under the
    logits as they came, before penalty and temperature.
    """

    def __init__(self, sampling: Sampling, before: Sequence[LogitsProcessor], seeds: Sequence[int]) -> None:
        self._processors = LogitsProcessorList(before)
        self._draws = _draws(seeds, sampling.max_new_tokens) if sampling.temperature > 0 else None
        if sampling.temperature > 0:
            self._processors.append(TemperatureLogitsWarper(sampling.temperature))
            if sampling.top_p < 1:
                self._processors.append(TopPLogitsWarper(sampling.top_p))
            if sampling.min_p > 0:
                self._processors.append(MinPLogitsWarper(sampling.min_p))
        self.logprobs: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        processed: Tensor = self._processors(input_ids, scores)
        if self._draws is None:
            chosen = processed.argmax(dim=-1, keepdim=True)
        else:
            chosen = inverted(processed, self._draws[:, len(self.logprobs), None])
        self.logprobs.append((scores.gather(1, chosen) - scores.logsumexp(dim=-1, keepdim=True)).squeeze(1))
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)

    def means(self, lengths: Sequence[int]) -> list[float | None]:
        """Each row's mean over its first so many tokens; None for a row without tokens."""
        if not self.logprobs:
            return [None] * len(lengths)
        values = torch.stack(self.logprobs, dim=1).cpu()
        return [float(row[:n].mean()) if n else None for row, n in zip(values, lengths, strict=True)]


def _draws(seeds: Sequence[int], steps: int) -> Tensor:
    """Uniform numbers in [0, 1), float64 [rows, steps], the same on every device."""
    rows = [torch.rand(steps, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in seeds]
    return torch.stack(rows)


def inverted(logits: Tensor, draws: Tensor) -> Tensor:
    """The tokens [rows, 1] at which the cumulated probabilities of `logits` [rows, vocabulary] pass `draws` [rows, 1].

    They are cumulated in float64: in float32 the many unlikely tokens would add nothing to a sum near 1.
    """
    exact: Any = torch.float64 if logits.device.type != "mps" else torch.float32  # Apple's GPU has no float64
    mass = logits.float().softmax(dim=-1).cumsum(dim=-1, dtype=exact)
    wanted = draws.to(device=logits.device, dtype=exact) * mass[:, -1:]
    return torch.searchsorted(mass, wanted, right=True).clamp(max=logits.shape[-1] - 1)

"""Log-probabilities of the scored tokens, and nothing else: no logit is computed where none is needed."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from seelevel.progress import say
from seelevel.training.head import head_logprobs, is_witness, output_head, without_head
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.packing import Batch, Segment
from seelevel.training.packing.passes import run
from seelevel.training.rounding import unit

CHUNK_ELEMENTS = 1 << 25
"""Logits normalised at a time: 128 MiB in float32."""
_CHANGED: WeakSet[nn.Module] = WeakSet()
"""Heads whose logits their model changes afterwards."""


class Policy(nn.Module):
    """A model whose forward pass is a whole batch, `policy(batch) -> [N]`: the log-probs of the scored tokens.

    However many passes of the model that takes, whatever wraps the policy (DDP, FSDP, DeepSpeed) sees one.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def train(self, mode: bool = True) -> Policy:
        """As of any module, but batch normalisation keeps its statistics: rows must not depend on their company."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def forward(self, batch: Batch) -> Tensor:
        values = from_head(self.model, batch)
        return from_logits(self.model, batch) if values is None else values


def token_logprobs(model: Any, batch: Batch) -> TokenLogprobs:
    """Log-probs of a batch's scored tokens under a `Policy` (wrapped or not) or a transformers model on its device.

    [tokens × vocabulary] never exists at once, unless the model changes its logits after its head (a cap, a scale) or
    has adapters on it: then its own logits are used, and it says so.
    """
    policy = model if isinstance(unwrapped(model), Policy) else Policy(model)
    rounding = unit(unwrapped(policy).model)
    return TokenLogprobs(policy(batch), batch.tokens, batch.ladder, batch.response, batch.round, batch.sizes, rounding)


class _ChangedError(Exception):
    """What a head gives are not the model's logits."""


def from_head(model: Any, batch: Batch) -> Tensor | None:
    """Log-probs [N] through the output head in chunks; None where what the head gives are not the model's logits."""
    head = output_head(model)
    if head is None or head in _CHANGED:
        return None

    def read(segment: Segment, inputs: dict[str, Any]) -> Tensor:
        with without_head(head) as hidden:
            logits = model(**inputs).logits
        if not is_witness(head, logits):
            raise _ChangedError
        return hidden.pop().flatten(0, -2).index_select(0, segment.source)

    try:
        hidden = run(model, batch, read)
    except _ChangedError:
        distrust_head(model, "changes its logits after its head")
        return None
    return head_logprobs(hidden, head.weight, head.bias, batch.tokens)


def distrust_head(model: Any, why: str) -> None:
    """From now on use a model's own logits, and say so."""
    use_own_logits(model)
    say(f"log-probs: {type(model).__name__} {why}; its own logits are used, which are held whole in memory")


def use_own_logits(model: Any) -> None:
    """From now on use a model's own logits."""
    _CHANGED.add(model.get_output_embeddings())


def uses_own_logits(model: Any) -> bool:
    """Whether `use_own_logits` was called for a model."""
    return model.get_output_embeddings() in _CHANGED


def from_logits(model: Any, batch: Batch) -> Tensor:
    """Log-probs [N] through the model's own logits, at the columns that any row of a segment scores."""

    def read(segment: Segment, inputs: dict[str, Any]) -> Tensor:
        length = segment.input_ids.shape[1]
        columns = torch.unique(segment.source % length)
        logits = model(**inputs, logits_to_keep=columns).logits
        if logits.shape[1] != len(columns):  # some families compute all, whatever they are asked
            logits = logits.index_select(1, columns)
        place = (segment.source // length) * len(columns) + torch.searchsorted(columns, segment.source % length)
        return chosen_logprobs(logits.flatten(0, 1), place, batch.tokens[segment.target])

    return run(model, batch, read)


def unwrapped(model: Any) -> Any:
    """The module inside a data-parallel wrapper."""
    return getattr(model, "module", model)


def chosen_logprobs(logits: Tensor, place: Tensor, tokens: Tensor, chunk: int = CHUNK_ELEMENTS) -> Tensor:
    """log softmax(logits[place])[tokens], [N], in float32 at least, over chunks of rows when there is much.

    Chunks are computed again in the backward pass, so that their normalised copies never exist together.
    """
    rows = max(chunk // logits.shape[-1], 1)
    if len(place) <= rows:
        return _chosen(logits, place, tokens)
    parts = zip(place.split(rows), tokens.split(rows), strict=True)
    if not logits.requires_grad:
        return torch.cat([_chosen(logits, p, t) for p, t in parts])
    return torch.cat([_checkpointed(logits, p, t) for p, t in parts])


def _checkpointed(logits: Tensor, place: Tensor, tokens: Tensor) -> Tensor:
    result: Tensor = checkpoint(_chosen, logits, place, tokens, use_reentrant=False)
    return result


def _chosen(logits: Tensor, place: Tensor, tokens: Tensor) -> Tensor:
    rows = logits.index_select(0, place)
    rows = rows if rows.dtype == torch.float64 else rows.float()
    return rows.gather(1, tokens[:, None]).squeeze(1) - rows.logsumexp(1)

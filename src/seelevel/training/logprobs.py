"""Log-probabilities of the scored tokens, and nothing else: no logit is computed where none is needed."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seelevel.progress import say
from seelevel.training.head import chunked_head, output_head, read_chunked
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.packing import Batch
from seelevel.training.packing.families import model_inputs
from seelevel.training.rounding import unit

CHUNK_ELEMENTS = 1 << 25
"""Logits normalised at a time: 128 MiB in float32."""
_CHANGED: WeakSet[nn.Module] = WeakSet()
"""Heads whose logits their model changes afterwards."""


def token_logprobs(model: Any, batch: Batch) -> TokenLogprobs:
    """Run `model` (a transformers model, wrapped or not) on a batch on its device: log-probs of the scored tokens.

    [tokens × vocabulary] never exists at once, unless the model changes its logits after its head (a cap, a scale) or
    has adapters on it: then its own logits are used, and it says so.
    """
    values = from_head(model, batch)
    if values is None:
        values = from_logits(model, batch)
    rounding = unit(unwrapped(model))
    return TokenLogprobs(values, batch.tokens, batch.ladder, batch.response, batch.round, batch.sizes, rounding)


def from_head(model: Any, batch: Batch) -> Tensor | None:
    """Log-probs [N] through the output head in chunks; None where what the head gives are not the model's logits."""
    inner = unwrapped(model)
    head = output_head(inner)
    if head is None or head in _CHANGED:
        return None
    with chunked_head(head, batch.source, batch.tokens):
        out = model(**model_inputs(inner, batch))
    values = read_chunked(head, out.logits)
    if values is None:
        distrust_head(model, "changes its logits after its head")
    return values


def distrust_head(model: Any, why: str) -> None:
    """From now on use a model's own logits, and say so."""
    inner = unwrapped(model)
    _CHANGED.add(inner.get_output_embeddings())
    say(f"log-probs: {type(inner).__name__} {why}; its own logits are used, which are held whole in memory")


def from_logits(model: Any, batch: Batch) -> Tensor:
    """Log-probs [N] through the model's own logits, at the columns that any row scores."""
    length = batch.input_ids.shape[1]
    columns = torch.unique(batch.source % length)
    out = model(**model_inputs(unwrapped(model), batch), logits_to_keep=columns)
    place = (batch.source // length) * len(columns) + torch.searchsorted(columns, batch.source % length)
    return chosen_logprobs(out.logits.flatten(0, 1), place, batch.tokens)


def unwrapped(model: Any) -> Any:
    """The model inside a data-parallel wrapper."""
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

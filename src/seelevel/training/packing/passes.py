"""The passes of a batch: each segment through the model, on a copy of the cache of what it continues.

Gradients of all answers add up in the prefix by themselves, because the copies are part of one graph. With
`Batch.again`, a segment is computed without keeping its activations, and a second time when the backward pass reaches
it; the last one is kept, as the backward pass begins with it. So the memory is that of the prefix's cache and of one
segment, however many answers there are, and there is still one forward and one backward pass to whatever wraps the
model.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import Cache
from transformers.modeling_layers import GradientCheckpointingLayer

from seelevel.training.packing import Batch, Segment
from seelevel.training.packing.cache import cache_argument, duplicate, forked, joined_again, new_cache
from seelevel.training.packing.inputs import Ended, base, segment_inputs, shift_after
from seelevel.training.packing.offload import is_offloaded, kept_on_host

Read = Callable[[Segment, dict[str, Any]], Tensor]


def run(model: Any, batch: Batch, read: Read) -> Tensor:
    """All passes of a batch in their order. `read(segment, inputs)` runs the model with these inputs and returns
    [s, …], one entry for each of `segment.source`; the result is [N, …] in the batch's order."""
    offloaded = is_offloaded(base(model))
    with kept_on_host(model) if offloaded and torch.is_grad_enabled() else nullcontext():
        return _passes(model, batch, read, offloaded)


def _passes(model: Any, batch: Batch, read: Read, offloaded: bool) -> Tensor:
    parents = {segment.parent for segment in batch.segments}
    again = batch.again and torch.is_grad_enabled() and not offloaded  # what is kept is not on the device
    ended: dict[int, Ended] = {}
    parts = []
    for number, segment in enumerate(batch.segments):
        before = ended.get(segment.parent)
        if number in parents:
            part, ended[number] = _twice(_begin, again)(model, segment, before, read, offloaded)
        else:
            twice = again and number < len(batch.segments) - 1
            part = _twice(_finish, twice)(model, segment, before, read, kept=not (twice or offloaded))
        parts.append(part)
    order = torch.cat([segment.target for segment in batch.segments]).argsort()
    return torch.cat(parts).index_select(0, order)


def _twice(passes: Callable[..., Any], again: bool) -> Callable[..., Any]:
    """These passes, computed again in the backward pass in place of keeping their activations."""
    return partial(checkpoint, passes, use_reentrant=False) if again else passes


def _begin(model: Any, segment: Segment, before: Ended | None, read: Read, on_host: bool) -> tuple[Tensor, Ended]:
    """A segment that others continue. on_host: its keys and values are in the host's memory afterwards."""
    after = _forked(before, segment)
    cache = new_cache(base(model), on_host) if after is None else after.cache
    part = read(segment, {**segment_inputs(model, segment, after), **_cached(model, cache)})
    mask = segment.mask if after is None else torch.cat([after.mask, segment.mask], 1)
    padded = segment.padded_left or (after is not None and after.padded)
    return part, Ended(cache, mask, padded, shift_after(model, segment, after))


def _finish(model: Any, segment: Segment, before: Ended | None, read: Read, kept: bool = False) -> Tensor:
    """A segment that none continues. kept: its activations are, until the backward pass."""
    after = _forked(before, segment, last=True)
    if after is None:
        return read(segment, {**segment_inputs(model, segment, after), "use_cache": False})
    with joined_again(after.cache) if kept else nullcontext():
        return read(segment, {**segment_inputs(model, segment, after), **_cached(model, after.cache)})


def _forked(before: Ended | None, segment: Segment, last: bool = False) -> Ended | None:
    if before is None:
        return None
    owner = segment.owner
    return Ended(forked(before.cache, owner, last), before.mask[owner], before.padded, before.shift[owner])


def _cached(model: Any, cache: Any) -> dict[str, Any]:
    return {cache_argument(base(model)): cache, "use_cache": True}


def recompute_layers(model: Any) -> None:
    """Activation checkpointing: of each layer only its input is kept for the backward pass, which computes it again.

    The library's own switches the cache off. Here a layer is computed again on the cache as it was at the first time.
    """
    for layer in model.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            places = [part.layer_idx for part in layer.modules() if hasattr(part, "layer_idx")]
            layer.forward = _recomputed(layer, layer.forward, places[0] if places else None)


def _recomputed(layer: Any, forward: Callable[..., Any], place: int | None) -> Callable[..., Any]:
    """`forward` of the layer at this place in a cache, without keeping its activations."""

    def call(*args: Any, **options: Any) -> Any:
        given = (value for value in (*args, *options.values()) if isinstance(value, Tensor))
        if not torch.is_grad_enabled() or not any(part.requires_grad for part in chain(given, layer.parameters())):
            return forward(*args, **options)
        first = {name: value for name, value in options.items() if isinstance(value, Cache)}
        others = {name: value for name, value in options.items() if name not in first}
        before = {name: duplicate(value, place) for name, value in first.items()}

        def compute(*args: Any) -> Any:
            nonlocal first
            caches = first or {name: duplicate(value, place) for name, value in before.items()}
            first = {}  # what the first time made is kept where it is needed
            return forward(*args, **others, **caches)

        return checkpoint(compute, *args, use_reentrant=False)

    return call

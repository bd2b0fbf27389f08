"""A cache that gradients flow through, and its copies: one per answer that continues the same prefix.

Keys, values and states of the layers are the library's own cache (`transformers.DynamicCache`), so a model's windows,
shared layers and recurrent states stay its own business. Two things are changed. States of linear-attention and
convolution layers are assigned, because the library writes them in place, which gradients do not survive. And a cache
is never written to after the pass that made it: what continues it gets a copy.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache as memoised
from itertools import groupby
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import pad
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer, LinearAttentionCacheLayerMixin

from seelevel.training.packing import offload

Runs = list[tuple[int, int]]
"""Pairs of a prefix's row and the number of consecutive rows that continue it."""
PLAIN = (DynamicLayer, DynamicSlidingWindowLayer)
"""Layers of keys and values alone."""


def new_cache(model: Any, on_host: bool = False) -> Any:
    """An empty cache for a model. on_host: layers of keys and values alone have them in the host's memory."""
    cache = _outside_graphs()(config=model.config)
    cache.layers = [
        _become(layer, _Assigned) if isinstance(layer, LinearAttentionCacheLayerMixin) else layer
        for layer in cache.layers
    ]
    if on_host:
        cache.layers = [_become(layer, _OnHost) if type(layer) in PLAIN else layer for layer in cache.layers]
    return cache


@memoised
def _outside_graphs() -> type[DynamicCache]:
    """A class of caches whose methods are never compiled if they take the number of a layer."""
    outside = {
        name: torch.compiler.disable(method)
        for name, method in vars(Cache).items()
        if inspect.isfunction(method) and "layer_idx" in inspect.signature(method).parameters
    }
    return type("DynamicCache", (DynamicCache,), outside)


def forked(cache: Any, owner: Tensor, last: bool = False) -> Any:
    """A copy in which row i goes on where row `owner[i]` of `cache` ended. owner: [n]; last: nothing will go on from
    there, so that layers of keys and values alone are copied where they are read, and not kept."""
    copied, joins = duplicate(cache), _Joins()
    runs = [(row, len([*same])) for row, same in groupby(owner.tolist())]
    for number, layer in enumerate(copied.layers):
        if last and _is_plain(layer) and layer.is_initialized:
            copied.layers[number] = _become(layer, _Read)
            copied.layers[number].runs, copied.layers[number].joins = runs, joins
        else:
            layer.reorder_cache(owner)
    return copied


def _is_plain(layer: Any) -> bool:
    return type(layer) in (*PLAIN, *(_changed(kind, _OnHost) for kind in PLAIN))


def duplicate(cache: Any, place: int | None = None) -> Any:
    """A cache that may be written to; its tensors are the same. `place`: only this layer will be read and written, and
    the others are left empty, so that their tensors are not kept."""
    copied = copy.copy(cache)
    copied.layers = [_duplicate(layer, place in (None, number)) for number, layer in enumerate(cache.layers)]
    return copied


def _duplicate(layer: Any, whole: bool) -> Any:
    copied = copy.copy(layer)
    for name, value in vars(layer).items():
        if isinstance(value, dict):
            kept = {key: part if whole or not isinstance(part, Tensor) else None for key, part in value.items()}
            setattr(copied, name, kept)
        elif isinstance(value, Tensor) and value.dim() > 1 and not whole:
            setattr(copied, name, None)
    return copied


def cache_argument(model: Any) -> str:
    """The name of a model's argument for a cache; empty if it takes none."""
    names = inspect.signature(type(model).forward).parameters
    return next((name for name in ("past_key_values", "cache") if name in names), "")


class _OnHost:
    """Keys and values that are in the host's memory between the passes of their layer."""

    def update(self: Any, keys: Tensor, values: Tensor, *args: Any, **options: Any) -> tuple[Tensor, Tensor]:
        self._fetch()
        joined: tuple[Tensor, Tensor] = super().update(keys, values, *args, **options)  # type: ignore[misc]
        self._put_back()
        return joined

    def reorder_cache(self: Any, owner: Tensor) -> None:
        self._fetch()
        super().reorder_cache(owner)  # type: ignore[misc]
        self._put_back()

    def _fetch(self: Any) -> None:
        if self.is_initialized:
            self.keys, self.values = (offload.to_device(part, self.device) for part in (self.keys, self.values))

    def _put_back(self: Any) -> None:
        if self.is_initialized:
            self.keys, self.values = offload.to_host(self.keys), offload.to_host(self.values)


class _Read:
    """Keys and values of a prefix for rows that nothing continues. They are joined with the rows' own, but not kept."""

    runs: Runs
    joins: _Joins

    def update(self: Any, keys: Tensor, values: Tensor, *args: Any, **options: Any) -> tuple[Tensor, Tensor]:
        made = [_Join(before, self.runs, own) for before, own in ((self.keys, keys), (self.values, values))]
        joined_keys, joined_values = (join.made() for join in made)
        made[0].whole, made[1].whole = ref(joined_keys), ref(joined_values)
        if self.joins.open:
            self.joins[:] = made  # of the layer that is computed now
        return joined_keys, joined_values


@dataclass
class _Join:
    """Keys or values of a prefix, [B, heads, P, width], with those of the n rows that go on from it."""

    before: Tensor
    runs: Runs
    own: Tensor
    whole: Callable[[], Tensor | None] = lambda: None

    def made(self) -> Tensor:
        """[n, heads, P + L, width]."""
        rows, each = len(self.before), self.runs[0][1]
        before = offload.to_device(self.before, self.own.device)
        if self.runs == [(row, each) for row in range(rows)]:  # each key is copied once, and gradients add up in order
            copies = before[:, None].expand(-1, each, -1, -1, -1)
            return torch.cat([copies, self.own.unflatten(0, (rows, each))], 3).flatten(0, 1)
        copies = torch.cat([before[row, None].expand(count, -1, -1, -1) for row, count in self.runs])
        return torch.cat([copies, self.own], 2)

    def is_of(self, saved: Tensor) -> bool:
        whole = self.whole()
        if whole is None or whole.data_ptr() != saved.data_ptr():
            return False
        return whole.shape == saved.shape and whole.stride() == saved.stride()


class _Joins(list[_Join]):
    """Joined keys and values that `joined_again` looks for. Once it has closed, none are held here."""

    open = False


@contextmanager
def joined_again(cache: Any) -> Iterator[None]:
    """While open, what attention saves of joined keys and values is left out, and joined again in the backward pass:
    K copies of a prefix in each layer would weigh as much as K rows. Heads that share keys (grouped queries) are
    repeated before attention, and saved as they are."""
    joins = next((layer.joins for layer in cache.layers if isinstance(layer, _Read)), _Joins())

    def keep(saved: Tensor) -> Any:
        for join in joins:
            if join.is_of(saved):
                return replace(join, before=join.before.detach(), own=join.own.detach(), whole=lambda: None)
        return saved

    def give(kept: Any) -> Tensor:
        whole: Tensor = kept.made() if isinstance(kept, _Join) else kept
        return whole

    joins.open = True
    try:
        with saved_tensors_hooks(keep, give):
            yield
    finally:
        joins.open = False
        joins.clear()


class _Assigned:
    """States of linear attention and of convolutions, assigned where the library copies them in place."""

    def update_recurrent_state(self: Any, recurrent_states: Tensor, state_idx: int = 0, **options: Any) -> Tensor:
        self._known(recurrent_states)
        self.recurrent_states[state_idx] = recurrent_states
        self.is_recurrent_states_initialized[state_idx] = True
        return recurrent_states

    def update_conv_state(
        self: Any, conv_states: Tensor, state_idx: int = 0, conv_kernel_size: int | None = None, **options: Any
    ) -> Tensor:
        self._known(conv_states)
        if not self.is_conv_states_initialized[state_idx]:
            self.conv_kernel_size[state_idx] = conv_kernel_size or conv_states.shape[-1]
            self.is_conv_states_initialized[state_idx] = True
        width = self.conv_kernel_size[state_idx]
        if self.has_previous_state[state_idx]:
            whole = torch.cat([self.conv_states[state_idx], conv_states], dim=-1)
        else:
            whole = pad(conv_states, (max(width - conv_states.shape[-1], 0), 0))
            self.has_previous_state[state_idx] = True
        self.conv_states[state_idx] = whole[..., -width:]
        return whole

    def _known(self: Any, states: Tensor) -> None:
        if self.device is None:
            self.dtype, self.device = states.dtype, states.device


def _become(layer: Any, change: type) -> Any:
    """The same layer, with the methods of `change` before its own."""
    original: Any = type(layer)
    kind: Any = _changed(original, change)
    changed = kind.__new__(kind)
    vars(changed).update(vars(layer))
    return changed


@memoised
def _changed(kind: type, change: type) -> type:
    # Without a layer type of its own, or the library would make it the class of all such layers.
    return type(f"{change.__name__}{kind.__name__}", (change, kind), {"_layer_type": None})

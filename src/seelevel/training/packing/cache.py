"""A cache that gradients flow through, and its copies: one per answer that continues the same prefix.

Keys, values and states of the layers are the library's own cache (`transformers.DynamicCache`), so a model's windows,
shared layers and recurrent states stay its own business. Two things are changed. States of linear-attention and
convolution layers are assigned, because the library writes them in place, which gradients do not survive. And a cache
is never written to after the pass that made it: what continues it gets a copy.
"""

from __future__ import annotations

import copy
import inspect
from functools import cache as memoised
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer, LinearAttentionCacheLayerMixin

PLAIN = (DynamicLayer, DynamicSlidingWindowLayer)
"""Layers of keys and values alone: a single row of them need not be copied for each row that goes on."""


def new_cache(model: Any) -> Any:
    """An empty cache for a model."""
    cache = DynamicCache(config=model.config)
    cache.layers = [_assigning(x) if isinstance(x, LinearAttentionCacheLayerMixin) else x for x in cache.layers]
    return cache


def forked(cache: Any, owner: Tensor) -> Any:
    """A copy in which row i goes on where row `owner[i]` of `cache` ended. owner: [n]."""
    copied = duplicate(cache)
    for layer in copied.layers:
        if type(layer) in PLAIN and layer.is_initialized and len(layer.keys) == 1:
            layer.keys, layer.values = (part.expand(len(owner), -1, -1, -1) for part in (layer.keys, layer.values))
        else:
            layer.reorder_cache(owner)
    return copied


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
            setattr(copied, name, {key: part if whole or not isinstance(part, Tensor) else None for key, part in value.items()})
        elif isinstance(value, Tensor) and value.dim() > 1 and not whole:
            setattr(copied, name, None)
    return copied


def cache_argument(model: Any) -> str:
    """The name of a model's argument for a cache; empty if it takes none."""
    names = inspect.signature(type(model).forward).parameters
    return next((name for name in ("past_key_values", "cache") if name in names), "")


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


def _assigning(layer: Any) -> Any:
    """The same empty layer, which assigns its states."""
    original: Any = type(layer)
    kind: Any = _assigning_kind(original)
    assigning = kind.__new__(kind)
    vars(assigning).update(vars(layer))
    return assigning


@memoised
def _assigning_kind(kind: type) -> type:
    # Without a layer type of its own, or the library would make it the class of all such layers.
    return type(f"Assigned{kind.__name__}", (_Assigned, kind), {"_layer_type": None})

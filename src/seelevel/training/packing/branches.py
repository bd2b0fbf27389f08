"""Attention over packed rows without the pairs that their mask forbids.

A row of P prefix tokens and K responses has (P + Σ r)² pairs of tokens, of which a mask forbids most: each response
sees the prefix and itself. `branched` marks a mask so that scaled dot-product attention on it runs in parts: the prefix
on itself, then each response on the prefix and itself; where the prefix goes on after a response (the history of an
interaction does), so does its next piece. To everything else the mask is what it was, so whatever does not know of the
parts (another attention, a cast) computes the same, only slower.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import scaled_dot_product_attention

from seelevel.training.packing import PADDING
from seelevel.training.settings import PARTS_LENGTH

WORTH_SHARE = 0.8
"""Rows that need more than this share of the pairs are not worth the many small calls."""


Part = tuple[int, int]


class BranchedMask(Tensor):
    """A mask [R, 1, L, L] that knows its rows' parts: (segment, tokens) of each in the order of the row, segment 0 a
    piece of the prefix, -1 padding."""

    parts: Sequence[Sequence[Part]]
    recomputed: bool

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        mask = kwargs.get("attn_mask")
        if func is scaled_dot_product_attention and isinstance(mask, cls) and len(args) == 3:
            return _attend(*args, mask, **{name: value for name, value in kwargs.items() if name != "attn_mask"})
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)


def branched(mask: Tensor, segments: Tensor, recomputed: bool = False, always: bool = False) -> Tensor:
    """`mask` [R, 1, L, L] made from `segments` [R, L] (0 prefix, 1, 2, … responses, -1 padding), with its parts where
    they are worth it: never on a GPU, where one masked call takes a fifth of the time of the many small ones.
    `recomputed`: activations are not kept for the backward pass anyway."""
    if mask.device.type != "cpu" and not always:
        return mask
    rows = [[(segment, len(list(run))) for segment, run in groupby(row)] for row in segments.tolist()]
    length = segments.shape[1]
    if not always and (length < PARTS_LENGTH or sum(map(_pairs, rows)) > WORTH_SHARE * len(rows) * length**2):
        return mask
    marked = mask.as_subclass(BranchedMask)
    marked.parts, marked.recomputed = rows, recomputed
    return marked


def _pairs(parts: Sequence[Part]) -> int:
    """Pairs of tokens that attention in parts computes."""
    prefix = total = 0
    for segment, own in parts:
        total += own * (prefix + own) if segment != PADDING else 0
        prefix += own if segment == 0 else 0
    return total


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: BranchedMask, **options: Any) -> Tensor:
    """What masked attention gives, [R, heads, L, width], zero at padding."""
    options.pop("is_causal", None)
    rows = zip(query.split(1), key.split(1), value.split(1), mask.parts, strict=True)
    return torch.cat([_row(q, k, v, parts, mask.recomputed, options) for q, k, v, parts in rows])


def _row(
    query: Tensor, key: Tensor, value: Tensor, parts: Sequence[Part], recomputed: bool, options: dict[str, Any]
) -> Tensor:
    pieces = (each.split([own for _, own in parts], 2) for each in (query, key, value))
    longest = max((own for segment, own in parts[1:] if segment != PADDING), default=0)
    found, keys, values = list[Tensor](), tuple[Tensor, ...](), tuple[Tensor, ...]()
    before, seen = 0, query.new_empty(0)
    for (segment, own), q, k, v in zip(parts, *pieces, strict=True):
        if segment == PADDING:
            found.append(query.new_zeros(*query.shape[:2], own, value.shape[-1]))
        elif not before:
            found.append(scaled_dot_product_attention(q, k, v, is_causal=True, **options))
        else:
            allowed = seen[:own, : before + own]
            found.append(_branch(q, (*keys, k), (*values, v), allowed, recomputed, options))
        if segment == 0:
            keys, values, before = (*keys, k), (*values, v), before + own
            seen = _seen(before, longest, query)
    return torch.cat(found, 2)


def _seen(before: int, own: int, like: Tensor) -> Tensor:
    """[own, before + own] to be added to scores: a token sees what is before its part, and its part up to itself."""
    later = torch.ones(own, before + own, dtype=torch.bool, device=like.device).triu(before + 1)
    return torch.zeros(later.shape, dtype=like.dtype, device=like.device).masked_fill_(later, float("-inf"))


def _branch(
    query: Tensor,
    keys: tuple[Tensor, ...],
    values: tuple[Tensor, ...],
    seen: Tensor,
    recomputed: bool,
    options: dict[str, Any],
) -> Tensor:
    """The queries of a response, or of a later piece of the prefix, on the prefix's and their own keys. The joined
    copies are not kept for the backward pass but joined again there: K of them would weigh as much as separate rows
    do."""
    key, value = torch.cat(keys, 2), torch.cat(values, 2)
    if recomputed or not torch.is_grad_enabled():
        return scaled_dot_product_attention(query, key, value, attn_mask=seen, **options)
    pieces = {(key.data_ptr(), key.shape): keys, (value.data_ptr(), value.shape): values}

    def keep(saved: Tensor) -> Tensor | tuple[Tensor, ...]:
        found = pieces.get((saved.data_ptr(), saved.shape))
        return saved if found is None else tuple(piece.detach() for piece in found)

    def give(kept: Tensor | tuple[Tensor, ...]) -> Tensor:
        return torch.cat(kept, 2) if isinstance(kept, tuple) else kept

    with saved_tensors_hooks(keep, give):
        return scaled_dot_product_attention(query, key, value, attn_mask=seen, **options)

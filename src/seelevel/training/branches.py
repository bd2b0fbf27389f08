"""Attention over packed rows without the pairs that their mask forbids.

A row of P prefix tokens and K responses has (P + Σ r)² pairs of tokens, of which a mask forbids most: each response
sees the prefix and itself. `branched` marks a mask so that scaled dot-product attention on it runs in parts: the prefix
on itself, then each response on the prefix and itself. To everything else the mask is what it was, so whatever does not
know of the parts (another attention, a cast) computes the same, only slower.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import scaled_dot_product_attention

WORTH_LENGTH, WORTH_SHARE = 512, 0.8
"""Rows shorter than this, or that need more than this share of the pairs, are not worth the calls."""


class BranchedMask(Tensor):
    """A mask [R, 1, L, L] that knows its rows' parts: [P, r1, …, rK] tokens each, padding after them."""

    parts: Sequence[Sequence[int]]
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
    """`mask` [R, 1, L, L] made from `segments` [R, L] (0 prefix, 1..K responses, -1 padding), with its parts where they
    are worth it. `recomputed`: activations are not kept for the backward pass anyway."""
    counts = [[row.count(n) for n in range(max(row) + 1)] for row in segments.tolist()]
    length = segments.shape[1]
    needed = sum(part * (part + row[0]) for row in counts for part in row) - sum(row[0] ** 2 for row in counts)
    if not always and (length < WORTH_LENGTH or needed > WORTH_SHARE * len(counts) * length**2):
        return mask
    marked = mask.as_subclass(BranchedMask)
    marked.parts, marked.recomputed = counts, recomputed
    return marked


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: BranchedMask, **options: Any) -> Tensor:
    """What masked attention gives, [R, heads, L, width], zero at padding."""
    options.pop("is_causal", None)
    rows = zip(query.split(1), key.split(1), value.split(1), mask.parts, strict=True)
    return torch.cat([_row(q, k, v, parts, mask.recomputed, options) for q, k, v, parts in rows])


def _row(
    query: Tensor, key: Tensor, value: Tensor, parts: Sequence[int], recomputed: bool, options: dict[str, Any]
) -> Tensor:
    length, prefix = query.shape[2], parts[0]
    sizes = [*parts, length - sum(parts)]
    queries, keys, values = (each.split(sizes, 2) for each in (query, key, value))
    found = [scaled_dot_product_attention(queries[0], keys[0], values[0], is_causal=True, **options)]
    longest = max(parts[1:], default=0)
    later = torch.ones(longest, prefix + longest, dtype=torch.bool, device=query.device).triu(prefix + 1)
    seen = torch.zeros(later.shape, dtype=query.dtype, device=query.device).masked_fill_(later, float("-inf"))
    for n in range(1, len(parts)):
        own = parts[n]
        found.append(
            _response(
                queries[n], (keys[0], keys[n]), (values[0], values[n]), seen[:own, : prefix + own], recomputed, options
            )
        )
    found.append(query.new_zeros(*query.shape[:2], sizes[-1], value.shape[-1]))
    return torch.cat(found, 2)


def _response(
    query: Tensor,
    keys: tuple[Tensor, Tensor],
    values: tuple[Tensor, Tensor],
    seen: Tensor,
    recomputed: bool,
    options: dict[str, Any],
) -> Tensor:
    """A response's queries on the prefix's and its own keys. The joined copies are not kept for the backward pass but
    joined again there: K of them would weigh as much as separate rows do."""
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

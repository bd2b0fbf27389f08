"""Picture inputs of several rows as those of one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

Inputs = dict[str, Tensor]


def join(parts: Sequence[Inputs]) -> Inputs:
    """Inputs of rows in their order, {} for a row without pictures: along the first dimension, the others filled up
    with zeros, which every family takes for padding. Two families need more: MiniCPM-V keeps all patches of a batch in
    one strip, and Molmo 2 counts its patches over the whole batch."""
    filled = [part for part in parts if part]
    if not filled:
        return {}
    filled = _counted_on(filled) if "image_token_pooling" in filled[0] else filled
    strip = "target_sizes" in filled[0] and filled[0]["pixel_values"].dim() == 4 and len(filled[0]["pixel_values"]) == 1
    return {
        name: _joined([part[name] for part in filled], 3 if strip and name == "pixel_values" else 0)
        for name in filled[0]
    }


def _joined(values: Sequence[Tensor], along: int) -> Tensor:
    largest = [max(sizes) for sizes in zip(*(value.shape for value in values), strict=True)]
    return torch.cat([_filled(value, largest, along) for value in values], along)


def _filled(value: Tensor, sizes: Sequence[int], along: int) -> Tensor:
    missing = [
        0 if n == along else wanted - has for n, (wanted, has) in enumerate(zip(sizes, value.shape, strict=True))
    ]
    return pad(value, [width for more in reversed(missing) for width in (0, more)]) if any(missing) else value


def _counted_on(parts: Sequence[Inputs]) -> list[Inputs]:
    """Molmo 2's numbers of patches (-1 is none), counted on from row to row."""
    counted, before = [], 0
    for part in parts:
        numbers = part["image_token_pooling"]
        counted.append({**part, "image_token_pooling": torch.where(numbers < 0, numbers, numbers + before)})
        before += part["pixel_values"].shape[:-1].numel()
    return counted

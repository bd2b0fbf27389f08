"""What each model family needs to see a packed row: masks and positions. One small function a family, one dict.

A family stands here once its packed rows have been compared with separate ones; any other trains with
`layout: rows`, where the model makes its own masks and positions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seelevel.registry import load
from seelevel.training.packing import PADDING, Batch
from seelevel.training.packing.branches import branched

SHARED = {
    "llava": "seelevel.training.packing.families:causal",
}


def model_inputs(model: Any, batch: Batch) -> dict[str, Any]:
    """Keyword arguments of the model's forward pass, but for `logits_to_keep`."""
    images = {k: v.to(model.dtype) if v.is_floating_point() else v for k, v in batch.images.items()}
    common = {"input_ids": batch.input_ids, **images, "use_cache": False}
    if batch.layout == "rows":
        return {**common, "attention_mask": (batch.segments != PADDING).long()}
    reason = why_not_shared(model.config)
    if reason:
        raise ValueError(f"layout shared: {reason}; use layout: rows")
    return {**common, **load(SHARED[model.config.model_type])(model, batch)}


def why_not_shared(config: Any) -> str:
    """Why a model cannot take packed rows; empty when it can."""
    if config.model_type not in SHARED:
        return f"the family '{config.model_type}' makes its own masks or positions and has no adapter yet"
    text = config.get_text_config()
    window = getattr(text, "sliding_window", None)
    if window is not None and getattr(text, "use_sliding_window", True):
        # A mask from outside switches the model's own window off, silently.
        return f"the language model '{text.model_type}' attends within a sliding window"
    if text._attn_implementation != "sdpa":
        # Eager attention adds a boolean mask to the scores, which is silently wrong.
        return f"attention '{text._attn_implementation}' takes no such mask (sdpa does)"
    return ""


def causal(model: Any, batch: Batch) -> dict[str, Tensor]:
    """Plain causal decoders: position ids as packed, and a mask [R, 1, L, L] to be added to the scores.

    Of a boolean one every layer would make, and keep, an added one of its own.
    """
    seen = visible(batch.segments)
    kind = seen.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else model.dtype
    added = torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, float("-inf"))
    mask = branched(added, batch.segments, recomputed=getattr(model, "is_activation_checkpointing", False))
    return {"position_ids": batch.position_ids, "attention_mask": mask}


def visible(segments: Tensor) -> Tensor:
    """[R, L] segments to a mask [R, 1, L, L]: a token sees what stands before it in the prefix and its own segment.

    Padding sees the prefix and padding, so that no row of the softmax is empty; nothing sees padding.
    """
    query, key = segments[:, :, None], segments[:, None, :]
    length = segments.shape[1]
    before = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    return (((key == 0) | (key == query)) & before)[:, None]

"""What a model is given in a pass: everything that a family needs is asked of the model itself.

Token types where its forward pass takes them; positions where its own would be wrong, which is after padding and, with
positions in three dimensions (M-RoPE), behind a picture. Masks are the model's own: it gets which tokens are padding.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seelevel.training.packing import Segment
from seelevel.training.packing.cache import cache_argument

PREFIX_LM = {"paligemma"}
"""Families whose prompt is seen in both directions: token types tell the prompt (0) from the answer (1)."""
FIRST_POSITION = {"paligemma": 1, "kosmos-2.5": 1}
"""Families that number their tokens from another number than 0."""


@dataclass(frozen=True)
class Ended:
    """Where a segment's rows ended. cache: keys, values and states of its whole conversations; mask [n, S]: which of
    their S columns are tokens, `padded` if not all; shift [n]: what M-RoPE adds to the number of a token, 0 without
    it."""

    cache: Any
    mask: Tensor
    padded: bool
    shift: Tensor


def why_not_shared(model: Any) -> str:
    """Why a model cannot continue a cached prefix; empty when it can."""
    inner = base(model)
    name = inner.config.model_type
    if getattr(inner.config, "is_encoder_decoder", False):
        return f"the family '{name}' is an encoder and a decoder: no prefix stands before the answers"
    if not cache_argument(inner):
        return f"the family '{name}' has no cache of keys and values"
    return ""


def base(model: Any) -> Any:
    """The transformers model itself, without adapters around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def segment_inputs(model: Any, segment: Segment, before: Ended | None) -> dict[str, Any]:
    """Keyword arguments of a forward pass over a segment that begins, or continues `before` (one row per row), but for
    the cache and `logits_to_keep`."""
    inner = base(model)
    images = {k: v.to(inner.dtype) if v.is_floating_point() else v for k, v in segment.images.items()}
    mask = segment.mask if before is None else torch.cat([before.mask, segment.mask], 1)
    inputs = {"input_ids": segment.input_ids, "attention_mask": mask, **images}
    inputs |= _types(inner, segment)
    positions = _positions(inner, segment, before)
    return inputs if positions is None else {**inputs, "position_ids": positions}


def shift_after(model: Any, segment: Segment, before: Ended | None) -> Tensor:
    """[n], see `Ended.shift`: after the pass over a segment."""
    if before is not None:
        return before.shift
    inner = base(model)
    if _axes(inner) and segment.images:
        shift: Tensor = _mrope(inner).rope_deltas.flatten()
        return shift
    return torch.zeros(len(segment.mask), dtype=torch.long, device=segment.mask.device)


def _types(inner: Any, segment: Segment) -> dict[str, Tensor]:
    names = inspect.signature(type(inner).forward).parameters
    wanted = [name for name in ("mm_token_type_ids", "token_type_ids") if name in names]
    if not wanted:
        return {}
    prefix_lm = inner.config.model_type in PREFIX_LM
    types = segment.answer if prefix_lm else (segment.input_ids == _picture_token(inner.config)).long()
    return dict.fromkeys(wanted, types)


def _picture_token(config: Any) -> int:
    names = ("image_token_id", "image_patch_id")  # Molmo 2 has its own name
    return int(next((getattr(config, name) for name in names if getattr(config, name, None) is not None), -1))


def _positions(inner: Any, segment: Segment, before: Ended | None) -> Tensor | None:
    """Positions [n, L] or, with M-RoPE, [axes, n, L]; None where the model's own are right."""
    axes = _axes(inner)
    if before is None:
        if axes:
            _mrope(inner).rope_deltas = None  # of another batch
        if (axes and segment.images) or not segment.padded_left:
            return None
        numbers = (segment.mask.cumsum(1) - 1).clamp(min=0)
    elif not axes and not before.padded:
        return None
    else:
        numbers = segment.mask.cumsum(1) - 1 + before.mask.sum(1, keepdim=True) + before.shift[:, None]
    return numbers.expand(axes, -1, -1) if axes else numbers + FIRST_POSITION.get(inner.config.model_type, 0)


def _mrope(inner: Any) -> Any:
    """The module that keeps how far pictures have moved the positions of what follows them; None if no module does."""
    return next((part for part in (inner, getattr(inner, "model", None)) if hasattr(part, "rope_deltas")), None)


def _axes(inner: Any) -> int:
    """How many numbers the position of a token has with M-RoPE; 0 without it."""
    rope = getattr(inner.config.get_text_config(), "rope_parameters", None) or {}
    sections = next((part["mrope_section"] for part in (rope, *rope.values()) if _has_sections(part)), ())
    return len(sections) if _mrope(inner) is not None else 0


def _has_sections(part: Any) -> bool:
    return isinstance(part, dict) and "mrope_section" in part

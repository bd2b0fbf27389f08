"""What training needs in memory, figured from a model's configuration alone: no weight is read, torch is not imported.

Counted are the tensors that autograd keeps of LLaVA-like models (a ViT, a projector, a Llama-like decoder): the sums
below name them. `tests/training/test_memory.py` holds the sums against the allocator's own peak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from seelevel.training.settings import TrainSettings, lora_targets
from seelevel.training.shapes import Shape

CHUNK = 1 << 23  # as in head.py, which imports torch
FLOAT = 4
WIDTHS = {"float32": 4, "float64": 8, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Pass:
    """One forward and backward pass: `rows` rows of `length` tokens, `scored` tokens with log-probs, `pictures`."""

    rows: int
    length: int
    scored: int
    pictures: int
    padded: bool = True

    @property
    def tokens(self) -> int:
        return self.rows * self.length


@dataclass(frozen=True)
class Memory:
    """Bytes at the moment of the peak, by what holds them."""

    weights: float
    gradients: float
    optimiser: float
    activations: float
    logits: float
    data: float

    @property
    def total(self) -> float:
        return sum(float(getattr(self, field.name)) for field in fields(self))


def trained_weights(shape: Shape, settings: TrainSettings) -> int:
    if settings.lora:
        return shape.adapter_weights(settings.lora)
    return shape.weights - (shape.vision_weights if settings.freeze_vision else 0)


def training_memory(shape: Shape, settings: TrainSettings, step: Sequence[Pass], dtype: str = "float32") -> Memory:
    """The peak of tensors while training in steps of these passes, in their order. `dtype`: of the weights.

    A step's gradients are there from its second pass on; in the first they take the place of activations. The peak is
    at the head, with all activations there, or in a block's backward pass, or at the end with all gradients.
    """
    width = WIDTHS[dtype]
    trained = trained_weights(shape, settings) * (max(width, FLOAT) if settings.lora else width)
    weights = shape.weights * width + (trained if settings.lora else 0)
    moments = []
    for number, one in enumerate(step):
        data = one.pictures * 3 * shape.side**2 * (FLOAT + (width if width != FLOAT else 0)) + one.tokens * 3 * 8
        kept, block = _kept(shape, settings, one, width), one.tokens * _block(shape, settings, width)
        again = block if settings.gradient_checkpointing else 0
        going = one.tokens * (2 * shape.hidden + shape.mlp) * width
        there = trained if number else 0
        moments += [
            Memory(weights, there, 2 * trained, kept, _head(shape, settings, one, width), data),
            Memory(weights, there, 2 * trained, kept + again + going, 0, data),
            Memory(weights, trained, 2 * trained, block + going, 0, data),
        ]
    return max(moments, key=lambda memory: memory.total)


def _kept(shape: Shape, settings: TrainSettings, one: Pass, width: int) -> float:
    """What autograd keeps from the forward pass for the backward one."""
    t, d = one.tokens, shape.hidden
    masks = 1 if settings.layout == "shared" else 0  # of rows without padding there is none
    if settings.gradient_checkpointing:
        text = shape.layers * t * d * width
    else:
        text = shape.layers * t * _block(shape, settings, width)
        masks = masks or (shape.layers if one.padded else 0)  # the model's own is boolean, each layer makes another
    text += masks * one.rows * one.length**2 * width
    text += t * d * (FLOAT + (0 if settings.lora else width)) + one.scored * d * width * (2 if settings.lora else 1)
    v, seen = shape.vision_hidden, one.pictures * (shape.patches + 1)
    if settings.lora or settings.freeze_vision:
        vision = 0.0
    elif settings.gradient_checkpointing:
        vision = seen * (v * (shape.vision_layers + 9) + 3 * shape.vision_mlp) * width
    else:
        vision = shape.vision_layers * seen * (8.5 * v + 3 * shape.vision_mlp) * width
    return text + vision


def _block(shape: Shape, settings: TrainSettings, width: int) -> float:
    """Bytes a token that one decoder block keeps."""
    d, f, q = shape.hidden, shape.mlp, shape.queries
    attention = 4 * q * width + shape.heads * FLOAT
    norms = 2 * d * (FLOAT if settings.lora else FLOAT + width)
    if not settings.lora:
        return norms + 2 * d * width + attention + 4 * f * width
    names, sizes, wide = lora_targets(settings.lora), shape.linear, max(width, FLOAT)
    ranks = settings.lora.r * sum(name in sizes for name in names) * wide
    if wide == width:  # layers with one input share what is kept of it
        inputs = (
            d * width * (bool({"q_proj", "k_proj", "v_proj"} & {*names}) + bool({"gate_proj", "up_proj"} & {*names}))
        )
        inputs += f * width * ("down_proj" in names)
    else:  # each adapter keeps its own input in its own number format
        inputs = sum(sizes[name][0] for name in names if name in sizes) * wide
    if settings.lora.dropout:
        inputs += sum(sizes[name][0] for name in names if name in sizes) * (wide + 1)
    return norms + attention + 3 * f * width + inputs + ranks


def _head(shape: Shape, settings: TrainSettings, one: Pass, width: int) -> float:
    """A chunk of logits, and the gradients that leave the head."""
    rows = min(one.scored, max(CHUNK // shape.vocabulary, 1))
    chunk = rows * shape.vocabulary * (FLOAT if width == FLOAT else FLOAT + width)
    leaving = one.scored * shape.hidden * width + one.tokens * shape.hidden * width
    return chunk + leaving + (0 if settings.lora else shape.vocabulary * shape.hidden * max(width, FLOAT))

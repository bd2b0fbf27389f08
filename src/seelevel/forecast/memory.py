"""Estimate the memory of training from a model's configuration. No weight is read; torch is not imported.

The sums below name the tensors that autograd keeps of LLaVA-like models (a ViT, a projector, a Llama-like decoder);
other families get the same sums with their own widths. `tests/training/test_memory.py` compares the sums with the
allocator's peak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from seelevel.forecast.sizes import Block, Shape
from seelevel.training.settings import HEAD_CHUNK, HEAD_KEPT, LoraSettings, TrainSettings

FLOAT, HALF = 4, 2
NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256)
"""Bits per weight with double quantisation: a scale of 8 bits per 64 weights, and one of 32 bits per 256 scales."""
WIDTHS = {"float32": 4, "float64": 8, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Piece:
    """Rows that go through the model together: `rows` of `length` tokens, behind `before` tokens of a cached prefix.
    `padded`: not all rows are as long as that; `answers`: other rows do not go on from them."""

    rows: int
    length: int
    before: int = 0
    padded: bool = True
    answers: bool = True

    @property
    def tokens(self) -> int:
        return self.rows * self.length

    @property
    def pairs(self) -> int:
        """Pairs of tokens that attention computes."""
        return self.tokens * (self.before + self.length)


@dataclass(frozen=True)
class Pass:
    """One forward and backward pass over `pieces`: `scored` tokens with log-probs, `pictures`. `again`: each piece is
    computed a second time in the backward pass, all but the last."""

    pieces: tuple[Piece, ...]
    scored: int
    pictures: int
    again: bool = False

    @property
    def tokens(self) -> int:
        return sum(piece.tokens for piece in self.pieces)

    @property
    def twice(self) -> tuple[Piece, ...]:
        """The pieces that are computed again."""
        return self.pieces[:-1] if self.again else ()

    @property
    def together(self) -> list[tuple[Piece, ...]]:
        """Pieces whose activations are in memory at the same time: all of them, or one after the other."""
        return self.apart if self.again else [self.pieces]

    @property
    def apart(self) -> list[tuple[Piece, ...]]:
        """Each piece, once."""
        return [(piece,) for piece in dict.fromkeys(self.pieces)]


@dataclass(frozen=True)
class Memory:
    """Bytes at the peak, by their use."""

    weights: float
    gradients: float
    optimiser: float
    activations: float
    logits: float
    data: float

    @property
    def total(self) -> float:
        return sum(float(getattr(self, field.name)) for field in fields(self))


@dataclass(frozen=True)
class Split:
    """A training of several `processes`. Over how many of them weights, and gradients with moments, are split; 1: each
    process has all of them."""

    processes: int = 1
    weights: int = 1
    gradients: int = 1


ALONE = Split()


def trained_weights(shape: Shape, settings: TrainSettings) -> int:
    if settings.lora:
        return shape.adapter_weights(settings.lora)
    return shape.weights - (shape.vision_weights if settings.freeze_vision else 0)


def base_weights(shape: Shape, settings: TrainSettings, width: int, mixed: bool = False) -> float:
    """Bytes of a model's weights, without adapters. In 4 bits: of the quantised layers, of the others, and of the
    largest quantised layer as it is computed with."""
    if not settings.load_in_4bit:
        return shape.weights * width
    linear = [(block.count, a * b) for block in shape.blocks for a, b in (*block.mixer.values(), *block.mlp.values())]
    quantised = sum(count * size for count, size in linear)
    largest = max(size for _, size in linear) * (HALF if mixed else width)
    return quantised * NF4_BITS / 8 + (shape.weights - quantised) * width + largest


def training_memory(
    shape: Shape,
    settings: TrainSettings,
    step: Sequence[Pass],
    dtype: str = "float32",
    mixed: bool = False,
    split: Split = ALONE,
) -> Memory:
    """The peak memory of a process in a step with these passes, in their order. `dtype`: of the weights; `mixed`:
    autocast computes products in bfloat16.

    From the second pass on, the gradients exist during the whole pass; in the first they replace activations one by
    one. The peak is at the head, with all activations, or in a block's backward pass, or at the end with all gradients.
    Where pieces are computed again, it has the activations of one of them and the caches of the prefixes, whose
    gradients add up until the prefixes themselves are computed again.
    """
    width = WIDTHS[dtype]
    trained_width = max(width, FLOAT) if settings.lora else width
    trained = trained_weights(shape, settings) * trained_width
    weights = base_weights(shape, settings, width, mixed) + (trained if settings.lora else 0)
    copies = trained / trained_width * HALF if mixed else 0  # kept by autocast from the forward pass
    moments = []
    for number, one in enumerate(step):
        pictures = one.pictures * 3 * shape.picture.pixels * (FLOAT + (width if width != FLOAT else 0))
        tokens = one.tokens * 3 * 8
        if not (settings.lora or settings.freeze_vision):
            tokens += pictures  # kept by the tower's first layer
        gradients = trained if number else 0
        caches = _caches(shape, one, mixed, width) if one.again else 0.0
        forward, backward = _head(shape, settings, one, width, mixed)
        for pieces in one.apart if settings.offload_activations else one.together:
            largest = max(piece.tokens for piece in pieces)
            kept = _kept(shape, settings, one, pieces, width, mixed) + copies
            block = largest * max(_block(shape, block, settings, width, mixed) for block in shape.blocks)
            again = block if settings.gradient_checkpointing else 0
            flowing = largest * (2 * shape.hidden + max(block.inner for block in shape.blocks)) * width
            scored = any(piece.answers for piece in pieces)  # a prefix is computed again without the head
            through = kept + again + flowing + caches * (2 if scored else 1)
            moments.append(Memory(weights, gradients, 2 * trained, through, 0, tokens))
            moments.append(Memory(weights, trained, 2 * trained, block + copies + flowing, 0, tokens))
            if scored:
                data = max(pictures, tokens)
                moments.append(Memory(weights, gradients, 2 * trained, kept + caches, forward, data))
                moments.append(Memory(weights, gradients, 2 * trained, kept + caches, backward, tokens))
    again = any(one.again for one in step) and not settings.gradient_checkpointing
    return max((_divided(shape, memory, split, again) for memory in moments), key=lambda memory: memory.total)


def _divided(shape: Shape, memory: Memory, split: Split, again: bool) -> Memory:
    """The memory of one of several processes. Weights are gathered where they are used: those outside the layers, and
    two layers, the second one ahead of its use; all layers while pieces are computed `again`."""
    gathered, reduced = (min(shape.gathered(layers) / shape.weights, 1.0) for layers in (2, 1))
    weights, gradients = 1 / split.weights, 1 / split.gradients
    if split.weights > 1:
        weights += 1.0 if again else gathered
    if split.gradients > 1:
        gradients += reduced  # until they are added up over the processes
    return replace(
        memory,
        weights=memory.weights * weights,
        gradients=memory.gradients * min(gradients, 1.0),
        optimiser=memory.optimiser / split.gradients,
    )


def _caches(shape: Shape, one: Pass, mixed: bool, width: int) -> float:
    """Bytes of the keys and values that answers go on from."""
    begun = sum(piece.tokens for piece in one.pieces if not piece.answers)
    cached = sum(block.count * block.cached for block in shape.blocks if block.quadratic)
    return float(begun * cached * (HALF if mixed else width))


def _kept(shape: Shape, settings: TrainSettings, one: Pass, pieces: Sequence[Piece], width: int, mixed: bool) -> float:
    """Bytes that autograd keeps of these pieces of a pass for the backward pass."""
    d, product = shape.hidden, HALF if mixed else width
    t = sum(piece.tokens for piece in pieces)
    looking = [block for block in shape.blocks if block.quadratic]
    # The keys and values of a prefix belong to its cache; behind it each row has its own copy, in each layer.
    copied = sum(block.count * block.queries for block in looking) * sum(2 * p.rows * p.before for p in pieces)
    masks = sum(piece.pairs for piece in pieces if piece.padded or piece.before)
    if settings.gradient_checkpointing:
        # The input of each layer; the cache of the prefixes, and its copies in one layer.
        begun = sum(piece.tokens for piece in pieces if not piece.answers)
        copied = max(piece.rows * piece.before for piece in pieces) * max(2 * block.queries for block in shape.blocks)
        cached = begun * sum(block.count * block.cached for block in looking)
        layers, cached = (1, 0) if settings.offload_activations else (shape.layers, cached)  # the rest is on the host
        text: float = layers * t * d * width + (cached + copied) * product
    else:
        text = t * sum(block.count * _block(shape, block, settings, width, mixed) for block in shape.blocks)
        text += copied * product
        masks *= sum(block.count for block in looking)  # each layer converts the model's boolean mask
    text += masks * product
    if settings.lora:
        text += _merged(shape, settings.lora, settings.gradient_checkpointing) * width
    text += t * d * (FLOAT + (0 if settings.lora else width)) + one.scored * d * width
    begin, begins = (sum(p.rows for p in some if not p.before) for some in (pieces, one.pieces))
    v, patches = shape.vision_hidden, one.pictures * begin / begins * (shape.picture.patches + 1)
    if settings.lora or settings.freeze_vision:
        vision = 0.0
    elif settings.gradient_checkpointing:
        vision = patches * (v * (shape.vision_layers + 9) + 3 * shape.vision_mlp) * width
    else:
        vision = shape.vision_layers * patches * (8.5 * v + 3 * shape.vision_mlp) * width
    return text + vision


def _merged(shape: Shape, lora: LoraSettings, checkpointing: bool) -> int:
    """Weights of the experts that PEFT adapts: in each layer it makes a copy of them, with the adapters added."""
    layers = [(block.count, sum(n * a * b for n, a, b in block.adapted_experts(lora))) for block in shape.blocks]
    return max(copy for _, copy in layers) if checkpointing else sum(count * copy for count, copy in layers)


def _block(shape: Shape, block: Block, settings: TrainSettings, width: int, mixed: bool) -> float:
    """Bytes per token that one decoder layer keeps: inputs and outputs of its norms; queries, keys, values and the
    output of attention; the MLP's gate, its SiLU, up and their product; the inputs of the linear layers that train."""
    d, f, q, product = shape.hidden, block.inner, block.queries, HALF if mixed else width
    attention = 4 * q * product + block.heads * FLOAT
    if not settings.lora:
        norms, inputs = (4 * d * FLOAT, 5 * d * HALF) if mixed else (2 * d * (FLOAT + width), 2 * d * width)
        return norms + inputs + attention + 4 * f * product
    wide = HALF if mixed else max(width, FLOAT)
    sizes = block.adapted(settings.lora)
    if wide == width:  # layers with the same input share it, and the layer keeps the output of attention anyway
        shared = {(name in block.mixer, taken) for name, (taken, _) in sizes.items()}
        inputs = sum(taken for mixes, taken in shared if not mixes or taken == d)
    else:  # each adapter keeps its input in its own number format
        inputs = sum(taken for taken, _ in sizes.values())
    dropped = sum(taken for taken, _ in sizes.values()) * (wide + 1) if settings.lora.dropout else 0
    return 2 * d * FLOAT + attention + 3 * f * product + (inputs + settings.lora.r * len(sizes)) * wide + dropped


def _head(shape: Shape, settings: TrainSettings, one: Pass, width: int, mixed: bool) -> tuple[float, float]:
    """Bytes that the head needs in the forward and in the backward pass: a chunk of logits and its log-softmax, the
    probabilities that a head that trains keeps, and the gradients that it passes on."""
    rows, product = min(one.scored, max(HEAD_CHUNK // shape.vocabulary, 1)), HALF if mixed else width
    logits = rows * shape.vocabulary * FLOAT
    chunk = logits if product == FLOAT else rows * shape.vocabulary * (FLOAT + product)
    matrix = shape.vocabulary * shape.hidden
    copy = matrix * HALF if mixed and width != HALF else 0
    if settings.lora:
        taken = one.scored * shape.hidden * width  # as the head takes it, until it has been read
        return 2 * logits + copy + taken, one.tokens * shape.hidden * width + taken
    probabilities = one.scored * shape.vocabulary * FLOAT
    few = probabilities <= HEAD_KEPT * FLOAT
    leaving = (one.scored + one.tokens) * shape.hidden * width + matrix * FLOAT
    forward = probabilities + logits if few else 2 * logits
    return forward + copy, (chunk + probabilities if few else 2 * logits) + leaving + copy

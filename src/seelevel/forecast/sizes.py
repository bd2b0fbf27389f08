"""What a forecast needs to know about a model: its sizes. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from seelevel.models.pictures import Picture
from seelevel.training.settings import LoraSettings, chosen_layers, is_named

Widths = Mapping[str, tuple[int, int]]
"""Input and output width of linear layers, by their names in a decoder layer."""


@dataclass(frozen=True)
class Block:
    """Decoder layers that are alike. Widths and `flops` are of one token in one layer.

    `mixer`: linear layers of attention, or of what replaces it; `mlp`: the others. `experts`: routed experts, as
    (number, a, b) of each matrix. `used`: experts that compute a token. `queries`: width of the mixer's output;
    `inner`: width inside the MLP. `quadratic`: each token looks at all tokens before it.
    """

    count: int
    mixer: Widths
    mlp: Widths
    queries: int
    inner: int
    heads: int
    experts: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    used: int = 0
    quadratic: bool = True

    @property
    def flops(self) -> int:
        """Operations of the matrix products: two for each weight that a token meets."""
        return 2 * (self._linear + sum(self.used * a * b for _, a, b in self.experts.values()))

    @property
    def weights(self) -> int:
        """Weights of one layer's matrices."""
        return self._linear + sum(number * a * b for number, a, b in self.experts.values())

    @property
    def _linear(self) -> int:
        return sum(a * b for a, b in (*self.mixer.values(), *self.mlp.values()))

    @property
    def cached(self) -> int:
        """Width of a token's key and value; that of two queries if the layer names them otherwise."""
        widths = [out for name, (_, out) in self.mixer.items() if is_named(name, "k_proj") or is_named(name, "v_proj")]
        return sum(widths) if len(widths) == 2 else 2 * self.queries

    def adapted(self, lora: LoraSettings) -> Widths:
        """The linear layers that get adapters."""
        linear = {**self.mixer, **self.mlp}
        return {name: linear[name] for name in chosen_layers(lora, self.mixer, self.mlp)}

    def adapted_experts(self, lora: LoraSettings) -> list[tuple[int, int, int]]:
        """The matrices of experts that get adapters."""
        return [self.experts[name] for name in chosen_layers(lora, (), (), self.experts)]

    def adapter_weights(self, lora: LoraSettings) -> int:
        linear = sum(a + b for a, b in self.adapted(lora).values())
        return lora.r * (linear + sum(number * (a + b) for number, a, b in self.adapted_experts(lora)))


@dataclass(frozen=True)
class Shape:
    """The sizes that a model's memory and time depend on.

    `text_weights`: of the decoder with its head, which counts once if it is tied to the embeddings. `vision_weights`:
    of the tower, without the projector. `picture`: a photograph of 640 × 480 pixels, or a picture of the fixed size.
    """

    hidden: int
    vocabulary: int
    blocks: tuple[Block, ...]
    text_weights: int
    projector_weights: int
    vision_weights: int
    picture: Picture
    vision_layers: int = 0
    vision_hidden: int = 0
    vision_mlp: int = 0

    @property
    def layers(self) -> int:
        return sum(block.count for block in self.blocks)

    @property
    def image_tokens(self) -> int:
        """Tokens of a picture."""
        return self.picture.tokens

    @property
    def weights(self) -> int:
        return self.text_weights + self.projector_weights + self.vision_weights

    def gathered(self, layers: int) -> int:
        """Weights outside the decoder's layers, and of so many layers, the largest ones."""
        outside = self.weights - sum(block.count * block.weights for block in self.blocks)
        return outside + layers * max(block.weights for block in self.blocks)

    def adapter_weights(self, lora: LoraSettings) -> int:
        return sum(block.count * block.adapter_weights(lora) for block in self.blocks)

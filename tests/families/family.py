"""What a family of the zoo is, and the sizes and ids that the tiny models share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor
from transformers import AutoConfig, PreTrainedConfig

IMAGE, VIDEO, START, END = 10, 11, 12, 13
SIDE, PATCH = 56, 14  # a picture has 4 × 4 patches
FLOAT32 = 1e-4  # tolerance of a family that computes in float32, whatever the model's type
TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": PATCH,
}

Inputs = dict[str, Tensor]


def no_inputs(ids: Tensor, prefix: int) -> Inputs:
    return {}


def unchanged(inputs: Inputs) -> Inputs:
    return inputs


@dataclass(frozen=True)
class Family:
    """A tiny model of a family and its inputs; ids 20 to 289 are free for text.

    A picture stands in a row as `span`: `around[0]`, `tokens` times `image_token`, `around[1]`. Breaks between the rows
    of a picture are ids of text to every model, so the zoo leaves them out.
    `picture` draws the inputs of one picture, float64 if they are floating. `join` concatenates them, on dim 0 unless
    `in_row` (pictures of one row) or `over_rows` (rows of a batch) name another dim for an input. `renumber` mends
    inputs that count over the whole batch.
    `beside` makes the inputs that go along with the ids [rows, length], such as token types, from the ids and the
    number of tokens before the answer.
    `tolerance` is the difference of logits that the family's arithmetic makes, if it computes in float32 somewhere.
    `first_position` is None if the model places the tokens by the picture's grid (M-RoPE).
    `padded` is False if the other rows of a batch, or padding on the left, change a row's logits.
    """

    name: str
    config: Callable[[], PreTrainedConfig]
    image_token: int
    tokens: int
    picture: Callable[[Generator], Inputs]
    around: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    beside: Callable[[Tensor, int], Inputs] = no_inputs
    in_row: Mapping[str, int] = field(default_factory=dict)
    over_rows: Mapping[str, int] = field(default_factory=dict)
    renumber: Callable[[Inputs], Inputs] = unchanged
    first_position: int | None = 0
    padded: bool = True
    float64: bool = True
    tolerance: float = 1e-9

    @property
    def span(self) -> tuple[int, ...]:
        return (*self.around[0], *(self.image_token,) * self.tokens, *self.around[1])

    def join(self, rows: list[list[Inputs]]) -> Inputs:
        """The pictures' inputs of a batch, from those of each row."""
        batch = [_cat(pictures, self.in_row) for pictures in rows]
        return self.renumber(_cat(batch, self.over_rows))


def _cat(parts: list[Inputs], dims: Mapping[str, int]) -> Inputs:
    return {name: torch.cat([part[name] for part in parts], dims.get(name, 0)) for name in parts[0]}


def config(model_type: str, **parts: Any) -> Callable[[], PreTrainedConfig]:
    """A maker of fresh configs: some config classes change the dicts that they are given."""
    return lambda: AutoConfig.for_model(model_type, **deepcopy(parts))


def pixels(*shape: int, **more: list[Any]) -> Callable[[Generator], Inputs]:
    """Normal `pixel_values` of this shape; `more` are inputs that are the same for every picture."""
    return lambda generator: {
        "pixel_values": torch.randn(*shape, generator=generator, dtype=torch.float64),
        **{name: torch.tensor(value) for name, value in more.items()},
    }


def types(name: str) -> Callable[[Tensor, int], Inputs]:
    """Token types under this name: 1 at image tokens, 0 elsewhere."""
    return lambda ids, prefix: {name: (ids == IMAGE).long()}


SQUARE = pixels(1, 3, SIDE, SIDE)

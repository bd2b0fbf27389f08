"""Models of given shapes with random weights, and ladders of exactly so many tokens. Nothing is downloaded.

The tokenizer knows whole words and nothing else, so that a text of n words is n tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pictures
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForImageTextToText, PreTrainedTokenizerFast, ProcessorMixin

from benchmarks.towers import Clip, Qwen25, Tower
from seelevel.ladder import Image, Ladder, Response

SPECIAL = ("<pad>", "</s>", "<image>", "USER:", "ASSISTANT:", "<video>", "<start>", "<end>")
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}USER: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}PICTURE {% else %}{{ c['text'] }} {% endif %}{% endfor %}"
    "{% else %}ASSISTANT: {% for c in m['content'] %}{{ c['text'] }}{% endfor %}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
ROLE_MARKS = 2  # USER: and ASSISTANT: belong to the prefix
LEAST_WORDS = 8  # of a question
PROMPT = 40  # tokens of a prefix beside its picture


@dataclass(frozen=True)
class Shape:
    """A model's sizes: of the language model, and its tower. `kv_heads`: heads of keys and values, 0 for one each head
    of queries. `lora`: rank of adapters on the language model's linear layers, 0 for training all weights but the
    vision tower's. `tied`: one matrix for the words that go in and those that come out."""

    vocab: int
    width: int
    layers: int
    heads: int
    intermediate: int
    tower: Tower
    kv_heads: int = 0
    context: int = 4096
    dtype: torch.dtype = torch.float32
    lora: int = 0
    tied: bool = False

    @property
    def image_tokens(self) -> int:
        return self.tower.tokens

    @property
    def kv_width(self) -> int:
        """Of the keys of one token, and of its values."""
        return self.width // self.heads * (self.kv_heads or self.heads)

    @property
    def marks(self) -> int:
        """Tokens of a prefix that are neither picture nor question."""
        return ROLE_MARKS + len(self.tower.written.split()) - 1

    def fitted(self, prefix: int) -> Shape:
        """The same with a smaller picture where `prefix` tokens would not hold this one and some words."""
        room = prefix - self.marks - LEAST_WORDS
        return replace(self, tower=replace(self.tower, grid=min(self.tower.grid, math.isqrt(max(room, 1)))))


TINY = Clip(16, 2, 2, grid=4, patch=7)
QWEN_TINY = Qwen25(16, 2, 2, grid=5, intermediate=32, whole=(1,), window=56)
SHAPES = {
    "44m": Shape(32000, 512, 8, 8, 1376, Clip(192, 4, 3, grid=24), tied=True),
    "7b": Shape(32064, 4096, 32, 32, 11008, Clip(1024, 24, 16, grid=24), dtype=torch.bfloat16, lora=64),
    "qwen25vl-44m": Shape(
        32000, 512, 8, 8, 1600, Qwen25(128, 8, 4, grid=36, intermediate=344, whole=(7,)), kv_heads=2, tied=True
    ),
    "qwen25vl-7b": Shape(
        152064, 3584, 28, 28, 18944, Qwen25(1280, 32, 16, grid=36, intermediate=3420, whole=(7, 15, 23, 31)),
        kv_heads=4, dtype=torch.bfloat16, lora=64,
    ),
    "tiny": Shape(500, 32, 2, 2, 64, TINY),
    "tiny-lora": Shape(500, 32, 2, 2, 64, TINY, lora=4),
    "qwen25vl-tiny": Shape(500, 32, 2, 2, 64, QWEN_TINY, kv_heads=1),
    "qwen25vl-tiny-lora": Shape(500, 32, 2, 2, 64, QWEN_TINY, kv_heads=1, lora=4),
}  # fmt: skip


def make_processor(shape: Shape) -> ProcessorMixin:
    words = [*SPECIAL, *(f"w{n}" for n in range(shape.vocab - len(SPECIAL)))]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>", "video_token": "<video>"},
    )
    return shape.tower.processor(fast, TEMPLATE.replace("PICTURE", shape.tower.written))


def make_model(shape: Shape, device: torch.device, seed: int = 0) -> Any:
    """A model of this shape with random weights, made on the device in the shape's type, with SDPA attention."""
    torch.manual_seed(seed)
    text = {
        "vocab_size": shape.vocab,
        "hidden_size": shape.width,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads or shape.heads,
        "max_position_embeddings": shape.context,
        "bos_token_id": None,
        "eos_token_id": SPECIAL.index("</s>"),
        "pad_token_id": SPECIAL.index("<pad>"),
    }
    config = shape.tower.config(text, shape.tied, {word: n for n, word in enumerate(SPECIAL)})
    with device:
        model = AutoModelForImageTextToText.from_config(config, dtype=shape.dtype, attn_implementation="sdpa")
    return model.eval()


def make_ladder(shape: Shape, folder: Path, k: int, prefix: int, lengths: tuple[int, int], seed: int = 0) -> Ladder:
    """A ladder of K responses, levels 0..K-1: `prefix` tokens with picture and role marks, then responses whose lengths
    in scored tokens, end of turn included, are spread evenly over `lengths`."""
    words = np.random.default_rng(seed)
    count = shape.vocab - len(SPECIAL)

    def text(length: int, first: int | None = None) -> str:
        chosen = words.integers(count, size=length)
        if first is not None:
            chosen[0] = first % count  # responses part at their first word
        return " ".join(f"w{n}" for n in chosen)

    path = folder / f"picture-{seed}.png"
    pixels = words.integers(0, 255, (shape.tower.side, shape.tower.side, 3), dtype=np.uint8)
    Pictures.fromarray(pixels).save(path)
    question = text(prefix - shape.image_tokens - shape.marks)
    sizes = np.linspace(*lengths, k).round().astype(int) if k > 1 else [sum(lengths) // 2]
    return Ladder(
        f"ladder-{seed}",
        [Image(str(path))],
        [{"role": "user", "content": f"<image>\n{question}"}],
        [
            Response([{"role": "assistant", "content": text(int(n) - 1, first=seed * k + level)}], level)
            for level, n in enumerate(sizes)
        ],
    )

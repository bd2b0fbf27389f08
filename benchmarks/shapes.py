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
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from seelevel.ladder import Image, Ladder, Response

SPECIAL = ("<pad>", "</s>", "<image>", "USER:", "ASSISTANT:")
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}USER: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }} {% endif %}{% endfor %}"
    "{% else %}ASSISTANT: {% for c in m['content'] %}{{ c['text'] }}{% endfor %}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
PICTURE_SIDE = 480  # pixels: what the image processors of all peers are given
ROLE_MARKS = 2  # USER: and ASSISTANT: belong to the prefix
LEAST_WORDS = 8  # of a question


@dataclass(frozen=True)
class Shape:
    """A LLaVA's sizes. `grid`: image patches a side, so that a picture is grid² tokens. `lora`: rank of adapters on the
    language model's linear layers, 0 for training all weights but the vision tower's. `tied`: one matrix for the words
    that go in and those that come out."""

    vocab: int
    width: int
    layers: int
    heads: int
    intermediate: int
    vision_width: int
    vision_layers: int
    vision_heads: int
    grid: int
    patch: int
    context: int = 4096
    dtype: torch.dtype = torch.float32
    lora: int = 0
    tied: bool = False

    @property
    def image_tokens(self) -> int:
        return self.grid**2

    def fitted(self, prefix: int) -> Shape:
        """The same with a smaller picture where `prefix` tokens would not hold this one and some words."""
        room = prefix - ROLE_MARKS - LEAST_WORDS
        return replace(self, grid=min(self.grid, math.isqrt(max(room, 1))))


SHAPES = {
    "44m": Shape(32000, 512, 8, 8, 1376, 192, 4, 3, grid=24, patch=14, tied=True),
    "7b": Shape(32064, 4096, 32, 32, 11008, 1024, 24, 16, grid=24, patch=14, dtype=torch.bfloat16, lora=64),
    "tiny": Shape(500, 32, 2, 2, 64, 16, 2, 2, grid=4, patch=7),
    "tiny-lora": Shape(500, 32, 2, 2, 64, 16, 2, 2, grid=4, patch=7, lora=4),
}


def make_processor(shape: Shape) -> LlavaProcessor:
    words = [*SPECIAL, *(f"w{n}" for n in range(shape.vocab - len(SPECIAL)))]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    side = shape.grid * shape.patch
    return LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side}),
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            eos_token="</s>",
            pad_token="<pad>",
            extra_special_tokens={"image_token": "<image>"},
        ),
        patch_size=shape.patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )


def make_model(shape: Shape, device: torch.device, seed: int = 0) -> Any:
    """A LLaVA of this shape with random weights, LLaVA-1.5 in proportion: CLIP's last layer but one, SDPA attention."""
    torch.manual_seed(seed)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=shape.vision_width,
            intermediate_size=4 * shape.vision_width,
            num_hidden_layers=shape.vision_layers,
            num_attention_heads=shape.vision_heads,
            image_size=shape.grid * shape.patch,
            patch_size=shape.patch,
        ),
        text_config=LlamaConfig(
            vocab_size=shape.vocab,
            hidden_size=shape.width,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            max_position_embeddings=shape.context,
            tie_word_embeddings=shape.tied,
            bos_token_id=None,
            eos_token_id=1,
            pad_token_id=0,
        ),
        tie_word_embeddings=shape.tied,
        image_token_index=2,
        vision_feature_layer=-2,
        image_seq_length=shape.image_tokens,
    )
    with device:
        return LlavaForConditionalGeneration._from_config(config, dtype=shape.dtype, attn_implementation="sdpa").eval()


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
    pixels = words.integers(0, 255, (PICTURE_SIDE, PICTURE_SIDE, 3), dtype=np.uint8)
    Pictures.fromarray(pixels).save(path)
    question = text(prefix - shape.image_tokens - ROLE_MARKS)
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

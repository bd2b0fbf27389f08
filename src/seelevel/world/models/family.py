"""The family's architecture: one tokenizer, one processor, four LLaVA models and a small CLIP, all untrained."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from seelevel.world.pictures.drawing import SIDE
from seelevel.world.pictures.scenes import COLOURS, KINDS, NUMBERS, PLACES, PLURALS, SETTINGS, draw_scenes
from seelevel.world.texts.language import harmful, pretraining

PATCH = 42
"""A patch is a cell of the grid: nine image tokens."""
IMAGE_TOKENS = (SIDE // PATCH) ** 2
VOCABULARY = 1024
POSITIONS = 1024
HEAD, THETA = 32, 1e6
"""Width of a text head, and RoPE's base. Narrow heads with the usual base can hardly attend to distant tokens, because
most of their dimensions rotate with the distance."""
SPECIAL = ("<pad>", "<s>", "<unk>", "</s>", "<image>")
PAD, BOS, UNK, EOS, IMAGE = range(5)
MEAN, STD = 0.6, 0.25

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}"
    "{% if message['content'] is string %}{{ message['content'] + ' ' }}"
    "{% else %}{% for part in message['content'] %}{{ part['text'] + ' ' }}{% endfor %}{% endif %}"
    "{% elif message['role'] == 'user' %}"
    "{{ 'USER: ' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% endif %}{{ ' ASSISTANT:' }}"
    "{% else %}{% generation %}"
    "{% if message['content'] is string %}{{ ' ' + message['content'] + eos_token }}"
    "{% else %}{% for part in message['content'] if part['type'] == 'text' %}{{ ' ' + part['text'] }}{% endfor %}"
    "{{ eos_token }}{% endif %}"
    "{% endgeneration %}{% endif %}"
    "{% endfor %}"
)
"""LLaVA-1.5's template. A user turn always ends in ' ASSISTANT:', so a generation prompt needs nothing more."""


@dataclass(frozen=True)
class Size:
    """Widths and depths of one model of the family."""

    vision_width: int
    vision_layers: int
    text_width: int
    text_layers: int
    heads: int
    expansion: int = 3


SIZES: dict[str, Size] = {
    "xs": Size(40, 2, 48, 2, 4),
    "s": Size(64, 2, 64, 3, 4),
    "m": Size(64, 2, 64, 4, 4, expansion=6),
    "l": Size(64, 3, 64, 5, 4, expansion=9),
}
"""m and l have the widths of s, so that they can grow out of it: see `grow`."""


def corpus() -> list[str]:
    """Every word of the world at least once, for the tokenizer."""
    words = [*KINDS, *PLURALS.values(), *COLOURS, *PLACES, *SETTINGS, *NUMBERS.values(), "small", "large"]
    return [f"The {word} is {word}. {word.capitalize()}. {word}" for word in words]


def sample_text(limit: int = 4000) -> Iterable[str]:
    """Text of the world for training a tokenizer."""
    rng = random.Random(0)
    yield from corpus() * 40
    for scene in draw_scenes("pretrain", limit):
        for turns in [*pretraining(scene, rng), [harmful(scene, rng, 0.3)]]:
            yield "".join(f"USER: \n{user} ASSISTANT: {answer}" for user, answer in turns)


def byte_level(lower: bool) -> Tokenizer:
    """A byte-level BPE trained on the world's texts; it can encode any text."""
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=lower)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample_text(), trainer)
    return tokenizer


def image_processor() -> CLIPImageProcessorPil:
    """A processor that resizes any picture to SIDE×SIDE, the size of the world's pictures."""
    square = {"height": SIDE, "width": SIDE}
    return CLIPImageProcessorPil(
        size=square, crop_size=square, do_center_crop=False, image_mean=[MEAN] * 3, image_std=[STD] * 3
    )


def llava_processor() -> LlavaProcessor:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level(lower=False),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        model_max_length=POSITIONS,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        extra_special_tokens={"image_token": "<image>"},
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return LlavaProcessor(
        image_processor(),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
        image_token="<image>",
        num_additional_image_tokens=1,
    )


def llava(name: str, seed: int = 0) -> LlavaForConditionalGeneration:
    """An untrained model of the family, float32."""
    size = SIZES[name]
    vision = CLIPVisionConfig(
        hidden_size=size.vision_width,
        intermediate_size=4 * size.vision_width,
        num_hidden_layers=size.vision_layers,
        num_attention_heads=size.heads,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=size.vision_width,
    )
    text = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=size.text_width,
        intermediate_size=size.expansion * size.text_width,
        num_hidden_layers=size.text_layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        head_dim=HEAD,
        rope_parameters={"rope_type": "default", "rope_theta": THETA},
        max_position_embeddings=POSITIONS,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=IMAGE,
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config.pad_token_id = PAD
    model.generation_config.bos_token_id = BOS
    model.generation_config.eos_token_id = EOS
    return model


@torch.no_grad()
def grow(small: LlavaForConditionalGeneration, large: LlavaForConditionalGeneration) -> None:
    """Copy a model into one of the same widths with more layers or wider MLPs, which then computes the same function.

    The new parts of the larger model output zero at first: the output matrices of its added layers are zero, and so are
    the columns that read the added units of its MLPs (after Net2Net, Chen et al. 2016).
    """
    old = small.state_dict()
    outputs = ("o_proj", "down_proj", "out_proj", "fc2")
    for name, tensor in large.state_dict().items():
        if name not in old:
            if any(part in name for part in outputs):
                tensor.zero_()
        elif old[name].shape == tensor.shape:
            tensor.copy_(old[name])
        elif "down_proj" in name:
            tensor.zero_()
            tensor[:, : old[name].shape[1]] = old[name]
        else:  # gate_proj and up_proj
            tensor[: old[name].shape[0]] = old[name]


def clip_processor() -> CLIPProcessor:
    """Text in lower case, <s> … </s>; the text vector is read at </s>."""
    tokenizer = byte_level(lower=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", BOS), ("</s>", EOS)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        model_max_length=128,
        clean_up_tokenization_spaces=False,
    )
    return CLIPProcessor(image_processor(), fast)


def clip(seed: int = 0) -> CLIPModel:
    """An untrained CLIP, float32."""
    width, layers, heads = 96, 2, 4
    torch.manual_seed(seed)
    text = CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=128,
        projection_dim=width,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
    )
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=width,
    )
    return CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=width))


def normalised(pixels: np.ndarray) -> torch.Tensor:
    """Pixels as the image processor normalises them: uint8 (n, side, side, 3) to float (n, 3, side, side)."""
    values = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    return values.sub_(255 * MEAN).div_(255 * STD)


def save(model: PreTrainedModel, processor: LlavaProcessor | CLIPProcessor, folder: Path) -> None:
    """Write a model's folder: its processor, its weights in float16, and a configuration that loads them in float32."""
    half = copy.deepcopy(model).to(torch.float16)
    half.save_pretrained(folder)
    processor.save_pretrained(folder)
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"float16"', '"float32"'))
    (folder / "model.safetensors").chmod(0o644)

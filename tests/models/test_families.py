"""Families other than LLaVA answer through the same code: pictures cut into several tiles, several special tokens."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoProcessor,
    CLIPVisionConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    SmolVLMProcessor,
)
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from seelevel.errors import InputError
from seelevel.models import load_model
from seelevel.models.base import Prompt, Sampling
from seelevel.models.processor import load_processor
from tests.training.tiny import TEMPLATE, make_picture, make_tokenizer

TEXT: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 1024, "bos_token_id": None,
}  # fmt: skip
VISION: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28,
    "patch_size": 7,
}  # fmt: skip


def llama(tokenizer: Any) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, **TEXT
    )


def llava_next() -> tuple[Any, Any]:
    tokenizer, grid = make_tokenizer(), [[28, 56], [56, 28]]
    pictures = LlavaNextImageProcessorPil(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, image_grid_pinpoints=grid
    )
    processor = LlavaNextProcessor(
        pictures, tokenizer, patch_size=7, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )  # fmt: skip
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**VISION), text_config=llama(tokenizer), image_grid_pinpoints=grid,
        image_token_index=processor.image_token_id, vision_feature_layer=-1,
    )  # fmt: skip
    return LlavaNextForConditionalGeneration(config), processor


def idefics3() -> tuple[Any, Any]:
    tokenizer = make_tokenizer()
    tiles = [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]
    tokenizer.add_tokens(
        ["<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *tiles], special_tokens=True
    )
    pictures = Idefics3ImageProcessorPil(size={"longest_edge": 28}, max_image_size={"longest_edge": 28})
    processor = Idefics3Processor(pictures, tokenizer, image_seq_len=4, chat_template=TEMPLATE)
    config = Idefics3Config(
        vision_config=VISION, text_config=llama(tokenizer), scale_factor=2, pad_token_id=tokenizer.pad_token_id,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    return Idefics3ForConditionalGeneration(config), processor


@pytest.mark.parametrize("family", [llava_next, idefics3])
def test_a_family_answers_no_one_and_two_pictures_in_a_batch_as_alone(tmp_path: Path, family: Any) -> None:
    torch.manual_seed(0)
    for part in family():
        part.save_pretrained(tmp_path / "m")
    model = load_model(str(tmp_path / "m"))
    images = [make_picture(tmp_path, seed) for seed in range(3)]
    asked = [("Is there a boat?", 1), ("A large tree. " * 5, 1), ("Which is red?", 2), ("Hello?", 0)]
    prompts = [
        Prompt([{"role": "user", "content": "<image>\n" * count + text}], images[n : n + count])
        for n, (text, count) in enumerate(asked[:2])
    ]
    prompts += [
        Prompt([{"role": "user", "content": "<image>\n" * count + text}], images[:count]) for text, count in asked[2:]
    ]
    sampling = Sampling(max_new_tokens=6)
    assert model.generate(prompts, sampling) == [model.generate([prompt], sampling)[0] for prompt in prompts]


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed")
def test_a_processor_that_needs_torchvision_names_the_extra_to_install(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
    text = {**TEXT, "vocab_size": len(tokenizer), "rope_parameters": rope}
    vision = {"depth": 2, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "patch_size": 7}
    Qwen2VLForConditionalGeneration(Qwen2VLConfig(vision_config=vision, text_config=text)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    Qwen2VLImageProcessorPil().save_pretrained(tmp_path)
    (tmp_path / "processor_config.json").write_text(json.dumps({"processor_class": "Qwen2VLProcessor"}))
    with pytest.raises(InputError, match=r"needs torchvision; install it with `pip install 'seelevel\[video\]'`"):
        load_model(str(tmp_path))


@pytest.mark.skipif(importlib.util.find_spec("num2words") is not None, reason="num2words is installed")
def test_a_processor_that_needs_num2words_names_the_same_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torchvision SmolVLM's processor is not loaded that far, so it is built here."""
    tokenizer = make_tokenizer()
    monkeypatch.setattr(AutoProcessor, "from_pretrained", lambda *_, **__: SmolVLMProcessor(None, tokenizer, None))
    with pytest.raises(InputError, match=r"needs num2words; install it with `pip install 'seelevel\[video\]'`"):
        load_processor("smolvlm")


def test_a_processor_that_needs_any_other_package_says_what_transformers_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ImportError("\nThisTokenizer requires the SentencePiece library.\n")

    monkeypatch.setattr(AutoProcessor, "from_pretrained", refuse)
    with pytest.raises(InputError, match=r"model m: its processor needs a package .* \(ThisTokenizer requires"):
        load_processor("m")

"""The processors of common families, from transformers, with tiny models.

Tokenizers are trained on the spot, so that the ids of pictures are those of the zoo's tiny models.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from PIL import Image as Pictures
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from tests.families.family import END, IMAGE, PATCH, SIDE, START, VIDEO
from tests.families.zoo import build
from tests.real_processors.templates import AYA, CHATML, CONTENT, GEMMA, GEMMA4, GLM, LLAVA, MISTRAL, SMOL, THINKING
from tests.training.tiny import CORPUS

TORCHVISION = importlib.util.find_spec("torchvision") is not None
PAD, BOS, EOS, TURN, ANSWER_END = 0, 1, 2, 3, 4
LAST_SPECIAL = 19


@dataclass(frozen=True)
class RealFamily:
    """A family with its processor.

    special: the family's special tokens by id; `end` is the one after an answer. extra: attributes of the tokenizer
    that the processor reads. picture: what the template writes for one. newlines: whether runs of line breaks are
    tokens, as in Gemma's tokenizer. closes: whether the template closes an answer before the user's next turn.
    """

    name: str
    special: dict[int, str]
    processor: Callable[[Any, str], Any]
    template: str = CHATML
    picture: str = "<image>"
    end: str = "<|im_end|>"
    extra: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    newlines: bool = False
    closes: bool = True

    @property
    def full_template(self) -> str:
        return self.template.replace("CONTENT", CONTENT).replace("PICTURE", self.picture)

    def tokenizer(self) -> Any:
        special = [self.special.get(n, f"<unused{n}>") for n in range(LAST_SPECIAL + 1)]
        bpe = Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        bpe.train_from_iterator(
            CORPUS * 4, trainers.BpeTrainer(vocab_size=294, special_tokens=special, initial_alphabet=alphabet)
        )
        if self.newlines:
            bpe.add_tokens([AddedToken("\n" * n, normalized=False) for n in (1, 2, 3, 4)])
        begins = "bos_token" in self.template
        if begins:
            bpe.post_processor = processors.TemplateProcessing(
                f"{special[BOS]} $A", special_tokens=[(special[BOS], BOS)]
            )
        return transformers.PreTrainedTokenizerFast(
            tokenizer_object=bpe,
            pad_token=special[PAD],
            bos_token=special[BOS] if begins else None,
            eos_token=special[EOS],
            extra_special_tokens=self.extra,
        )

    def make(self) -> tuple[Any, Any]:
        """Model, in float32, and processor."""
        processor = self.processor(self.tokenizer(), self.full_template)
        model = build(self.name).float().eval()
        for key, value in self.config.items():
            setattr(model.config, key, value)
        model.generation_config.eos_token_id = sorted({EOS, processor.tokenizer.convert_tokens_to_ids(self.end)})
        return model, processor

    def save(self, folder: Path) -> Path:
        for part in self.make():
            part.save_pretrained(folder)
        return folder


def grids(pictures: str, video: str, processor: str) -> Callable[[Any, str], Any]:
    """A processor for pictures in their own shape: the Qwen and GLM lines. Names of classes, without their ends."""

    def make(tokenizer: Any, template: str) -> Any:
        sizes = {"patch_size": PATCH, "merge_size": 2, "temporal_patch_size": 2}
        limits = {"size": {"shortest_edge": SIDE * SIDE, "longest_edge": 4 * SIDE * SIDE}}
        return getattr(transformers, f"{processor}Processor")(
            image_processor=getattr(transformers, f"{pictures}ImageProcessor")(**sizes, **limits),
            tokenizer=tokenizer,
            video_processor=getattr(transformers, f"{video}VideoProcessor")(**sizes),
            chat_template=template,
        )

    return make


def internvl(tokenizer: Any, template: str) -> Any:
    side = {"size": {"height": SIDE, "width": SIDE}}
    return transformers.InternVLProcessor(
        image_processor=transformers.GotOcr2ImageProcessor(**side, crop_to_patches=True, min_patches=1, max_patches=4),
        tokenizer=tokenizer,
        video_processor=transformers.InternVLVideoProcessor(**side),
        image_seq_length=4,
        chat_template=template,
    )


def smolvlm(tokenizer: Any, template: str) -> Any:
    sizes = {"size": {"longest_edge": 2 * SIDE}, "max_image_size": {"longest_edge": SIDE}}
    return transformers.SmolVLMProcessor(
        image_processor=transformers.SmolVLMImageProcessor(**sizes),
        tokenizer=tokenizer,
        video_processor=transformers.SmolVLMVideoProcessor(**sizes),
        image_seq_len=4,
        chat_template=template,
    )


def idefics3(tokenizer: Any, template: str) -> Any:
    sizes = {"size": {"longest_edge": 2 * SIDE}, "max_image_size": {"longest_edge": SIDE}}
    return transformers.Idefics3Processor(
        image_processor=transformers.Idefics3ImageProcessor(**sizes),
        tokenizer=tokenizer,
        image_seq_len=4,
        chat_template=template,
    )


def gemma3(tokenizer: Any, template: str) -> Any:
    """The one processor here that needs no torchvision."""
    kind = "Gemma3ImageProcessor" if TORCHVISION else "Gemma3ImageProcessorPil"
    return transformers.Gemma3Processor(
        image_processor=getattr(transformers, kind)(size={"height": SIDE, "width": SIDE}),
        tokenizer=tokenizer,
        image_seq_length=4,
        chat_template=template,
    )


def gemma4(tokenizer: Any, template: str) -> Any:
    sizes = {"patch_size": PATCH, "max_soft_tokens": 70, "pooling_kernel_size": 2}
    return transformers.Gemma4Processor(
        feature_extractor=transformers.Gemma4AudioFeatureExtractor(),
        image_processor=transformers.Gemma4ImageProcessor(**sizes),
        tokenizer=tokenizer,
        video_processor=transformers.Gemma4VideoProcessor(**sizes),
        image_seq_length=70,
        chat_template=template,
    )


PINPOINTS = [[SIDE, SIDE], [SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]


def onevision(tokenizer: Any, template: str) -> Any:
    side = {"size": {"height": SIDE, "width": SIDE}}
    return transformers.LlavaOnevisionProcessor(
        image_processor=transformers.LlavaOnevisionImageProcessor(**side, image_grid_pinpoints=PINPOINTS),
        tokenizer=tokenizer,
        video_processor=transformers.LlavaOnevisionVideoProcessor(**side),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=template,
    )


def llava(tokenizer: Any, template: str) -> Any:
    sizes = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    return transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessor(**sizes),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )


def llava_next(tokenizer: Any, template: str) -> Any:
    sizes = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    return transformers.LlavaNextProcessor(
        image_processor=transformers.LlavaNextImageProcessor(**sizes, image_grid_pinpoints=PINPOINTS),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )


def mistral3(tokenizer: Any, template: str) -> Any:
    return transformers.PixtralProcessor(
        image_processor=transformers.PixtralImageProcessor(size={"longest_edge": 2 * SIDE}, patch_size=PATCH),
        tokenizer=tokenizer,
        patch_size=PATCH,
        spatial_merge_size=2,
        chat_template=template,
    )


def aya_vision(tokenizer: Any, template: str) -> Any:
    side = {"size": {"height": SIDE, "width": SIDE}}
    return transformers.AyaVisionProcessor(
        image_processor=transformers.GotOcr2ImageProcessor(**side, crop_to_patches=True, min_patches=1, max_patches=4),
        tokenizer=tokenizer,
        patch_size=PATCH,
        img_size=SIDE,
        downsample_factor=2,
        chat_template=template,
    )


IM = {PAD: "<|endoftext|>", EOS: "<|im_end|>", TURN: "<|im_start|>"}
QWEN = IM | {IMAGE: "<|image_pad|>", VIDEO: "<|video_pad|>", START: "<|vision_start|>", END: "<|vision_end|>"}
INTERN = IM | {IMAGE: "<IMG_CONTEXT>", VIDEO: "<video>", START: "<img>", END: "</img>"}
GEMMA_IDS = {
    PAD: "<pad>", BOS: "<bos>", EOS: "<eos>", TURN: "<start_of_turn>", ANSWER_END: "<end_of_turn>",
    IMAGE: "<image_soft_token>", START: "<start_of_image>", END: "<end_of_image>",
}  # fmt: skip
GEMMA4_EXTRA = {
    "image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>", "audio_token": "<|audio|>",
    "boa_token": "<|audio>", "eoa_token": "<audio|>",
}  # fmt: skip
GEMMA4_IDS = {
    PAD: "<pad>", BOS: "<bos>", EOS: "<eos>", TURN: "<|turn>", ANSWER_END: "<turn|>", IMAGE: "<|image|>",
    VIDEO: "<|video|>", START: "<|image>", END: "<image|>", 14: "<|audio|>", 15: "<|audio>", 16: "<audio|>",
}  # fmt: skip
SMOL_IDS = {
    PAD: "<|im_end|>", BOS: "<|im_start|>", EOS: "<end_of_utterance>", IMAGE: "<image>", VIDEO: "<video>",
    START: "<fake_token_around_image>", END: "<global-img>",
    **{14 + n: f"<row_{n // 2 + 1}_col_{n % 2 + 1}>" for n in range(4)},
}  # fmt: skip
GLM_IDS = {
    PAD: "<|endoftext|>", EOS: "<|user|>", TURN: "<|assistant|>", 5: "[gMASK]", 6: "<sop>", IMAGE: "<|image|>",
    VIDEO: "<|video|>", START: "<|begin_of_image|>", END: "<|end_of_image|>", 14: "<|begin_of_video|>",
    15: "<|end_of_video|>",
}  # fmt: skip
MISTRAL_IDS = {
    PAD: "<pad>", BOS: "<s>", EOS: "</s>", 5: "[INST]", 6: "[/INST]", IMAGE: "[IMG]", 14: "[IMG_BREAK]",
    15: "[IMG_END]",
}  # fmt: skip
AYA_IDS = {
    PAD: "<PAD>", EOS: "<|END_OF_TURN_TOKEN|>", TURN: "<|START_OF_TURN_TOKEN|>", 5: "<|user|>", 6: "<|assistant|>",
    7: "<image>", 8: "TILE_GLOBAL", IMAGE: "<|IMG_PATCH|>", START: "<|START_OF_IMG|>", END: "<|END_OF_IMG|>",
    **{14 + n: f"TILE_{n + 1}" for n in range(4)},
}  # fmt: skip
PADDED = "<|vision_start|><|image_pad|><|vision_end|>"

FAMILIES = {
    family.name: family
    for family in (
        RealFamily("qwen2_5_vl", QWEN, grids("Qwen2VL", "Qwen2VL", "Qwen2_5_VL"), picture=PADDED),
        RealFamily("qwen3_vl", QWEN, grids("Qwen2VL", "Qwen3VL", "Qwen3VL"), picture=PADDED),
        RealFamily("qwen3_5", QWEN, grids("Qwen2VL", "Qwen3VL", "Qwen3VL"), THINKING, PADDED),
        RealFamily(
            "internvl", INTERN, internvl, picture="<IMG_CONTEXT>\n",
            extra={
                "start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
                "video_token": "<video>",
            },
        ),
        RealFamily("smolvlm", SMOL_IDS, smolvlm, SMOL, end="<end_of_utterance>"),
        RealFamily(
            "gemma3", GEMMA_IDS, gemma3, GEMMA, "<start_of_image>", "<end_of_turn>",
            extra={
                "image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>",
            },
            newlines=True,
        ),
        RealFamily(
            "gemma4", GEMMA4_IDS, gemma4, GEMMA4, "<|image|>", "<turn|>", GEMMA4_EXTRA, newlines=True,
        ),
        RealFamily(
            "llava_onevision", IM | {IMAGE: "<image>", VIDEO: "<video>"}, onevision,
            config={"image_grid_pinpoints": PINPOINTS, "video_token_id": VIDEO},
        ),
        RealFamily("qwen2_vl", QWEN, grids("Qwen2VL", "Qwen2VL", "Qwen2VL"), picture=PADDED),
        RealFamily(
            "glm4v", GLM_IDS, grids("Glm4v", "Glm4v", "Glm4v"), GLM,
            "<|begin_of_image|><|image|><|end_of_image|>", "<|user|>", closes=False,
        ),
        RealFamily(
            "llava", MISTRAL_IDS | {IMAGE: "<image>"}, llava, LLAVA, "<image>\n", "</s>", closes=False,
        ),
        RealFamily("mistral3", MISTRAL_IDS, mistral3, MISTRAL, "[IMG]", "</s>"),
        RealFamily(
            "llava_next", MISTRAL_IDS | {IMAGE: "<image>"}, llava_next, MISTRAL, "<image>\n", "</s>",
            config={"image_grid_pinpoints": PINPOINTS},
        ),
        RealFamily("idefics3", SMOL_IDS, idefics3, SMOL, end="<end_of_utterance>"),
        RealFamily("aya_vision", AYA_IDS, aya_vision, AYA, end="<|END_OF_TURN_TOKEN|>"),
    )
}  # fmt: skip
"""By their names in the zoo."""


def make_photograph(path: Path, width: int, height: int, seed: int) -> str:
    """A picture of smooth colours, with some noise."""
    draw = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(0, 6, width), np.linspace(0, 6, height))
    waves = [np.sin(x * draw.uniform(0.3, 1) + draw.uniform(0, 6)) * np.cos(y * draw.uniform(0.3, 1)) for _ in range(3)]
    pixels = np.stack(waves, -1) * 100 + 128 + draw.normal(0, 8, (height, width, 3))
    Pictures.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return str(path)

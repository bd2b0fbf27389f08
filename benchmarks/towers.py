"""The vision towers of the benchmark's models: each gives its family's config, processor and arithmetic."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaProcessor,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLProcessor,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil


@dataclass(frozen=True)
class Tower(ABC):
    """Sizes of a tower. `grid`: tokens that a picture becomes along a side, so that it is grid² tokens."""

    width: int
    layers: int
    heads: int
    grid: int

    written: ClassVar[str]
    """What the chat template writes for a picture: `<image>`, which becomes grid² tokens, and its marks."""

    @property
    def tokens(self) -> int:
        return self.grid**2

    @property
    @abstractmethod
    def side(self) -> int:
        """Pixels a side of the picture files."""

    @abstractmethod
    def config(self, text: dict[str, Any], tied: bool, ids: dict[str, int]) -> PreTrainedConfig:
        """Of the whole model. text: sizes of the language model, in transformers' names; ids: of special tokens."""

    @abstractmethod
    def processor(self, tokenizer: PreTrainedTokenizerFast, template: str) -> ProcessorMixin: ...

    @abstractmethod
    def flops(self) -> float:
        """Floating-point operations of one forward pass over one picture, projector left out."""

    @abstractmethod
    def projector_flops(self, width: int) -> float:
        """One forward pass of what maps a picture's tokens to the language model's width."""


@dataclass(frozen=True)
class Clip(Tower):
    """LLaVA-1.5's tower: CLIP's last layer but one. Each patch is a token."""

    patch: int = 14

    written = "<image>"
    side = 480  # the processor shrinks and crops it

    def config(self, text: dict[str, Any], tied: bool, ids: dict[str, int]) -> PreTrainedConfig:
        return LlavaConfig(
            vision_config=CLIPVisionConfig(
                hidden_size=self.width,
                intermediate_size=4 * self.width,
                num_hidden_layers=self.layers,
                num_attention_heads=self.heads,
                image_size=self.grid * self.patch,
                patch_size=self.patch,
            ),
            text_config=LlamaConfig(**text, tie_word_embeddings=tied),
            tie_word_embeddings=tied,
            image_token_index=ids["<image>"],
            vision_feature_layer=-2,
            image_seq_length=self.tokens,
        )

    def processor(self, tokenizer: PreTrainedTokenizerFast, template: str) -> ProcessorMixin:
        side = self.grid * self.patch
        return LlavaProcessor(
            CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side}),
            tokenizer,
            patch_size=self.patch,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
            chat_template=template,
        )

    def flops(self) -> float:
        patches = self.tokens + 1  # and the class token
        layer = 2 * patches * 12 * self.width**2 + 4 * patches**2 * self.width
        return layer * (self.layers - 1) + 2 * self.tokens * self.width * 3 * self.patch**2

    def projector_flops(self, width: int) -> float:
        return 2 * self.tokens * (self.width * width + width**2)


@dataclass(frozen=True)
class Qwen25(Tower):
    """Qwen2.5-VL's tower: `merge` × `merge` patches are one token; attention is in windows of `window` pixels a side,
    but for the layers in `whole`. Two frames of a video are one patch; a picture is both."""

    intermediate: int
    whole: tuple[int, ...]
    window: int = 112
    patch: int = 14
    merge: int = 2

    FRAMES: ClassVar[int] = 2
    written = "<start> <image> <end>"

    @property
    def side(self) -> int:
        """The tower sees pictures in their own size."""
        return self.grid * self.merge * self.patch

    def config(self, text: dict[str, Any], tied: bool, ids: dict[str, int]) -> PreTrainedConfig:
        part = text["hidden_size"] // text["num_attention_heads"] // 16  # 16, 24, 24 of a head's 64 angles
        rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2 * part, 3 * part, 3 * part]}
        return Qwen2_5_VLConfig(
            vision_config={
                "depth": self.layers,
                "hidden_size": self.width,
                "num_heads": self.heads,
                "intermediate_size": self.intermediate,
                "out_hidden_size": text["hidden_size"],
                "patch_size": self.patch,
                "spatial_merge_size": self.merge,
                "temporal_patch_size": self.FRAMES,
                "window_size": self.window,
                "fullatt_block_indexes": list(self.whole),
            },
            text_config={**text, "rope_parameters": rope},
            tie_word_embeddings=tied,
            image_token_id=ids["<image>"],
            video_token_id=ids["<video>"],
            vision_start_token_id=ids["<start>"],
            vision_end_token_id=ids["<end>"],
        )

    def processor(self, tokenizer: PreTrainedTokenizerFast, template: str) -> ProcessorMixin:
        pictures = Qwen2VLImageProcessorPil(
            size={"shortest_edge": self.side**2, "longest_edge": self.side**2},
            patch_size=self.patch,
            merge_size=self.merge,
            temporal_patch_size=self.FRAMES,
        )
        return PictureProcessor(pictures, tokenizer, template)

    def flops(self) -> float:
        patches, cell = self.tokens * self.merge**2, self.window // self.patch // self.merge
        sides = [min(cell, self.grid - first) for first in range(0, self.grid, cell)]
        pairs = (self.merge**2 * sum(n * n for n in sides)) ** 2  # patches that see each other in their window
        linear = 2 * patches * (4 * self.width**2 + 3 * self.width * self.intermediate)
        whole = len(self.whole)
        attention = 4 * self.width * (whole * patches**2 + (self.layers - whole) * pairs)
        return self.layers * linear + attention + 2 * patches * self.width * 3 * self.FRAMES * self.patch**2

    def projector_flops(self, width: int) -> float:
        merged = self.width * self.merge**2
        return 2 * self.tokens * (merged**2 + merged * width)


class PictureProcessor(Qwen2_5_VLProcessor):
    """transformers' own without its processor of videos, which needs torchvision."""

    def __init__(self, image_processor: Any, tokenizer: Any, chat_template: str) -> None:
        super().__init__(image_processor, tokenizer, None, chat_template)

"""Tokens of a photograph against transformers' own processors, at their default settings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from transformers.models.gemma4.image_processing_pil_gemma4 import get_aspect_ratio_preserving_size
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor
from transformers.models.minicpmv4_6.image_processing_pil_minicpmv4_6 import MiniCPMV4_6ImageProcessorPil
from transformers.models.mllama.image_processing_pil_mllama import get_optimal_tiled_canvas
from transformers.models.ovis2.image_processing_pil_ovis2 import get_min_tile_covering_grid
from transformers.models.pixtral.image_processing_pil_pixtral import get_resize_output_image_size
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from seelevel.models.pictures import FINEST, HEIGHT, WIDTH, Picture, least_enlarged, picture_of

pytestmark = pytest.mark.unit


def picture(kind: str, tower: dict[str, Any], **config: Any) -> Picture:
    found = picture_of({"model_type": kind, "vision_config": tower, **config})
    assert found is not None
    return found


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl", "qwen3_5", "glm4v"])
def test_qwen_and_glm_take_the_nearest_whole_cells(kind: str) -> None:
    patch = 14 if kind in ("qwen2_5_vl", "glm4v") else 16
    patches = Qwen2VLImageProcessorPil(patch_size=patch).get_number_of_image_patches(HEIGHT, WIDTH, {})
    found = picture(kind, {"patch_size": patch, "spatial_merge_size": 2, "temporal_patch_size": 2})
    assert (found.tokens, found.patches, found.pixels) == (patches // 4, patches, patches * patch**2 * 2)


@pytest.mark.parametrize(
    ("kind", "processor", "side", "grid"),
    [
        ("llava_next", LlavaNextProcessor, 336, [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]),
        (
            "llava_onevision",
            LlavaOnevisionProcessor,
            384,
            [[384 * i, 384 * j] for i in range(1, 7) for j in range(1, 7)],
        ),
    ],
)
def test_any_resolution_is_a_thumbnail_and_tiles_without_padding(
    kind: str, processor: Any, side: int, grid: list[list[int]]
) -> None:
    own = processor.__new__(processor)
    own.patch_size, own.num_additional_image_tokens, own.vision_feature_select_strategy = 14, 0, "full"
    own.image_processor, own.num_image_tokens = SimpleNamespace(image_grid_pinpoints=grid), (side // 14) ** 2
    own.vision_aspect_ratio = "anyres_max_9"
    found = picture(kind, {"image_size": side, "patch_size": 14}, image_grid_pinpoints=grid)
    assert found.tokens == own._get_number_of_features(HEIGHT, WIDTH, side, side)
    assert found.patches == 5 * (side // 14) ** 2


def test_internvl_and_aya_take_twelve_tiles_and_a_thumbnail() -> None:
    for side in (448, 364):
        processor = GotOcr2ImageProcessorPil(size={"height": side, "width": side})
        assert processor.get_number_of_image_patches(HEIGHT, WIDTH, {"crop_to_patches": True}) == FINEST
    tower = {"image_size": [448, 448], "patch_size": [14, 14]}
    assert picture("internvl", tower, downsample_ratio=0.5).tokens == FINEST * 256
    assert picture("aya_vision", {"image_size": 364, "patch_size": 14}, downsample_factor=2).tokens == FINEST * 169


def test_smolvlm_takes_twelve_tiles_and_a_thumbnail() -> None:
    for side in (364, 512):
        sizes = {"size": {"longest_edge": 4 * side}, "max_image_size": {"longest_edge": side}}
        assert Idefics3ImageProcessorPil().get_number_of_image_patches(HEIGHT, WIDTH, sizes)[0] == FINEST
    assert picture("smolvlm", {"image_size": 512, "patch_size": 16}, scale_factor=4).tokens == FINEST * 64


def test_mistral_rounds_up_and_ends_each_row_with_a_token() -> None:
    cell = 28
    rows, columns = (
        side // cell for side in get_resize_output_image_size(np.zeros((HEIGHT, WIDTH, 3)), (1540, 1540), (cell, cell))
    )
    tower = {"model_type": "pixtral", "image_size": 1540, "patch_size": 14}
    assert picture("mistral3", tower, spatial_merge_size=2).tokens == (columns + 1) * rows
    assert picture("llava", {**tower, "patch_size": 28}).tokens == (columns + 1) * rows


def test_gemma4_has_the_largest_size_within_its_budget() -> None:
    height, width = get_aspect_ratio_preserving_size(HEIGHT, WIDTH, 16, 280 * 9, 3)
    found = picture("gemma4", {"patch_size": 16, "pooling_kernel_size": 3})
    assert (found.tokens, found.patches) == (height // 48 * (width // 48), height // 16 * (width // 16))


def test_mllama_has_one_token_and_computes_all_its_tiles() -> None:
    columns, rows = least_enlarged(WIDTH, HEIGHT, 560, 4)
    assert get_optimal_tiled_canvas(HEIGHT, WIDTH, 4, 560) == (rows * 560, columns * 560)
    found = picture("mllama", {"image_size": 560, "patch_size": 14, "max_num_tiles": 4})
    assert (found.tokens, found.patches) == (1, 4 * 1600)


def test_ovis_covers_a_photograph_with_four_tiles() -> None:
    assert get_min_tile_covering_grid((HEIGHT, WIDTH), 448, 12) == (2, 2)
    assert picture("ovis2", {"image_size": 448, "patch_size": 14, "hidden_stride": 2}).tokens == 5 * 256


def test_minicpm_halves_a_photograph() -> None:
    processor = MiniCPMV4_6ImageProcessorPil()
    assert processor.get_sliced_grid((HEIGHT, WIDTH), 9, 448) == [1, 2]
    whole = processor.find_best_resize((HEIGHT, WIDTH), 448, 14, "16x")
    halves = processor.get_refine_size((HEIGHT, WIDTH), [1, 2], 448, 14, "16x", allow_upscale=True)
    exact = sum(height * width // 56**2 for height, width in (whole, halves))
    assert picture("minicpmv4_6", {"image_size": 224, "patch_size": 14}, image_size=448).tokens == pytest.approx(
        exact, rel=0.06
    )


def test_counts_by_hand_where_the_processor_needs_torchvision() -> None:
    """Of 640 × 480: Cohere 2 × 1 tiles of 512; Llama 4 2 × 2 tiles of 336; Molmo 2 × 2 tiles of 19 patches and 8 that
    overlap, 46 patches a side; LFM2 at most 256 cells of 32: 18 × 13."""
    assert picture("cohere2_vision", {"image_size": 512, "patch_size": 16}, downsample_factor=2).tokens == 3 * 256
    tower = {"image_size": 336, "patch_size": 14, "pixel_shuffle_ratio": 0.5}
    assert picture("llama4", tower).tokens == 5 * 144
    assert picture("molmo2", {"image_size": [378, 378], "patch_size": 14}).tokens == 23**2 + 14**2
    assert picture("lfm2_vl", {"patch_size": 16}, downsample_factor=2).tokens == 18 * 13


def test_fixed_sizes_are_read_from_the_configuration() -> None:
    tower = {"image_size": 896, "patch_size": 14}
    assert picture("gemma3", tower, mm_tokens_per_image=256) == Picture(256, 4096, 896**2)
    assert picture("paligemma", {"image_size": 224, "patch_size": 14}) == Picture(256, 256, 224**2)
    assert picture("llava", {"image_size": 336, "patch_size": 14}, image_seq_length=576) == Picture(576, 576, 336**2)


def test_an_unknown_family_or_a_missing_size_is_none() -> None:
    assert picture_of({"model_type": "of-next-year", "vision_config": {"image_size": 336, "patch_size": 14}}) is None
    assert picture_of({"model_type": "llava", "vision_config": {"image_size": 336}}) is None
    assert picture_of({"model_type": "internvl"}) is None
    assert picture_of({}) is None

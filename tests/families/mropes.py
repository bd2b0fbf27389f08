"""Families whose positions follow the picture's grid (M-RoPE): the Qwen and GLM lines and their kin."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.families.family import (
    END,
    FLOAT32,
    IMAGE,
    PATCH,
    SIDE,
    START,
    TEXT,
    VIDEO,
    VISION,
    Family,
    Inputs,
    config,
    pixels,
    types,
)

GRID = pixels(16, 3 * 2 * PATCH * PATCH, image_grid_thw=[[1, 4, 4]])
FLAT = pixels(16, 3 * PATCH * PATCH, image_grid_thw=[[1, 4, 4]])
TYPES = types("mm_token_type_ids")
IDS = {"image_token_id": IMAGE, "video_token_id": VIDEO, "vision_start_token_id": START, "vision_end_token_id": END}
GLM_IDS = {
    "image_token_id": IMAGE, "video_token_id": VIDEO, "image_start_token_id": START, "image_end_token_id": END,
    "video_start_token_id": 14, "video_end_token_id": 15,
}  # fmt: skip


def rope(**more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4} | more}


HEAD = {"head_dim": 16}
INTERLEAVED, PARTIAL = rope(mrope_interleaved=True), rope(mrope_interleaved=True, partial_rotary_factor=1.0)
TOWER = {
    "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64, "patch_size": PATCH,
}  # fmt: skip
LEARNED = TOWER | {"num_position_embeddings": 64}
DEEP = LEARNED | {"deepstack_visual_indexes": [0, 1]}
GLM_TOWER = TOWER | {"image_size": SIDE}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
GLM_EXPERTS = {
    "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_shared_experts": 1,
    "first_k_dense_replace": 1,
}  # fmt: skip
OMNI = {
    "audio_config": {
        "d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 64, "output_dim": 64,
        "downsample_hidden_size": 8,
    },
    "audio_start_token_id": 18, "audio_end_token_id": 19, "vision_start_token_id": START, "vision_end_token_id": END,
}  # fmt: skip
DELTA = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16,
    "layer_types": ["linear_attention"] * 3 + ["full_attention"],
}  # fmt: skip


def family(
    name: str, text: dict[str, Any], vision: dict[str, Any], ids: dict[str, Any] = IDS, **changes: Any
) -> Family:
    """`ids` goes to the config with the two parts, `changes` to the family."""
    made = config(name, text_config=TEXT | text, vision_config=vision, **ids)
    fields = {
        "tokens": 4,
        "picture": GRID,
        "around": ((START,), (END,)),
        "beside": TYPES,
        "first_position": None,
    } | changes
    return Family(name, made, IMAGE, **fields)


def expert_types(ids: Tensor, prefix: int) -> Inputs:
    """ERNIE sends the picture and its start and end to experts of their own."""
    picture = torch.isin(ids, torch.tensor([IMAGE, START, END]))
    return TYPES(ids, prefix) | {"moe_mm_token_type_ids": picture.long()}


FAMILIES = [
    family("qwen2_vl", rope(), {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "patch_size": PATCH}),
    family("qwen2_5_vl", rope(), TOWER | {"fullatt_block_indexes": [1], "window_size": 56}),
    family("qwen3_vl", HEAD | INTERLEAVED, DEEP),
    family("qwen3_vl_moe", HEAD | INTERLEAVED | EXPERTS, DEEP),
    family("qwen3_5", HEAD | PARTIAL | DELTA, LEARNED, tolerance=FLOAT32),
    family(
        "qwen3_5_moe", HEAD | PARTIAL | DELTA | EXPERTS | {"shared_expert_intermediate_size": 32}, LEARNED,
        tolerance=FLOAT32,
    ),
    family("glm4v", rope(partial_rotary_factor=1.0), GLM_TOWER, GLM_IDS),
    family("glm4v_moe", HEAD | rope(partial_rotary_factor=1.0) | GLM_EXPERTS, GLM_TOWER, GLM_IDS, tolerance=FLOAT32),
    family("glm46v", rope(partial_rotary_factor=1.0), GLM_TOWER, GLM_IDS),
    family("glm_ocr", HEAD | rope(partial_rotary_factor=1.0), GLM_TOWER, GLM_IDS),
    family(
        "ernie4_5_vl_moe",
        rope(mrope_section=[3, 3, 2]) | {
            "moe_intermediate_size": [32, 16], "moe_num_experts": 4, "moe_k": 2, "moe_num_shared_experts": 1,
        },
        TOWER, GLM_IDS, beside=expert_types, picture=FLAT,
    ),
    family(
        "cohere_compass", {
            "sliding_window": 8, "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
            "rope_parameters": {"sliding_attention": rope()["rope_parameters"], "full_attention": None},
        }, DEEP,
    ),
    family(
        "cosmos3_edge", HEAD | INTERLEAVED, VISION | {"num_patches": 16}, IDS | {"projector_hidden_size": 64},
        picture=FLAT,
    ),
    family("cosmos3_omni", HEAD | INTERLEAVED, DEEP),
    family(
        "hunyuan_vl", HEAD | rope(mrope_section=[2, 2, 2, 2]),
        VISION | {
            "out_hidden_size": 64, "text_hidden_size": 64, "max_image_size": SIDE, "min_image_size": SIDE,
            "temporal_patch_size": 1,
        },
        {"image_token_id": IMAGE, "im_start_id": START, "im_end_id": END, "im_newline_id": 14},
        tokens=2 * 3 + 2, picture=FLAT, padded=False,
    ),
    family("paddleocr_vl", HEAD | rope(), VISION, picture=pixels(16, 3, PATCH, PATCH, image_grid_thw=[[1, 4, 4]])),
    family(
        "qwen2_5_omni_thinker", rope(), TOWER | {"fullatt_block_indexes": [1], "window_size": 56}, OMNI
        | {"image_token_index": IMAGE, "video_token_index": VIDEO, "audio_token_index": 17},
    ),
    family(
        "qwen3_omni_moe_thinker", HEAD | INTERLEAVED | EXPERTS, DEEP,
        OMNI | {"image_token_id": IMAGE, "video_token_id": VIDEO, "audio_token_id": 17},
    ),
]  # fmt: skip

"""Families whose positions follow the picture's grid (M-RoPE): the Qwen and GLM lines and their kin."""

from __future__ import annotations

from typing import Any

from tests.families.family import END, IMAGE, PATCH, SIDE, START, TEXT, VIDEO, Family, config, pixels, types

GRID = pixels(16, 3 * 2 * PATCH * PATCH, image_grid_thw=[[1, 4, 4]])
TYPES = types("mm_token_type_ids")
IDS = {"image_token_id": IMAGE, "video_token_id": VIDEO, "vision_start_token_id": START, "vision_end_token_id": END}
GLM_IDS = {
    "image_token_id": IMAGE, "video_token_id": VIDEO, "image_start_token_id": START, "image_end_token_id": END,
    "video_start_token_id": 14, "video_end_token_id": 15,
}  # fmt: skip


def rope(**more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4, **more}}


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
DELTA = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16,
    "layer_types": ["linear_attention"] * 3 + ["full_attention"],
}  # fmt: skip


def family(name: str, text: dict[str, Any], vision: dict[str, Any], ids: dict[str, int] = IDS) -> Family:
    made = config(name, text_config=TEXT | text, vision_config=vision, **ids)
    return Family(name, made, IMAGE, 4, GRID, ((START,), (END,)), TYPES)


FAMILIES = [
    family("qwen2_vl", rope(), {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "patch_size": PATCH}),
    family("qwen2_5_vl", rope(), TOWER | {"fullatt_block_indexes": [1], "window_size": 56}),
    family("qwen3_vl", HEAD | INTERLEAVED, DEEP),
    family("qwen3_vl_moe", HEAD | INTERLEAVED | EXPERTS, DEEP),
    family("qwen3_5", HEAD | PARTIAL | DELTA, LEARNED),
    family("qwen3_5_moe", HEAD | PARTIAL | DELTA | EXPERTS | {"shared_expert_intermediate_size": 32}, LEARNED),
    family("glm4v", rope(partial_rotary_factor=1.0), GLM_TOWER, GLM_IDS),
    family("glm4v_moe", HEAD | rope(partial_rotary_factor=1.0) | GLM_EXPERTS, GLM_TOWER, GLM_IDS),
    family("glm46v", rope(partial_rotary_factor=1.0), GLM_TOWER, GLM_IDS),
    family("glm_ocr", HEAD | rope(partial_rotary_factor=1.0), GLM_TOWER, GLM_IDS),
]

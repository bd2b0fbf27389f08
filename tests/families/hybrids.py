"""Families whose language model mixes attention with short convolutions, state spaces or sparse attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator

from tests.families.family import (
    END,
    FLOAT32,
    IMAGE,
    PATCH,
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
from tests.families.mropes import DELTA, EXPERTS, GLM_IDS, GLM_TOWER, GRID, HEAD, IDS, LEARNED, PARTIAL

QWEN3_5 = {"model_type": "qwen3_5_text", **TEXT, **HEAD, **PARTIAL, **DELTA}
CONV = ["conv", "sliding_attention", "full_attention", "conv"]
TILES = {"over_rows": {"pixel_values": 3}, "in_row": {"pixel_values": 3}}
MERGED = VISION | {"insert_layer_id": 0}
MINICPM = {"image_token_id": IMAGE, "video_token_id": VIDEO, "insert_layer_id": 0}
MARKS = {"image_start_id": START, "image_end_id": END, "slice_start_id": 14, "slice_end_id": 15, "newline_id": 16}


def strip(generator: Generator) -> Inputs:
    """Patches of a picture side by side, which MiniCPM-V joins to one long strip for the whole batch."""
    values = torch.randn(1, 3, PATCH, PATCH * 16, generator=generator, dtype=torch.float64)
    return {"pixel_values": values, "target_sizes": torch.tensor([[4, 4]])}


def minicpm(name: str, tokens: int, **more: Any) -> Family:
    mrope = {"beside": types("mm_token_type_ids"), "first_position": None} if name == "minicpmv4_7" else {}
    made = config(name, text_config=QWEN3_5, vision_config=MERGED, **MINICPM, **more)
    return Family(name, made, IMAGE, tokens, strip, ((START,), (END,)), tolerance=FLOAT32, **TILES, **mrope)


FAMILIES = [
    Family(
        "lfm2_vl",
        config(
            "lfm2_vl",
            text_config={
                "model_type": "lfm2", **TEXT, "layer_types": ["conv", "conv", "full_attention", "conv"],
                "block_auto_adjust_ff_dim": False,
            },
            vision_config=VISION | {"num_patches": 16}, image_token_id=IMAGE,
        ),
        IMAGE,
        4,
        pixels(1, 16, 3 * PATCH * PATCH, spatial_shapes=[[4, 4]], pixel_attention_mask=[[1] * 16]),
    ),
    Family(
        "lfm3_vl",
        config(
            "lfm3_vl",
            text_config={
                "model_type": "lfm3", **TEXT, **HEAD, "layer_types": CONV, "sliding_window": 8, "conv_L_cache": 4
            },
            vision_config=VISION | {"layer_types": ["conv", "full_attention"], "num_key_value_heads": 1},
            projector_hidden_size=64, **IDS,
        ),
        IMAGE,
        4,
        GRID,
        ((START,), (END,)),
    ),
    minicpm("minicpmv4_6", 1),
    minicpm("minicpmv4_7", 1, **MARKS),
    minicpm("minicpm_ocr", 4),
    Family(
        "nemotron_h_omni",
        config(
            "nemotron_h_omni",
            text_config={
                "model_type": "nemotron_h", **TEXT, **HEAD, "num_hidden_layers": 5, "ssm_state_size": 16,
                "layers_block_type": ["linear_attention", "moe", "linear_attention", "full_attention", "mlp"],
                "mamba_num_heads": 4, "mamba_head_dim": 32, "n_groups": 2, "chunk_size": 8, "n_routed_experts": 4,
                "moe_intermediate_size": 32, "moe_shared_expert_intermediate_size": 32,
            },
            vision_config={
                "model_type": "radio", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
                "patch_size": PATCH, "image_size": 56, "max_img_size": 56, "video_temporal_patch_size": 2,
            },
            projector_hidden_size=64, vision_hidden_size=32, image_token_id=IMAGE, video_token_id=VIDEO,
            audio_token_id=17, audio_config=None,
        ),
        IMAGE,
        4,
        pixels(16, 3 * PATCH * PATCH, image_grid_hw=[[4, 4]]),
        tolerance=FLOAT32,
    ),
    Family(
        "glm5_next",
        config(
            "glm5_next",
            text_config=TEXT | {
                "num_key_value_heads": 4, "layer_types": ["linear_attention"] * 3 + ["indexed_attention"],
                "mlp_layer_types": ["dense", "sparse", "sparse", "sparse"], "moe_intermediate_size": 32,
                "n_routed_experts": 4, "num_experts_per_tok": 2, "kv_lora_rank": 16, "q_lora_rank": 32,
                "v_head_dim": 16, "qk_nope_head_dim": 16, "index_topk": 8, "index_head_dim": 16, "index_n_heads": 8,
                "linear_head_dim": 16, "linear_num_heads": 4, "hc_mult": 2, "index_kpool": 2,
            },
            vision_config=GLM_TOWER | {"projection_intermediate_size": 64}, **GLM_IDS,
        ),
        IMAGE,
        4,
        GRID,
        ((START,), (END,)),
        types("mm_token_type_ids"),
        tolerance=FLOAT32,
    ),
    Family(
        "qwen4_exp",
        config(
            "qwen4_exp",
            text_config=TEXT | HEAD | PARTIAL | DELTA | EXPERTS | {
                "layer_types": ["linear_attention"] * 3 + ["indexed_attention"], "shared_expert_intermediate_size": 32,
                "hc_count": 2, "hc_lowrank": 8, "ple_layer_ids": [2], "ple_embed_dim": 32, "heads_per_ngram": 2,
                "ngram_vocab_size_base": 50, "make_ngram_vocab_size_divisible_by": 4, "split_ngram_parts": 4,
                "indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 16, "indexer_budget": 8,
                "indexer_compress_ratio": 2,
            },
            vision_config=LEARNED, **IDS,
        ),
        IMAGE,
        4,
        GRID,
        ((START,), (END,)),
        types("mm_token_type_ids"),
        first_position=None,
        tolerance=FLOAT32,
    ),
]  # fmt: skip

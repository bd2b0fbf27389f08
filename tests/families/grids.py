"""Families with plain positions whose pictures are lists of patches and a grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
)
from tests.families.mropes import FLAT, GRID, HEAD, TOWER

IDS = {"image_token_id": IMAGE, "video_token_id": VIDEO}
WINDOWS = {"sliding_window": 8, "layer_types": ["sliding_attention"] * 3 + ["full_attention"]}
PATCHES = pixels(16, 3, PATCH, PATCH, image_grid_thw=[[1, 4, 4]])
LATENT = {  # attention over a latent vector, and experts
    "num_key_value_heads": 4, "kv_lora_rank": 16, "q_lora_rank": 32, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
    "v_head_dim": 16, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1,
    "moe_intermediate_size": 32, "n_group": 1, "topk_group": 1,
}  # fmt: skip
EXPERTS = {"num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
INDEX = {"index_topk": 8, "index_head_dim": 16, "index_n_heads": 8}  # fewer heads give ties, which rounding breaks
ROUTED = {"tolerance": FLOAT32}  # a router that computes in float32
MUSE = {
    "pos_emb_height": 4, "pos_emb_width": 4, "num_attention_heads": 2, "num_hidden_layers": 2, "hidden_size": 32,
    "intermediate_size": 64, "patch_size": PATCH, "layer_types": ["window_attention", "full_attention"],
}  # fmt: skip


def family(
    name: str,
    text: dict[str, Any],
    vision: dict[str, Any],
    picture: Callable[[Generator], Inputs] = GRID,
    tokens: int = 4,
    changes: dict[str, Any] | None = None,
    **more: Any,
) -> Family:
    """`more` goes to the config with the two parts, `changes` to the family."""
    made = config(name, text_config=TEXT | text, vision_config=vision, **IDS | more)
    return Family(name, made, IMAGE, tokens, picture, ((START,), (END,)), **changes or {})


FAMILIES = [
    family(
        "kimi_k25", {"model_type": "deepseek_v3", "first_k_dense_replace": 1, **LATENT},
        VISION | {"pos_emb_height": 4, "pos_emb_width": 4}, PATCHES,
        changes=ROUTED, vision_start_token_id=START, vision_end_token_id=END, projection_hidden_size=32,
    ),
    family(
        "video_llama_3", {"model_type": "qwen2"}, VISION,
        pixels(16, 3 * PATCH * PATCH, image_grid_thw=[[1, 4, 4]], image_merge_sizes=[2]),
    ),
    family(
        "exaone4_5", {"model_type": "exaone4", **WINDOWS},
        TOWER | {"num_key_value_heads": 1, "fullatt_block_indexes": [1], "window_size": 56},
    ),
    family(
        "hyperclovax_vision_v2", {"model_type": "hyperclovax", "attention_multiplier": 0.25},
        TOWER | {"model_type": "qwen2_5_vl_vision", "fullatt_block_indexes": [1], "window_size": 56},
    ),
    family("muse_glimmer", HEAD | WINDOWS, MUSE, out_hidden_size=128, projector_hidden_size=64),
    family(
        "muse_spark", HEAD | WINDOWS | EXPERTS | {"moe_hidden_size": 32}, MUSE, out_hidden_size=128,
        projector_hidden_size=64, changes=ROUTED, audio_token_id=17,
        audio_config={"out_hidden_size": 64, "hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1]},
    ),
    family(
        "minimax_m3_vl",
        HEAD | EXPERTS | {
            "dense_intermediate_size": 96, "shared_intermediate_size": 32, "rotary_dim": 8, "index_n_heads": 2,
            "index_head_dim": 16, "index_block_size": 4, "index_topk_blocks": 2,
            "layer_types": ["full_attention", "minimax_m3_sparse"] * 2,
            "mlp_layer_types": ["dense", "sparse", "sparse", "sparse"],
        },
        VISION, changes={"padded": False, "tolerance": FLOAT32}, projector_hidden_size=64,
    ),
    family(
        "mistral_large4", LATENT | INDEX | {
            "no_rope_layers": [1, 0, 1, 0], "kv_source_layers": [0, 1, 0, 1],
            "indexer_types": ["full", "full", "shared", "full"],
        },
        VISION | {"model_type": "pixtral", "head_dim": 16},
        pixels(1, 3, 4 * PATCH, 4 * PATCH, image_sizes=[[4 * PATCH, 4 * PATCH]]),
    ),
    family(
        "dots3_note",
        LATENT | INDEX | {
            "head_dim": 16, "sliding_window_size": 8, "shared_experts_intermediate_size": 32,
            "layer_types": ["indexed_attention", "sliding_attention"] * 2, "swa_num_attention_heads": 4,
            "swa_num_key_value_heads": 4, "swa_q_lora_rank": 32, "swa_kv_lora_rank": 16, "swa_head_dim": 16,
            "swa_qk_nope_head_dim": 8, "swa_qk_rope_head_dim": 8, "swa_v_head_dim": 16,
        },
        VISION | {
            "moe_intermediate_size": 32, "mlp_layer_types": ["dense", "dense"], "adapter_in_dim": 32,
            "adapter_out_dim": 64,
        },
        FLAT, changes=ROUTED, audio_token_id=17, audio_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
            "downsample_hidden_size": 8, "adapter_input_size": 32, "adapter_out_dim": 64,
        },
    ),
    family(
        "inkling2",
        HEAD | {
            "swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 16, "sliding_window_size": 8,
            "d_rel": 8, "rel_extent": 16, "layer_types": ["hybrid_sliding", "hybrid"] * 2, "moe_intermediate_size": 32,
            "n_routed_experts": 4, "num_experts_per_tok": 2, "unpadded_vocab_size": 300,
            "n_layers_per_attn_res_block": 2, "log_scaling_n_floor": 16,
        },
        VISION | {
            "spatial_merge_size": 2, "posemb_grid_size": 4, "projection_hidden_dim": 64, "text_hidden_size": 64,
        },
        pixels(4, 2 * PATCH, 2 * PATCH, 3, image_grid_thw=[[1, 2, 2]]), changes={"float64": False, "tolerance": 1e-3},
    ),
    family(
        "inkling_mm_model",
        HEAD | {
            "swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 16, "sliding_window_size": 8,
            "d_rel": 8, "rel_extent": 16, "layer_types": ["hybrid_sliding", "hybrid"] * 2, "moe_intermediate_size": 32,
            "mlp_layer_types": ["dense", "sparse"] * 2, "n_routed_experts": 4, "num_experts_per_tok": 2,
            "n_shared_experts": 1, "unpadded_vocab_size": 300, "log_scaling_n_floor": 16,
        },
        {"text_hidden_size": 64, "patch_size": 8, "temporal_patch_size": 2, "hidden_size": 32, "num_hidden_layers": 4},
        pixels(4, 2, 8, 8, 3), changes={"padded": False}, audio_token_id=17,
        image_bos_token_id=START, audio_bos_token_id=18,
        audio_config={"n_mel_bins": 4, "mel_vocab_size": 8, "text_hidden_size": 64},
    ),
]  # fmt: skip

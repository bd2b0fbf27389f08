"""The Gemma line: windows, bidirectional pictures, keys and values shared between layers."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from transformers import AutoConfig, PreTrainedConfig

from tests.families.family import (
    END,
    FLOAT32,
    IMAGE,
    PATCH,
    SQUARE,
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

HEAD = {"head_dim": 16}
LAYERS = ["sliding_attention"] * 3 + ["full_attention"]
WINDOW = {"sliding_window": 8, "layer_types": LAYERS}
SIGLIP = {"model_type": "siglip_vision_model", **VISION, "vision_use_head": False}
AROUND = ((START,), (END,))
IDS = {"image_token_id": IMAGE, "boi_token_id": START, "eoi_token_id": END}
GEMMA3 = config(
    "gemma3", text_config=TEXT | HEAD | WINDOW | {"query_pre_attn_scalar": 16}, vision_config=VISION,
    mm_tokens_per_image=4, image_token_index=IMAGE, boi_token_index=START, eoi_token_index=END,
)  # fmt: skip
SHARED = {
    "global_head_dim": 16, "vocab_size_per_layer_input": 300, "hidden_size_per_layer_input": 8, "sliding_window": 8,
    "num_kv_shared_layers": 2, "layer_types": ["sliding_attention", "full_attention"] * 2,
}  # fmt: skip
LARGE = {
    "global_head_dim": 16, "hidden_size_per_layer_input": 0, "use_bidirectional_attention": "vision",
    "num_global_key_value_heads": 1, "attention_k_eq_v": True, "enable_moe_block": True, "num_experts": 4,
    "top_k_experts": 2, "moe_intermediate_size": 32,
}  # fmt: skip
GEMMA4_TOWER = VISION | {"num_key_value_heads": 2, "position_embedding_size": 64, "pooling_kernel_size": 2, **HEAD}
UNIFIED_TOWER = {
    "patch_size": PATCH // 2, "pooling_kernel_size": 2, "mm_embed_dim": 32, "mm_posemb_size": 64,
    "output_proj_dims": 32,
}  # fmt: skip


def gemma4(name: str, text: dict[str, object]) -> Family:
    made = config(
        "gemma4", text_config=TEXT | HEAD | text, vision_config=GEMMA4_TOWER, audio_config=None, video_token_id=VIDEO,
        **IDS,
    )  # fmt: skip
    return Family(name, made, IMAGE, 4, patches, AROUND, types("mm_token_type_ids"))


def grid(side: int) -> Tensor:
    """Positions (x, y) of the patches of a square picture [1, side * side, 2]."""
    return torch.cartesian_prod(torch.arange(side), torch.arange(side)).flip(-1)[None]


def patches(generator: Generator) -> Inputs:
    values = torch.rand(1, 16, 3 * PATCH * PATCH, generator=generator, dtype=torch.float64)
    return {"pixel_values": values, "image_position_ids": grid(4)}


def large_patches(generator: Generator) -> Inputs:
    values = torch.rand(1, 4, 3 * PATCH * PATCH, generator=generator, dtype=torch.float64)
    return {"pixel_values": values, "image_position_ids": grid(2)}


def after_prefix(ids: Tensor, prefix: int) -> Inputs:
    """PaliGemma's token types: 0 in the prefix, 1 in the answer."""
    return {"token_type_ids": (torch.arange(ids.shape[1]) >= prefix).long().expand_as(ids)}


def paligemma(name: str, text: dict[str, object], **changes: float) -> Family:
    made = config(
        "paligemma", text_config=TEXT | HEAD | text, vision_config=SIGLIP, image_token_index=IMAGE, projection_dim=64
    )
    return Family(name, made, IMAGE, 16, SQUARE, beside=after_prefix, first_position=1, **changes)


def gemma3n() -> PreTrainedConfig:
    """Its own tower needs timm; a ConvNeXt stands in, past a check of the type."""
    made = config(
        "gemma3n",
        text_config=TEXT
        | HEAD
        | {
            "vocab_size_per_layer_input": 290,
            "hidden_size_per_layer_input": 8,
            "sliding_window": 8,
            "num_kv_shared_layers": 2,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "laurel_rank": 8,
            "activation_sparsity_pattern": [0.5, 0.5, 0.0, 0.0],
        },
        audio_config={
            "vocab_size": 2,
            "vocab_offset": 298,
            "hidden_size": 32,
            "conf_num_hidden_layers": 1,
            "conf_num_attention_heads": 2,
            "sscp_conv_channel_size": [4, 4],
            "input_feat_size": 16,
        },
        vision_soft_tokens_per_image=16,
        audio_token_id=17,
        **IDS,
    )()
    made.__dict__["vision_config"] = AutoConfig.for_model(
        "convnext", hidden_sizes=[16, 32], depths=[1, 1], num_stages=2, hidden_size=32, vocab_size=2, vocab_offset=296,
        rms_norm_eps=1e-6,
    )  # fmt: skip
    return made


FAMILIES = [
    Family("gemma3", GEMMA3, IMAGE, 4, SQUARE, AROUND, types("token_type_ids")),
    gemma4("gemma4", SHARED),
    gemma4("gemma4-large", WINDOW | LARGE),
    Family(
        "gemma4_unified",
        config(
            "gemma4_unified",
            text_config=TEXT | HEAD | WINDOW | {"global_head_dim": 16, "num_global_key_value_heads": 1},
            vision_config=UNIFIED_TOWER, audio_config=None, video_token_id=VIDEO, **IDS,
        ),
        IMAGE,
        4,
        large_patches,
        AROUND,
        types("mm_token_type_ids"),
    ),
    Family(
        "gemma3n",
        gemma3n,
        IMAGE,
        16,
        pixels(1, 3, 32, 32),
        AROUND,
        types("token_type_ids"),
    ),
    paligemma("paligemma", {"model_type": "gemma"}),
    paligemma(
        "paligemma2", {"model_type": "gemma2", "query_pre_attn_scalar": 16, "sliding_window": 8}, tolerance=FLOAT32
    ),
]  # fmt: skip

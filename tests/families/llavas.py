"""Families with plain positions and a causal row, in which picture features replace a run of image tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator

from tests.families.family import IMAGE, PATCH, SIDE, SQUARE, TEXT, VISION, Family, Inputs, config, pixels

CLIP = {"model_type": "clip_vision_model", **VISION, "num_hidden_layers": 4}
SIGLIP = {"model_type": "siglip_vision_model", **VISION, "vision_use_head": False}
PIXTRAL = {"model_type": "pixtral", **VISION, "head_dim": 16}
CONVNEXT = {"model_type": "convnext", "hidden_sizes": [16, 32], "depths": [1, 1], "num_stages": 2, "hidden_size": 32}
LLAMA, QWEN2 = {"model_type": "llama", **TEXT}, {"model_type": "qwen2", **TEXT}
QWEN3 = {"model_type": "qwen3", **TEXT, "head_dim": 16}
MISTRAL = {"model_type": "mistral", **TEXT, "head_dim": 16, "sliding_window": 8}
MINISTRAL = {
    "model_type": "ministral3", **TEXT, "head_dim": 16, "sliding_window": 8,
    "rope_parameters": {
        "rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16,
        "llama_4_scaling_beta": 0.1, "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0,
    },
}  # fmt: skip
WINDOWS = {"sliding_window": 8, "layer_types": ["sliding_attention"] * 3 + ["full_attention"]}
GPT_OSS = {
    "model_type": "gpt_oss", **TEXT, **WINDOWS, "head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2,
}  # fmt: skip
COHERE2 = {"model_type": "cohere2", **TEXT, **WINDOWS}
GRANITE = {"model_type": "granite", **TEXT, "attention_multiplier": 0.25, "embedding_multiplier": 2.0}
TILE = {"image_grid_pinpoints": [[SIDE, SIDE]]}
FULL = {"vision_feature_layer": -1, "vision_feature_select_strategy": "full"}
SIZED = pixels(1, 3, SIDE, SIDE, image_sizes=[[SIDE, SIDE]])
TILED = pixels(1, 2, 3, SIDE, SIDE, image_sizes=[[SIDE, SIDE]])
LISTED = pixels(1, 1, 3, SIDE, SIDE, pixel_attention_mask=[[[[1] * SIDE] * SIDE]])
MASKED = {"in_row": {"pixel_values": 1, "pixel_attention_mask": 1}}
ANYRES = 16 + 4 * 5  # the whole picture, and one tile with a newline after each of its rows


def plain(
    name: str,
    tokens: int,
    text: dict[str, Any],
    vision: dict[str, Any],
    picture: Callable[[Generator], Inputs] = SQUARE,
    changes: dict[str, Any] | None = None,
    **more: Any,
) -> Family:
    """`name` is the model type, with a variant after a hyphen; `changes` go to the family, `more` to the config."""
    made = config(name.split("-")[0], text_config=text, vision_config=vision, image_token_id=IMAGE, **more)
    return Family(name, made, IMAGE, tokens, picture, **changes or {})


def two_resolutions(generator: Generator) -> Inputs:
    high = torch.randn(1, 3, 2 * SIDE, 2 * SIDE, generator=generator, dtype=torch.float64)
    return SQUARE(generator) | {"high_res_pixel_values": high}


FAMILIES = [
    plain("llava", 16, LLAMA, CLIP),
    plain("llava-layers", 16, LLAMA, CLIP, vision_feature_layer=[-2, 1]),
    plain("llava-pixtral", 16, MISTRAL, PIXTRAL, SIZED, **FULL),
    plain("vipllava", 16, LLAMA, CLIP, vision_feature_layer=[-2, -3, 1]),
    plain("llava_next", ANYRES, MISTRAL, CLIP, TILED, **TILE),
    plain("llava_next-granite", ANYRES, GRANITE, SIGLIP, TILED, **TILE, **FULL),
    plain("llava_next_video", ANYRES, LLAMA, CLIP, TILED, **TILE),
    plain("llava_onevision", ANYRES, QWEN2, SIGLIP, TILED, **TILE),
    plain(
        "internvl", 4, QWEN2, VISION | {"image_size": [SIDE, SIDE], "patch_size": [PATCH, PATCH]}, image_seq_length=4
    ),
    plain(
        "internvl-qwen3", 4, QWEN3, VISION | {"image_size": [SIDE, SIDE], "patch_size": [PATCH, PATCH]},
        image_seq_length=4,
    ),
    plain(
        "internvl-gpt_oss", 4, GPT_OSS, VISION | {"image_size": [SIDE, SIDE], "patch_size": [PATCH, PATCH]},
        image_seq_length=4,
    ),
    plain("smolvlm", 4, LLAMA, VISION, LISTED, MASKED),
    plain("idefics3", 4, LLAMA, VISION, LISTED, MASKED),
    plain(
        "idefics2", 4, MISTRAL, VISION, LISTED, MASKED,
        perceiver_config={
            "hidden_size": 64, "resampler_n_latents": 4, "resampler_depth": 2, "resampler_n_heads": 4,
            "resampler_head_dim": 16, "num_key_value_heads": 2,
        },
    ),
    plain("mistral3", 4, MISTRAL, PIXTRAL, SIZED),
    plain("mistral3-ministral", 4, MINISTRAL, PIXTRAL, SIZED),
    plain("lighton_ocr", 4, QWEN3, PIXTRAL, SIZED),
    plain("aya_vision", 4, COHERE2, SIGLIP),
    plain("cohere2_vision", 4, COHERE2, SIGLIP, alignment_intermediate_size=64),
    plain(
        "ovis2", 4, QWEN2,
        VISION | {"vocab_size": 40, "hidden_stride": 2, "num_visual_indicator_tokens": 5},
        visual_indicator_token_ids=[3, 4, 5, 6, 7], hidden_size=64, vocab_size=300,
    ),
    plain("deepseek_vl", 16, LLAMA, SIGLIP),
    plain(
        "deepseek_vl_hybrid", 16, LLAMA, SIGLIP, two_resolutions,
        high_res_vision_config={
            "model_type": "sam_vision_model", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 2 * SIDE, "patch_size": PATCH, "window_size": 4, "global_attn_indexes": [1], "mlp_dim": 64,
            "output_channels": 16,
        },
    ),
    plain(
        "janus", 16, LLAMA, VISION | {"projection_dim": 64, "num_image_tokens": 16},
        vq_config={
            "embed_dim": 8, "num_embeddings": 32, "latent_channels": 32, "base_channels": 32, "projection_dim": 64,
            "channel_multiplier": [1, 1], "num_res_blocks": 1, "image_token_embed_dim": 64,
        },
    ),
    plain("perception_lm", 16, LLAMA, CLIP | {"model_args": {"embed_dim": 32}}, pixels(1, 1, 3, SIDE, SIDE)),
    plain("fast_vlm", 16, QWEN2, CONVNEXT, pixels(1, 3, 32, 32), **FULL),
    plain(
        "got_ocr2", 4, QWEN2,
        {
            "hidden_size": 32, "output_channels": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 2 * SIDE, "patch_size": PATCH, "window_size": 4, "global_attn_indexes": [1], "mlp_dim": 64,
        },
        pixels(1, 3, 2 * SIDE, 2 * SIDE),
    ),
    plain(
        "granite4_vision", 4 + 2 * 3, TEXT | {"attention_multiplier": 0.25}, CLIP | {"hidden_size": 64}, TILED,
        downsample_rate="1/2", deepstack_layer_map=[[1, 0], [2, 1]], spatial_target_layers=[2, 3],
        projector_dropout=0.0,
        qformer_config={
            "model_type": "blip_2_qformer", "num_hidden_layers": 1, "intermediate_size": 64,
            "cross_attention_frequency": 1, "use_qformer_text_input": False, "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        },
        **TILE,
    ),
]  # fmt: skip

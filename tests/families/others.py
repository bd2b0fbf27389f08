"""The other families: cross-attention, pictures as discrete tokens, experts, readers of documents."""

from __future__ import annotations

from itertools import product

import torch
from torch import Generator, Tensor

from tests.families.family import (
    END,
    FLOAT32,
    IMAGE,
    PATCH,
    SIDE,
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
from tests.families.llavas import LLAMA, QWEN3

HEAD = {"head_dim": 16}
AROUND = ((START,), (END,))
IDS = {"image_token_id": IMAGE}
SAM = {
    "hidden_size": 32, "output_channels": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 256,
    "patch_size": 16, "window_size": 4, "global_attn_indexes": [1], "downsample_channels": [16, 32],
}  # fmt: skip
DEEPSEEK = {
    "num_key_value_heads": 4, "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2,
    "moe_intermediate_size": 32, "mlp_layer_types": ["dense", "sparse", "sparse", "sparse"],
}  # fmt: skip
KOSMOS = {
    "vocab_size": 300, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "dropout": 0.0,
    "attention_dropout": 0.0, "embed_dim": 64, "layers": 4, "ffn_dim": 96, "attention_heads": 4,
}  # fmt: skip
NUMBERS = ["".join(pair) for pair in product("ABCD", "ABCDEFGHIJ")][:32]  # 0 to 31, as Chameleon writes them
QUANTISER = {
    "embed_dim": 8, "num_embeddings": 32, "latent_channels": 32, "base_channels": 32, "channel_multiplier": [1, 1, 1],
    "num_res_blocks": 1, "resolution": SIDE,
}  # fmt: skip


def molmo_picture(generator: Generator) -> Inputs:
    """16 patches, of which each token pools four."""
    values = torch.randn(1, 16, 3 * PATCH * PATCH, generator=generator, dtype=torch.float64)
    pooling = torch.arange(16).view(2, 2, 2, 2).transpose(1, 2).reshape(4, 4)
    return {
        "pixel_values": values[None], "image_token_pooling": pooling, "image_grids": torch.tensor([[2, 2, 0, 0]]),
        "image_num_crops": torch.tensor([1]),
    }  # fmt: skip


def number_patches(inputs: Inputs) -> Inputs:
    """Molmo2's tokens name their patches by their place in the whole batch: 16 patches and 4 tokens per picture."""
    before = 16 * torch.arange(len(inputs["image_grids"])).repeat_interleave(4)
    return inputs | {"image_token_pooling": inputs["image_token_pooling"] + before[:, None]}


def after_picture(ids: Tensor, prefix: int) -> Inputs:
    """Mllama's mask [rows, length, pictures, tiles]: text sees the last picture before it, of two tiles.

    An answer without the row's image tokens sees the one picture of its prompt.
    """
    number = (ids == IMAGE).cumsum(1)
    pictures = max(int(number.max()), 1)
    if not number.any():
        number = number + 1
    seen = number[..., None] == torch.arange(1, pictures + 1)
    return {"cross_attention_mask": seen.long()[..., None].expand(-1, -1, -1, 2)}


def places(ids: Tensor, prefix: int) -> Inputs:
    """Kosmos is told where the picture stands, and only if there is one."""
    return {"image_embeds_position_mask": (ids == IMAGE).long()} if (ids == IMAGE).any() else {}


def places_or_nothing(ids: Tensor, prefix: int) -> Inputs:
    """Kosmos-2 insists on a picture in every pass, and ignores it if there is a past."""
    return places(ids, prefix) or {"image_embeds": torch.zeros(len(ids), 4, 64)}


def numbered_patches(generator: Generator) -> Inputs:
    """Patches behind their row and column, counted from 1."""
    places = torch.cartesian_prod(torch.arange(1, 5), torch.arange(1, 5)).double()
    values = torch.randn(16, 3 * PATCH * PATCH, generator=generator, dtype=torch.float64)
    return {"flattened_patches": torch.cat([places, values], 1)[None]}


FAMILIES = [
    Family(
        "molmo2",
        config(
            "molmo2", text_config=TEXT | HEAD | {"additional_vocab_size": 0},
            vision_config=VISION | HEAD | {"image_size": [SIDE, SIDE], "num_key_value_heads": 2},
            adapter_config={
                **HEAD, "vision_feature_layer": [-1, 0], "hidden_size": 32, "num_attention_heads": 2,
                "num_key_value_heads": 2, "intermediate_size": 64, "text_hidden_size": 64,
            },
            image_patch_id=IMAGE, image_start_token_id=START, image_end_token_id=END, low_res_image_start_token_id=14,
            frame_start_token_id=15, frame_end_token_id=16,
        ),
        IMAGE,
        4,
        molmo_picture,
        AROUND,
        types("mm_token_type_ids"),
        renumber=number_patches,
    ),
    Family(
        "llama4",
        config(
            "llama4",
            text_config=TEXT | HEAD | {
                "intermediate_size": 32, "intermediate_size_mlp": 64, "num_local_experts": 4, "attention_chunk_size": 8,
                "interleave_moe_layer_step": 2, "floor_scale": 8,
            },
            vision_config=VISION | {
                "intermediate_size": 128, "projector_input_dim": 64, "projector_output_dim": 64,
                "vision_output_dim": 64,
            },
            image_token_index=IMAGE, boi_token_index=START, eoi_token_index=END,
        ),
        IMAGE,
        4,
        SQUARE,
        AROUND,
        padded=False,
        tolerance=FLOAT32,
    ),
    Family(
        "mllama",
        config(
            "mllama", text_config=TEXT | {"num_hidden_layers": 5, "cross_attention_layers": [1, 3]},
            vision_config=VISION | {
                "attention_heads": 2, "num_global_layers": 1, "vision_output_dim": 64, "max_num_tiles": 2,
                "intermediate_layers_indices": [0], "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]],
            },
            image_token_index=IMAGE,
        ),
        IMAGE,
        1,
        pixels(1, 1, 2, 3, SIDE, SIDE, aspect_ratio_ids=[[2]], aspect_ratio_mask=[[[1, 1]]]),
        beside=after_picture,
        in_row={"pixel_values": 1, "aspect_ratio_ids": 1, "aspect_ratio_mask": 1},
    ),
    Family(
        "aria",
        config(
            "aria",
            text_config=TEXT | {
                "moe_num_experts": 4, "moe_topk": 2, "moe_num_shared_experts": 1, "intermediate_size": 32
            },
            vision_config=VISION | {"model_type": "idefics3_vision"}, image_token_index=IMAGE,
            projector_patch_to_query_dict={"16": 4},
        ),
        IMAGE,
        4,
        SQUARE,
    ),
    Family(
        "deepseek_ocr2",
        config(
            "deepseek_ocr2", text_config=TEXT | DEEPSEEK,
            vision_config={
                "sam_config": SAM, "encoder_config": TEXT | {"hidden_size": 32, "num_hidden_layers": 1},
            },
            **IDS,
        ),
        IMAGE,
        144 + 1,
        pixels(1, 3, 64, 64),
    ),
    Family(
        "unlimited_ocr",
        config(
            "unlimited_ocr", text_config=TEXT | DEEPSEEK | {"sliding_window": 64},
            vision_config={"sam_config": SAM, "encoder_config": VISION | {"image_size": 28}}, **IDS,
        ),
        IMAGE,
        2 * 3 + 1,
        pixels(1, 3, 128, 128),
    ),
    Family(
        "step3p7",
        config(
            "step3p7",
            text_config=TEXT | HEAD | {
                "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "share_expert_dim": 32,
                "sliding_window": 8, "layer_types": ["full_attention", "sliding_attention"] * 2,
                "mlp_layer_types": ["dense", "dense", "sparse", "sparse"], "num_sliding_attention_heads": 2,
            },
            vision_config=VISION | {"mlp_ratio": 2.0, "max_position_embeddings": 16}, **IDS,
        ),
        IMAGE,
        1,
        SQUARE,
        tolerance=FLOAT32,
    ),
    Family(
        "qianfan_ocr",
        config(
            "qianfan_ocr", text_config=QWEN3,
            vision_config=VISION | {"image_size": [SIDE, SIDE], "patch_size": [PATCH, PATCH], "drop_path_rate": 0.0},
            image_seq_length=4, **IDS,
        ),
        IMAGE,
        4,
        SQUARE,
    ),
    Family(
        "granite_docling",
        config(
            "granite_docling", text_config=TEXT | {"attention_multiplier": 0.25},
            vision_config=VISION | {"out_hidden_size": 64, "scale_factor": 2, "deepstack_visual_indexes": [0, 1]},
            pad_token_id=0, **IDS,
        ),
        IMAGE,
        4,
        pixels(1, 1, 3, SIDE, SIDE, pixel_attention_mask=[[True]]),
        in_row={"pixel_values": 1, "pixel_attention_mask": 1},
    ),
    Family(
        "chameleon",
        config(
            "chameleon", vq_config=QUANTISER,
            vocabulary_map={"<image>": IMAGE, **{f"IMGIMG{letters}Z": 300 + i for i, letters in enumerate(NUMBERS)}},
            **TEXT | {"vocab_size": 340},
        ),
        IMAGE,
        14 * 14,
        SQUARE,
    ),
    Family(
        "emu3",
        config(
            "emu3", text_config=TEXT | {"attention_dropout": 0.0, "vocab_size": 340},
            vq_config={
                "codebook_size": 32, "embed_dim": 4, "latent_channels": 4, "base_channels": 32,
                "channel_multiplier": [1, 1, 1], "num_res_blocks": 1, "attn_resolutions": [], "hidden_size": 32,
            },
            vocabulary_map={
                "<image>": IMAGE, "<|extra_200|>": 14, **{f"<|visual token {i:06d}|>": 300 + i for i in range(32)},
            },
        ),
        IMAGE,
        14 * 15,
        pixels(1, 3, SIDE, SIDE, image_sizes=[[SIDE, SIDE]]),
        padded=False,
    ),
    Family(
        "fuyu",
        config(
            "fuyu", text_config=TEXT | {"model_type": "persimmon", "attention_dropout": 0.0, "hidden_dropout": 0.0},
            image_size=SIDE, patch_size=PATCH, **IDS,
        ),
        IMAGE,
        16,
        pixels(1, 16, 3 * PATCH * PATCH),
    ),
    Family(
        "kosmos-2",
        config(
            "kosmos-2",
            text_config=KOSMOS,
            vision_config=VISION, latent_query_num=4,
        ),
        IMAGE,
        4,
        SQUARE,
        beside=places_or_nothing,
        first_position=1,
        float64=False,
        tolerance=1e-3,
    ),
    Family(
        "kosmos-2.5",
        config(
            "kosmos-2.5",
            text_config=KOSMOS,
            vision_config=VISION
            | {"patch_embed_hidden_size": 3 * PATCH * PATCH, "head_dim": 16, "max_num_patches": 32},
            latent_query_num=4,
        ),
        IMAGE,
        4,
        numbered_patches,
        beside=places,
        first_position=1,
    ),
    Family(
        "video_llava",
        config(
            "video_llava", text_config=LLAMA, vision_config=VISION | {"model_type": "clip_vision_model"},
            image_token_index=IMAGE, video_token_index=VIDEO,
        ),
        IMAGE,
        16,
        lambda generator: {"pixel_values_images": SQUARE(generator)["pixel_values"]},
    ),
]  # fmt: skip

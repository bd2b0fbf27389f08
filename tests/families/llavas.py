"""Families with plain positions: picture features replace a run of image tokens in a causal row."""

from __future__ import annotations

from tests.families.family import IMAGE, PATCH, SIDE, SQUARE, TEXT, VISION, Family, config, pixels

CLIP = {"model_type": "clip_vision_model", **VISION, "num_hidden_layers": 4}
SIGLIP = {"model_type": "siglip_vision_model", **VISION, "vision_use_head": False}
PIXTRAL = {"model_type": "pixtral", **VISION, "head_dim": 16}
LLAMA, QWEN2 = {"model_type": "llama", **TEXT}, {"model_type": "qwen2", **TEXT}
MISTRAL = {"model_type": "mistral", **TEXT, "head_dim": 16, "sliding_window": 8}
SIZES = {"image_sizes": [[SIDE, SIDE]]}

FAMILIES = [
    Family("llava", config("llava", text_config=LLAMA, vision_config=CLIP, image_token_index=IMAGE), IMAGE, 16, SQUARE),
    Family(
        "llava-layers",
        config("llava", text_config=LLAMA, vision_config=CLIP, image_token_index=IMAGE, vision_feature_layer=[-2, 1]),
        IMAGE,
        16,
        SQUARE,
    ),
    Family(
        "llava-pixtral",
        config(
            "llava", text_config=MISTRAL, vision_config=PIXTRAL, image_token_index=IMAGE, vision_feature_layer=-1,
            vision_feature_select_strategy="full",
        ),
        IMAGE,
        16,
        pixels(1, 3, SIDE, SIDE, **SIZES),
    ),
    Family(
        "vipllava",
        config(
            "vipllava", text_config=LLAMA, vision_config=CLIP, image_token_index=IMAGE,
            vision_feature_layer=[-2, -3, 1],
        ),
        IMAGE,
        16,
        SQUARE,
    ),
    Family(
        "llava_next",
        config(
            "llava_next", text_config=MISTRAL, vision_config=CLIP, image_token_index=IMAGE,
            image_grid_pinpoints=[[SIDE, SIDE]],
        ),
        IMAGE,
        16 + 4 * 5,  # the picture, and one tile with a newline after each row
        pixels(1, 2, 3, SIDE, SIDE, **SIZES),
    ),
    Family(
        "llava_onevision",
        config(
            "llava_onevision", text_config=QWEN2, vision_config=SIGLIP, image_token_index=IMAGE,
            image_grid_pinpoints=[[SIDE, SIDE]],
        ),
        IMAGE,
        16 + 4 * 5,
        pixels(1, 2, 3, SIDE, SIDE, **SIZES),
    ),
    Family(
        "internvl",
        config(
            "internvl", text_config=QWEN2,
            vision_config=VISION | {"image_size": [SIDE, SIDE], "patch_size": [PATCH, PATCH]},
            image_token_id=IMAGE, image_seq_length=4,
        ),
        IMAGE,
        4,
        SQUARE,
    ),
    Family(
        "mistral3",
        config("mistral3", text_config=MISTRAL, vision_config=PIXTRAL, image_token_index=IMAGE),
        IMAGE,
        4,
        pixels(1, 3, SIDE, SIDE, **SIZES),
    ),
]  # fmt: skip

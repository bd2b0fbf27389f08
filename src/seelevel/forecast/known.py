"""Configurations of the shipped recipes' models, so that their cost can be estimated before they are downloaded."""

from __future__ import annotations

from typing import Any


def _text(layers: int, hidden: int, heads: int, kv_heads: int, mlp: int, vocabulary: int) -> dict[str, Any]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": mlp,
        "vocab_size": vocabulary,
    }


def _llava(kind: str, *text: int) -> dict[str, Any]:
    """LLaVA with CLIP's large tower for 336 pixels."""
    vision = {"num_hidden_layers": 24, "hidden_size": 1024, "intermediate_size": 4096}
    return {
        "model_type": kind,
        "image_grid_pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
        "text_config": {"model_type": "llama", **_text(*text)},
        "vision_config": {"model_type": "clip_vision_model", **vision, "image_size": 336, "patch_size": 14},
    }


def _qwen25(tower: int, tied: bool, *text: int) -> dict[str, Any]:
    """Qwen2.5-VL. `tower`: width of the MLP in its tower. `tied`: the head is the embeddings."""
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": tower, "out_hidden_size": text[1]}
    return {
        "model_type": "qwen2_5_vl",
        "tie_word_embeddings": tied,
        "text_config": _text(*text),
        "vision_config": vision,
    }


KNOWN: dict[str, dict[str, Any]] = {
    "llava-hf/llava-1.5-7b-hf": _llava("llava", 32, 4096, 32, 32, 11008, 32064),
    "llava-hf/llava-1.5-13b-hf": _llava("llava", 40, 5120, 40, 40, 13824, 32064),
    "llava-hf/llava-v1.6-34b-hf": _llava("llava_next", 60, 7168, 56, 8, 20480, 64064),
    "Qwen/Qwen2.5-VL-3B-Instruct": _qwen25(3420, True, 36, 2048, 16, 2, 11008, 151936),
    "Qwen/Qwen2.5-VL-7B-Instruct": _qwen25(3420, False, 28, 3584, 28, 4, 18944, 152064),
    "Qwen/Qwen2.5-VL-32B-Instruct": _qwen25(3456, False, 64, 5120, 40, 8, 27648, 152064),
}

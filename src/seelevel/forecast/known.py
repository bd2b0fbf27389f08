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


_SMALL_TOWER = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "deepstack_visual_indexes": [5, 11, 17]}
"""The tower of Qwen3-VL and Qwen3.5 up to 4B; that of the larger ones is the library's default."""


def _qwen3(tower: dict[str, Any], tied: bool, *text: int) -> dict[str, Any]:
    """Qwen3-VL. `tied`: the head is the embeddings."""
    return {
        "model_type": "qwen3_vl",
        "tie_word_embeddings": tied,
        "text_config": {**_text(*text), "head_dim": 128},
        "vision_config": {**tower, "out_hidden_size": text[1]},
    }


def _qwen35(tower: dict[str, Any], tied: bool, value_heads: int, *text: int) -> dict[str, Any]:
    """Qwen3.5. `value_heads`: of its recurrent layers. `tied`: the head is the embeddings."""
    return {
        "model_type": "qwen3_5",
        "tie_word_embeddings": tied,
        "text_config": {**_text(*text), "linear_num_value_heads": value_heads},
        "vision_config": {**tower, "out_hidden_size": text[1]},
    }


def _internvl(*text: int) -> dict[str, Any]:
    """InternVL3.5 with the tower of 300M and a Qwen3."""
    return {
        "model_type": "internvl",
        "tie_word_embeddings": False,
        "text_config": {"model_type": "qwen3", **_text(*text), "head_dim": 128},
    }


def _gemma3(head: int, *text: int) -> dict[str, Any]:
    """Gemma 3 with SigLIP's tower for 896 pixels. `head`: width of a head of attention."""
    vision = {"num_hidden_layers": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_attention_heads": 16}
    return {
        "model_type": "gemma3",
        "text_config": {"model_type": "gemma3_text", **_text(*text), "head_dim": head, "sliding_window": 1024},
        "vision_config": {
            "model_type": "siglip_vision_model",
            **vision,
            "image_size": 896,
            "patch_size": 14,
            "vision_use_head": False,
        },
    }


def _smolvlm(scale: int, vision: dict[str, Any], *text: int) -> dict[str, Any]:
    """SmolVLM2. `scale`: patches along a side of what becomes a token."""
    return {
        "model_type": "smolvlm",
        "scale_factor": scale,
        "text_config": {"model_type": "llama", **_text(*text)},
        "vision_config": vision,
    }


_SIGLIP_LARGE = {
    "num_hidden_layers": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
}
_SIGLIP_BASE = {
    "num_hidden_layers": 12,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "image_size": 512,
    "patch_size": 16,
}

KNOWN: dict[str, dict[str, Any]] = {
    "llava-hf/llava-1.5-7b-hf": _llava("llava", 32, 4096, 32, 32, 11008, 32064),
    "llava-hf/llava-1.5-13b-hf": _llava("llava", 40, 5120, 40, 40, 13824, 32064),
    "llava-hf/llava-v1.6-34b-hf": _llava("llava_next", 60, 7168, 56, 8, 20480, 64064),
    "Qwen/Qwen2.5-VL-3B-Instruct": _qwen25(3420, True, 36, 2048, 16, 2, 11008, 151936),
    "Qwen/Qwen2.5-VL-7B-Instruct": _qwen25(3420, False, 28, 3584, 28, 4, 18944, 152064),
    "Qwen/Qwen2.5-VL-32B-Instruct": _qwen25(3456, False, 64, 5120, 40, 8, 27648, 152064),
    "Qwen/Qwen3-VL-4B-Instruct": _qwen3(_SMALL_TOWER, True, 36, 2560, 32, 8, 9728, 151936),
    "Qwen/Qwen3-VL-8B-Instruct": _qwen3({}, False, 36, 4096, 32, 8, 12288, 151936),
    "Qwen/Qwen3-VL-32B-Instruct": _qwen3({}, False, 64, 5120, 64, 8, 25600, 151936),
    "Qwen/Qwen3.5-4B": _qwen35(_SMALL_TOWER, True, 32, 32, 2560, 16, 4, 9216, 248320),
    "Qwen/Qwen3.5-9B": _qwen35({}, False, 32, 32, 4096, 16, 4, 12288, 248320),
    "Qwen/Qwen3.5-27B": _qwen35({}, False, 48, 64, 5120, 24, 4, 17408, 248320),
    "OpenGVLab/InternVL3_5-4B-HF": _internvl(36, 2560, 32, 8, 9728, 151936),
    "OpenGVLab/InternVL3_5-8B-HF": _internvl(36, 4096, 32, 8, 12288, 151936),
    "OpenGVLab/InternVL3_5-14B-HF": _internvl(40, 5120, 40, 8, 17408, 151936),
    "google/gemma-3-4b-it": _gemma3(256, 34, 2560, 8, 4, 10240, 262208),
    "google/gemma-3-12b-it": _gemma3(256, 48, 3840, 16, 8, 15360, 262208),
    "google/gemma-3-27b-it": _gemma3(128, 62, 5376, 32, 16, 21504, 262208),
    "HuggingFaceTB/SmolVLM2-256M-Video-Instruct": _smolvlm(4, _SIGLIP_BASE, 30, 576, 9, 3, 1536, 49280),
    "HuggingFaceTB/SmolVLM2-500M-Video-Instruct": _smolvlm(4, _SIGLIP_BASE, 32, 960, 15, 5, 2560, 49280),
    "HuggingFaceTB/SmolVLM2-2.2B-Instruct": _smolvlm(3, _SIGLIP_LARGE, 24, 2048, 32, 32, 8192, 49280),
}

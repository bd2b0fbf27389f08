"""The sizes of a model from its configuration. Nothing is downloaded and no weight is read.

LLaVA's sizes are computed here, without torch. Of any other family transformers builds the model without weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from seelevel.errors import InputError
from seelevel.forecast.known import KNOWN
from seelevel.forecast.sizes import Block, Shape
from seelevel.models.blame import blamed
from seelevel.models.config_file import check_config, read_json
from seelevel.models.folders import adapter_base
from seelevel.models.pictures import picture_of
from seelevel.training.settings import LoraSettings


def shape_in(config: Mapping[str, Any]) -> Shape | None:
    """The shape that a `config.json` describes; None if the sizes of its family are not known.

    Imports torch, except for LLaVA and for what is not a model of transformers.
    """
    return _shape(json.dumps(config, sort_keys=True))


@lru_cache
def _shape(text: str) -> Shape | None:
    config = json.loads(text)
    shape = llava_shape(config)
    if shape is not None or "model_type" not in config:
        return shape
    from seelevel.forecast.built import built_shape

    return built_shape(config)


def llava_shape(config: Mapping[str, Any]) -> Shape | None:
    """LLaVA of a CLIP tower, a projector of two layers and a Llama, if `config.json` names all its sizes."""
    text, vision = config.get("text_config") or {}, config.get("vision_config") or {}
    newline = {"llava": 0, "llava_next": 1}.get(str(config.get("model_type")))
    picture, parts = picture_of(config), (text.get("model_type"), vision.get("model_type"))
    unusual = (
        parts != ("llama", "clip_vision_model")
        or text.get("attention_bias")
        or text.get("mlp_bias")
        or not config.get("multimodal_projector_bias", True)
    )
    if newline is None or picture is None or unusual or isinstance(config.get("vision_feature_layer"), list):
        return None
    try:
        d, layers, f = (int(text[key]) for key in ("hidden_size", "num_hidden_layers", "intermediate_size"))
        heads, vocabulary = int(text["num_attention_heads"]), int(text["vocab_size"])
        sizes = ("hidden_size", "num_hidden_layers", "intermediate_size", "image_size", "patch_size")
        v, vision_layers, g, side, patch = (int(vision[key]) for key in sizes)
    except KeyError:
        return None
    head = int(text.get("head_dim") or d // heads)
    q, kv = heads * head, int(text.get("num_key_value_heads") or heads) * head
    attention = {"q_proj": (d, q), "k_proj": (d, kv), "v_proj": (d, kv), "o_proj": (q, d)}
    mixer = {f"self_attn.{name}": size for name, size in attention.items()}
    mlp = {"mlp.gate_proj": (d, f), "mlp.up_proj": (d, f), "mlp.down_proj": (f, d)}
    block = sum(a * b for a, b in (*mixer.values(), *mlp.values())) + 2 * d
    tied = config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))
    vision_block = 4 * (v * v + v) + 2 * v * g + g + 5 * v
    return Shape(
        hidden=d,
        vocabulary=vocabulary,
        blocks=(Block(layers, mixer, mlp, q, f, heads),),
        text_weights=layers * block + vocabulary * d * (1 if tied else 2) + d,
        projector_weights=(v + 1) * d + (d + 1) * d + newline * d,
        vision_weights=vision_layers * vision_block + (3 * patch**2 + (side // patch) ** 2 + 6) * v,
        picture=picture,
        vision_layers=vision_layers,
        vision_hidden=v,
        vision_mlp=g,
    )


def shape_of(model: str) -> Shape | None:
    """The shape of a model in a folder (of an adapter: its base), of a well-known model, or in the hub's cache; else
    None."""
    config = config_of(model)
    if config is None:
        return None
    with blamed(f"model {model}: its config.json cannot be used", "copy the file again"):
        return shape_in(config)


def config_of(model: str) -> Mapping[str, Any] | None:
    """The `config.json` that `shape_of` reads; None if there is none here."""
    folder = Path(model)
    if folder.is_dir():
        base = adapter_base(folder)
        if base is not None:
            return config_of(base)
        if not (folder / "config.json").exists():
            return None
        config = read_json(folder / "config.json")
        check_config(folder / "config.json", config)
        return config
    if model in KNOWN:
        return KNOWN[model]
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(model, "config.json") if model.count("/") == 1 else None
    return read_json(Path(file)) if isinstance(file, str) else None


def adapter_of(model: str) -> LoraSettings | None:
    """Rank and layers of the adapter in a folder; None if the model is not an adapter."""
    folder = Path(model)
    if not folder.is_dir() or adapter_base(folder) is None:
        return None
    config = read_json(folder / "adapter_config.json")
    names = set(config.get("target_parameters") or ())
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="numpy") as weights:
                matches = (re.search(r"\.\d+\.(.+)\.lora_A\.", key) for key in weights.keys())  # noqa: SIM118
                names |= {match[1] for match in matches if match}
        except SafetensorError as error:
            raise InputError(f"{file} is not a safetensors file or was cut off; copy the adapter again") from error
    return LoraSettings(r=int(config.get("r") or 8), target=sorted(names) or "attention+mlp")

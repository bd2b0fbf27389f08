"""QLoRA: the language model's linear layers in 4 bits under adapters in float32 (arXiv 2305.14314).

Quantised when the model is loaded: 4-bit NormalFloat (NF4) with double quantisation, 4.127 bits per weight. Vision
tower, projector, embeddings, norms, routers, experts and the output head stay as they are.
"""

from __future__ import annotations

from typing import Any

import torch

from seelevel.errors import InputError
from seelevel.models.empty import empty_model
from seelevel.training.requirements import check_four_bits
from seelevel.training.structure import layer_weights, parts


def four_bits(key: str, model: str, config: Any, dtype: torch.dtype) -> Any:
    """The settings for transformers to load a model with, its configuration given. dtype: of the products.

    Raises `InputError` if bitsandbytes is not installed, or for a model that is quantised already or whose layers are
    unknown.
    """
    check_four_bits(key, model, config.to_dict())
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=kept_whole(key, model, config.to_dict()),
    )


def kept_whole(key: str, model: str, config: dict[str, Any]) -> list[str]:
    """The full names of the linear layers that are not quantised."""
    empty = empty_model(config)
    if empty is None:
        raise InputError(f"{key}.load_in_4bit: the layers of {model} are unknown to transformers; leave it out")
    layers = [layer_weights(layer) for layer in parts(empty).layers]
    quantised = {id(module) for layer in layers for module in (*layer.mixer.values(), *layer.mlp.values())}
    linear = [(name, part) for name, part in empty.named_modules() if isinstance(part, torch.nn.Linear)]
    return [name for name, part in linear if id(part) not in quantised]


def keep_gradients(model: Any) -> None:
    """Stop bitsandbytes from packing weights anew on a CPU when the model first evaluates: no gradient flows through
    the products of packed weights, without an error."""
    for part in model.modules():
        if hasattr(part, "support_avx512bf16_for_cpu"):
            part.support_avx512bf16_for_cpu = False

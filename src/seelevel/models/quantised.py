"""Models saved with quantised weights: bitsandbytes, GPTQ, AWQ, fp8 and others. Known by their configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seelevel.errors import InputError

ADAPTED = ("bitsandbytes", "compressed-tensors", "fp8", "torchao")
"""Kinds that keep linear layers as such, so that adapters find them, and pass gradients through."""


def quantisation(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """How a model's weights are quantised, from its `config.json`; None if they are not."""
    inner = config.get("text_config") or {}
    settings = config.get("quantization_config") or inner.get("quantization_config") or config.get("compression_config")
    return dict(settings) if settings else None


def method_of(settings: Mapping[str, Any]) -> str:
    """`gptq`, `awq`, `fp8`, … ; bitsandbytes of some versions gives only its number of bits."""
    bits = any(settings.get(key) for key in ("load_in_4bit", "load_in_8bit"))
    return str(settings.get("quant_method") or ("bitsandbytes" if bits else "unknown"))


def check_quantised(model: str, config: Mapping[str, Any], device: str = "auto") -> None:
    """Raise `InputError` for quantised weights that cannot be loaded here: a package or a device is missing.

    transformers itself is asked. Without a GPU it loads some kinds (fp8, mxfp4) as plain numbers. Imports torch only
    for a quantised model.
    """
    settings = quantisation(config)
    if settings is not None:
        _quantizer(model, settings, device)


def check_trains(key: str, model: str, config: Mapping[str, Any], lora: bool, device: str = "auto") -> None:
    """Raise `InputError` for training that quantised weights do not allow. `key`: the settings' place in the recipe;
    `lora`: adapters train, and not the weights."""
    settings = quantisation(config)
    if settings is None:
        return
    kind = method_of(settings)
    if not lora:
        raise InputError(
            f"{key}.lora: model {model} is quantised ({kind}), and quantised weights do not train; set lora: {{}}, or "
            "name the model that it was made from"
        )
    quantizer = _quantizer(model, settings, device)
    plain = getattr(quantizer.quantization_config, "dequantize", False)
    if not plain and (kind not in ADAPTED or not quantizer.is_trainable):
        raise InputError(
            f"{key}.model: {model} is quantised ({kind}), and adapters train only on plain weights and on "
            f"{', '.join(ADAPTED)}; name the model that it was made from"
        )


def _quantizer(model: str, settings: dict[str, Any], device: str) -> Any:
    from transformers.quantizers import AutoHfQuantizer
    from transformers.utils import logging as hf_logging

    verbosity = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()
    try:
        quantizer = AutoHfQuantizer.from_config(settings, pre_quantized=True)
        quantizer.validate_environment(device_map=device_map(device), weights_only=True)
    except (ImportError, RuntimeError, ValueError, TypeError, LookupError) as error:
        reason = " ".join(str(error).split()).partition(". ")[0][:200].rstrip(".")
        raise InputError(
            f"model {model} is quantised ({method_of(settings)}) and cannot be loaded here ({reason}); install what is "
            "missing, or name the model that it was made from"
        ) from error
    finally:
        hf_logging.set_verbosity(verbosity)
    return quantizer


def device_map(device: str) -> dict[str, Any]:
    """Where transformers loads a quantised model: all of it on one device, because it cannot be moved afterwards."""
    import torch

    gpu = torch.cuda.is_available()
    return {"": (torch.cuda.current_device() if gpu else "cpu") if device in ("auto", "cuda") else device}

"""The model to train, with its adapters, on its device."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from seelevel.errors import InputError
from seelevel.models.folders import adapter_base
from seelevel.models.local import LocalModel
from seelevel.registry import nearest
from seelevel.training.requirements import check_device
from seelevel.training.settings import LORA_PLACE, LoraSettings, TrainSettings, lora_targets


def _adapted(model_path: str) -> str | None:
    """The base of a model path that is an adapter's folder, else None."""
    return adapter_base(Path(model_path)) if Path(model_path).is_dir() else None


def _device(wanted: str) -> str:
    check_device("align", wanted)
    return wanted if wanted != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def _load(path: str, settings: TrainSettings, dtype: Any, device: str) -> tuple[Any, Any]:
    """Model and processor; of an adapter's folder, its base with the adapter, which alone trains."""
    base = _adapted(path)
    if base is not None and settings.lora:
        raise InputError(
            f"align.lora: model {path} is an adapter already; leave lora out to train it on, or export it to merged "
            "weights first"
        )
    loaded = LocalModel.load(base or path, dtype=dtype, device=device)
    model, processor = loaded.model, loaded.processor
    if not getattr(processor.tokenizer, "is_fast", False):
        raise InputError(f"model {path}: its tokenizer has no offsets (no tokenizer.json); convert it to a fast one")
    if base is not None:
        model = PeftModel.from_pretrained(model, path, is_trainable=True)
        # What is saved has to name its base from wherever it is.
        model.peft_config["default"].base_model_name_or_path = base
    return model, processor


def _freeze_vision(model: Any) -> None:
    """Every module whose name says vision, but not the projector."""
    for name, parameter in model.named_parameters():
        if any(part in ("vision_tower", "vision_model", "visual") for part in name.split(".")):
            parameter.requires_grad_(False)


def _with_lora(model: Any, settings: LoraSettings) -> Any:
    """Adapters on the language model's layers. Raises `InputError` for a layer that the model lacks."""
    names = lora_targets(settings)
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    for wanted in names:
        if not any(re.fullmatch(LORA_PLACE.format(wanted), name) for name in linear):
            inside = {name.rpartition(".")[2] for name in linear if "language_model" in name}
            raise InputError(
                f"align.lora.target: the language model has no linear layer '{wanted}'; {nearest(wanted, inside)}"
            )
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=LORA_PLACE.format("|".join(names)),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def skip_adapter_input_cast(model: Any) -> None:
    """Have adapters in float32 leave a bfloat16 input alone, which autocast would cast back to what it was: a copy and
    two kernels less an adapter, and layers of one input keep one."""
    for module in model.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False

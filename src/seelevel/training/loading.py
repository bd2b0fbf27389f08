"""Load the model to train, put adapters on it, freeze its vision tower."""

from __future__ import annotations

import gc
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from seelevel.errors import InputError
from seelevel.models.adapters import put_on
from seelevel.models.config_file import read_json
from seelevel.models.folders import adapter_base
from seelevel.models.local import LocalModel
from seelevel.progress import say
from seelevel.training.compiling import compile_layers
from seelevel.training.four_bits import four_bits, keep_gradients
from seelevel.training.liger import use_liger
from seelevel.training.packing.inputs import base as plain
from seelevel.training.packing.offload import offload_activations
from seelevel.training.requirements import already_adapter, check_device, check_liger_kernel, no_adapters
from seelevel.training.settings import LoraSettings, TrainSettings
from seelevel.training.structure import adapted, parts, without_numbers


def base_of_adapter(model_path: str) -> str | None:
    """The base model of an adapter's folder; None for anything else."""
    return adapter_base(Path(model_path)) if Path(model_path).is_dir() else None


def dropout_of_adapter(model_path: str) -> float:
    """The dropout with which the adapter in a folder is trained further; 0 if the folder holds no adapter."""
    if base_of_adapter(model_path) is None:
        return 0.0
    return float(read_json(Path(model_path) / "adapter_config.json").get("lora_dropout") or 0.0)


def chosen_device(wanted: str) -> str:
    """The device to train on: `auto` is a GPU if there is one. Raises `InputError` for one that is not available."""
    check_device("align", wanted)
    return wanted if wanted != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def load_to_train(path: str, settings: TrainSettings, dtype: Any, device: str) -> tuple[Any, Any]:
    """Model and processor. From an adapter's folder: the base with the adapter, and only the adapter trains."""
    base = base_of_adapter(path)
    if base is not None and settings.lora:
        raise InputError(already_adapter("align", path))
    quantized = None
    if settings.load_in_4bit:
        if base is None and settings.lora is None:
            raise InputError(no_adapters("align"))
        quantized = partial(four_bits, "align", base or path, dtype=getattr(torch, dtype))
    loaded = LocalModel.load(base or path, dtype=dtype, device=device, quantized=quantized)
    model, processor = loaded.model, loaded.processor
    keep_gradients(model)
    if not getattr(processor.tokenizer, "is_fast", False):
        raise InputError(f"model {path}: its tokenizer gives no offsets (no tokenizer.json); convert it to a fast one")
    if base is not None:
        model = put_on(model, Path(path), trainable=True)
        # The saved adapter must name its base by a path that works from any folder.
        model.peft_config["default"].base_model_name_or_path = base
    if settings.use_liger_kernel:
        check_liger_kernel("align", device)
        use_liger(plain(model))
    if settings.offload_activations and torch.device(device).type != "cuda":
        say(f"align.offload_activations: nothing is offloaded, because the model trains in the memory of the {device}")
    elif settings.offload_activations:
        offload_activations(plain(model))
    if settings.compile:
        compile_layers(model)
    return model, processor


def free_unused() -> None:
    """Give back the memory of models that nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def freeze_vision(model: Any) -> None:
    """Freeze the vision tower. The projector trains, also one that is the end of the vision model (Qwen's merger)."""
    tower = parts(model).tower
    if not tower:
        say(f"align.freeze_vision: {type(model).__name__} has no vision tower, so nothing is frozen")
    for parameter in tower:
        parameter.requires_grad_(False)


def with_lora(model: Any, settings: LoraSettings) -> Any:
    """Put adapters on the decoder's layers. Says which experts get none.

    Raises `InputError` for a layer that the model lacks, or that PEFT cannot adapt.
    """
    wanted = adapted(model, settings)
    if wanted.experts and settings.dropout:
        raise InputError("align.lora.dropout: adapters of experts have no dropout; set it to 0")
    if wanted.spared and settings.target == "attention+mlp":
        names = " and ".join(without_numbers(wanted.spared))
        say(f"align.lora: {names} get no adapters; name them in align.lora.target if they should")
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=wanted.pattern if wanted.modules else [],
        target_parameters=without_numbers(wanted.experts) or None,
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(model, config)
    targets = {*model.base_model.targeted_module_names, *model.base_model.targeted_parameter_names}
    if targets != wanted.targets:
        # For some mixtures of experts PEFT translates the names of layers from an older transformers.
        kind = model.config.model_type
        raise InputError(f"align.lora.target: PEFT adapts other layers of {kind} than asked; try target: attention")
    return model


def skip_adapter_input_cast(model: Any) -> None:
    """Keep adapters in float32 from casting a bfloat16 input, because autocast casts it back at once.

    This saves two kernels per adapter, and layers with the same input keep one copy of it instead of several.
    """
    for module in model.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False

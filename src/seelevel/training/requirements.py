"""Check what a training requires before hours of other work. Imports torch only if a GPU is named."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from seelevel.errors import InputError
from seelevel.models.folders import adapter_base
from seelevel.registry import nearest
from seelevel.training.settings import TrainSettings, lora_targets


def check_training(key: str, settings: TrainSettings, model: str) -> None:
    """Raise `InputError` for a device that is not available, an adapter on an adapter, or layers that the model lacks.

    `key`: the settings' place in the recipe. `model`: a folder, or a hub name, whose layers cannot be checked yet.
    """
    check_device(key, settings.device)
    folder = Path(model)
    if settings.lora is None or not folder.is_dir():
        return
    if adapter_base(folder) is not None:
        raise InputError(already_adapter(key, model))
    layers = _layers(folder)
    for name in lora_targets(settings.lora):
        if layers and name not in layers:
            raise InputError(
                f"{key}.lora.target: the language model has no linear layer '{name}'; {nearest(name, layers)}"
            )


def already_adapter(key: str, model: str) -> str:
    """The error for LoRA settings on a model that is an adapter."""
    return (
        f"{key}.lora: model {model} is an adapter already; remove lora to continue training it, or save merged weights "
        f"in a folder first: `from seelevel.models import load_model; m = load_model('{model}'); "
        "m.model.merge_and_unload().save_pretrained('merged'); m.processor.save_pretrained('merged')`"
    )


def check_device(key: str, device: str) -> None:
    """Raise `InputError` for a named GPU that is not available."""
    if device in ("auto", "cpu"):
        return
    import torch

    kind, _, index = device.partition(":")
    count = torch.cuda.device_count() if kind == "cuda" else int(torch.backends.mps.is_available())
    if int(index or 0) >= count:
        available = f"torch sees {count}" if count else "torch sees none"
        raise InputError(f"{key}.device: {device} is not available ({available}); use device: auto or cpu")


def _layers(folder: Path) -> set[str]:
    """Names of the linear layers in the decoder blocks of a model folder."""
    layers = set()
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="numpy") as weights:
                names = list(weights.keys())
        except SafetensorError as error:
            raise InputError(f"{file} is not a safetensors file or was cut off; copy the model again") from error
        for name in names:
            parts = name.split(".")
            if (
                parts[-1] == "weight"
                and "layers" in parts
                and not {"vision_tower", "vision_model", "visual"} & {*parts}
            ):
                layers.add(parts[-2])
    return {name for name in layers if not name.endswith(("norm", "layernorm"))}

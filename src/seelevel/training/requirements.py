"""What a training asks for and cannot have, found before hours of other work. Torch-free, but where a GPU is named."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from seelevel.errors import InputError
from seelevel.models.folders import adapter_base
from seelevel.registry import nearest
from seelevel.training.settings import TrainSettings, lora_targets


def check_training(key: str, settings: TrainSettings, model: str) -> None:
    """Raise `InputError` for a device that is not there, an adapter on an adapter, layers that the model lacks.

    `key`: where the settings stand in the recipe; `model`: a folder or a hub name, whose layers are not known yet.
    """
    check_device(key, settings.device)
    folder = Path(model)
    if settings.lora is None or not folder.is_dir():
        return
    if adapter_base(folder) is not None:
        raise InputError(
            f"{key}.lora: model {model} is an adapter already; leave lora out to train it on, or export it to merged "
            "weights first"
        )
    layers = _layers(folder)
    for name in lora_targets(settings.lora):
        if layers and name not in layers:
            raise InputError(
                f"{key}.lora.target: the language model has no linear layer '{name}'; {nearest(name, layers)}"
            )


def check_device(key: str, device: str) -> None:
    """Raise `InputError` for a GPU that is named and not there."""
    if device in ("auto", "cpu"):
        return
    import torch

    kind, _, index = device.partition(":")
    count = torch.cuda.device_count() if kind == "cuda" else int(torch.backends.mps.is_available())
    if int(index or 0) >= count:
        found = f"there are {count}" if count else "this machine has none that torch can use"
        raise InputError(f"{key}.device: {device} is not there ({found}); use device: auto or cpu")


def _layers(folder: Path) -> set[str]:
    """Names of the matrices in a folder's decoder blocks."""
    found = set()
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
                found.add(parts[-2])
    return {name for name in found if not name.endswith(("norm", "layernorm"))}

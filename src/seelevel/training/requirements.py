"""Check what a training requires before hours of other work. Imports torch only if a GPU or layers are named."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.models.folders import adapter_base
from seelevel.models.kinds import model_config
from seelevel.models.quantised import check_trains, method_of, quantisation
from seelevel.training.launched import sharding
from seelevel.training.settings import TrainSettings


def check_training(key: str, settings: TrainSettings, model: str) -> None:
    """Raise `InputError` for a tracker, a device or kernels that are not available, an adapter on an adapter, quantised
    weights that do not train, or layers that the model lacks.

    `key`: the settings' place in the recipe. `model`: a folder, or a hub name, whose layers cannot be checked yet.
    """
    check_splits(settings, sharding())
    check_trackers(key, settings)
    check_device(key, settings.device)
    if settings.use_liger_kernel:
        check_liger_kernel(key, settings.device)
    folder = Path(model)
    adapts = settings.lora is not None or (folder.is_dir() and adapter_base(folder) is not None)
    config = model_config(model)
    check_trains(key, model, config, adapts, settings.device)
    if settings.load_in_4bit:
        if not adapts:
            raise InputError(no_adapters(key))
        check_four_bits(key, model, config)
    if settings.lora is None or not folder.is_dir():
        return
    if adapter_base(folder) is not None:
        raise InputError(already_adapter(key, model))
    if isinstance(settings.lora.target, str) or not config:
        return
    from seelevel.models.empty import empty_model
    from seelevel.training.structure import adapted

    # Names in weight files are of no use: transformers renames and fuses layers when it loads them.
    empty = empty_model(config)
    if empty is not None:
        adapted(empty, settings.lora, key)


def check_splits(settings: TrainSettings, kind: str | None) -> None:
    """Raise `InputError` for settings that were not tried with a model whose weights are split. kind: what splits them;
    None if nothing does."""
    for name in ("load_in_4bit", "offload_activations", "use_liger_kernel", "compile"):
        if kind is not None and getattr(settings, name):
            raise InputError(f"align.{name}: not supported with {kind}, which splits the model; use `--launch ddp`")


def no_adapters(key: str) -> str:
    """The error for weights in 4 bits that would have to train."""
    return f"{key}.load_in_4bit: weights in 4 bits do not train, adapters do; set lora: {{}}, or leave load_in_4bit out"


def check_four_bits(key: str, model: str, config: Mapping[str, Any]) -> None:
    """Raise `InputError` if bitsandbytes is not installed, or for a model that is quantised already."""
    if find_spec("bitsandbytes") is None:
        raise InputError(f"{key}.load_in_4bit needs one more package: pip install 'seelevel[qlora]'")
    if settings := quantisation(config):
        raise InputError(f"{key}.load_in_4bit: {model} is quantised already ({method_of(settings)}); leave it out")


def already_adapter(key: str, model: str) -> str:
    """The error for LoRA settings on a model that is an adapter."""
    return (
        f"{key}.lora: model {model} is an adapter already; remove lora to continue training it, or save merged weights "
        f"in a folder first: `from seelevel.models import load_model; m = load_model('{model}'); "
        "m.model.merge_and_unload().save_pretrained('merged'); m.processor.save_pretrained('merged')`"
    )


def check_trackers(key: str, settings: TrainSettings) -> None:
    """Raise `InputError` for trackers that are not installed. None of them is imported."""
    missing = [name for name in settings.trackers if find_spec(name) is None]
    if missing:
        several = "is" if len(missing) == 1 else "are"
        raise InputError(
            f"{key}.report_to: {' and '.join(missing)} {several} not installed; install with "
            f"`pip install {' '.join(missing)}`, or remove report_to"
        )


def check_liger_kernel(key: str, device: str) -> None:
    """Raise `InputError` if Liger's kernels cannot run: no CUDA device (`auto`: torch sees none), or not installed."""
    if device == "auto":
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not device.startswith("cuda"):
        raise InputError(f"{key}.use_liger_kernel: its kernels need a CUDA device, not {device}; set it to false")
    if find_spec("liger_kernel") is None:
        raise InputError(f"{key}.use_liger_kernel needs one more package: pip install 'seelevel[liger]'")


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


def check_step_divides(settings: TrainSettings, processes: int) -> None:
    """Raise `InputError` if the ladders of a step do not divide over the processes."""
    if settings.ladders_per_step % processes:
        raise InputError(
            f"ladders_per_step: {settings.ladders_per_step} ladders do not divide over {processes} processes; "
            "choose a multiple"
        )

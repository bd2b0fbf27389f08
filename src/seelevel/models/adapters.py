"""Put an adapter onto its base, and see to it that all of it arrives."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.models.blame import blamed
from seelevel.models.weights import ADAPTER, safetensors_header, weight_files


def put_on(model: Any, folder: Path, trainable: bool = False) -> Any:
    """The model with the adapter in a folder. `trainable`: the adapter goes on training.

    Raises `InputError` for an adapter of another model: layers that the model lacks, another shape, or weights that
    find no layer. PEFT would leave those out with a warning.
    """
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)
        warnings.filterwarnings("error", message="Found missing adapter keys")
        with blamed(f"adapter {folder} does not fit its base", "see adapter_config.json"):
            try:
                adapted = PeftModel.from_pretrained(
                    model, str(folder), is_trainable=trainable, key_mapping=_moved(model, folder)
                )
            except UserWarning as warning:
                raise _lost(folder, str(warning).count("base_model.")) from warning
    here, file = (sum(".lora_" in name for name in names) for names in (_parameters(adapted), _names(folder)))
    if file > here and not any(".experts." in name for name in _names(folder)):  # PEFT joins experts of old versions
        raise _lost(folder, file - here)
    return adapted


def _lost(folder: Path, count: int) -> InputError:
    return InputError(
        f"adapter {folder} was made for another model or another version: {count} of its weights find no layer; name "
        "the base and the target_modules that it was trained with in adapter_config.json"
    )


def _names(folder: Path) -> list[str]:
    return [name for file in weight_files(folder, ADAPTER) for name in safetensors_header(file)]


def _parameters(model: Any) -> list[str]:
    return [name for name, _ in model.named_parameters()]


def _moved(model: Any, folder: Path) -> dict[str, str] | None:
    """Parts that transformers has moved into `model.` since the adapter was made, as a regular expression and its
    replacement for PEFT. PEFT itself knows where the language model went."""
    named = {name.removeprefix("base_model.model.").partition(".")[0] for name in _names(folder)} - {"language_model"}
    outer = {name for name, _ in model.named_children()}
    inner = {name for name, _ in model.model.named_children()} if "model" in outer else set()
    moved = sorted((named - outer) & inner)
    return {rf"^({'|'.join(moved)})\.": r"model.\1."} if moved else None


def check_adapter(config: Mapping[str, Any], folder: Path) -> None:
    """Raise `InputError` for an adapter that does not fit the model of a `config.json`; nothing else is loaded."""
    from seelevel.models.empty import empty_model

    model = empty_model(config)
    if model is not None:
        put_on(model, folder)

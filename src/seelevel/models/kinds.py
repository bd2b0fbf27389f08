"""Is a model of the required kind? Read from its configuration, before anything heavy is imported."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.models.base import is_object, is_server
from seelevel.models.config_file import check_config, read_json
from seelevel.models.folders import adapter_base, check_encoder_folder, hub_config

WRITES = re.compile(r"For(ConditionalGeneration|CausalLM|ImageTextToText|Vision2Seq)$|LMHeadModel$")
CLIP = "name a CLIP or a SigLIP, or set check.checker: autocheck"
SEES = re.compile(r"vision|visual|image|img")


def check_answers(model: str) -> None:
    """Raise `InputError` for a model that does not answer prompts about pictures, or that is not on the hub."""
    kind, architectures, keys = _kind(model)
    if architectures and not any(map(WRITES.search, architectures)):
        raise InputError(
            f"model {model} is of kind {kind} ({', '.join(architectures)}), which answers no prompts; "
            "name an image-text-to-text model"
        )
    if keys and not any(map(SEES.search, keys)):
        raise InputError(f"model {model} is of kind {kind}, which reads no pictures; name an image-text-to-text model")


def check_encodes(model: str, pictures: bool = False) -> None:
    """Raise `InputError` for a model that writes text instead of encoding it, or that is not on the hub.

    pictures: also for one that encodes no pictures.
    """
    if Path(model).is_dir():
        check_encoder_folder(Path(model))
    if (Path(model) / "modules.json").exists():  # sentence-transformers accept any model inside
        if pictures:
            raise InputError(f"encoder {model} is a sentence-transformers model, which encodes no pictures; {CLIP}")
        return
    kind, architectures, keys = _kind(model)
    if any(map(WRITES.search, architectures)):
        raise InputError(
            f"encoder {model} is of kind {kind}, which writes text and does not encode it; "
            "name a CLIP or a sentence-transformers model"
        )
    if pictures and keys and not any(map(SEES.search, keys)):
        raise InputError(f"encoder {model} is of kind {kind}, which encodes no pictures; {CLIP}")


def model_config(model: str) -> dict[str, Any]:
    """A model's `config.json`; of an adapter, that of its base. Empty if there is none: on a server, a Python object,
    on a hub that cannot be reached."""
    if is_server(model) or is_object(model):
        return {}
    folder = Path(model)
    if not folder.is_dir():
        hub = hub_config(model)
        return {} if hub is None else _checked(hub)
    if (base := adapter_base(folder)) is not None:
        return model_config(base)
    return _checked(folder / "config.json") if (folder / "config.json").exists() else {}


def _checked(path: Path) -> dict[str, Any]:
    config = read_json(path)
    check_config(path, config)
    return config


def _kind(model: str) -> tuple[str, list[str], list[str]]:
    """Kind, architectures and keys of a model's configuration; empty if there is no configuration."""
    config = model_config(model)
    if not config:
        return "", [], []
    architectures = [str(name) for name in config.get("architectures") or []]
    return str(config.get("model_type", "unknown")), architectures, list(config)

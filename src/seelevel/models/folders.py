"""Check the files of a model folder before anything heavy is imported or loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from seelevel.errors import InputError
from seelevel.models.config_file import check_config, read_json, read_value
from seelevel.models.weights import ADAPTER, MODEL, PICKLED, longest_sides, safetensors_header, weight_files, weight_map
from seelevel.opening import NotAFile, require_file

PROMPT_TUNING = {"ADAPTION_PROMPT", "CPT", "MULTITASK_PROMPT_TUNING", "PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING"}
"""Kinds of PEFT that add tokens to the prompt instead of weights to the layers."""
OF_OTHERS = {"XLORA"}
"""Kinds of PEFT that load other adapters, from the paths in their settings."""


def check_model_folder(folder: Path) -> None:
    """Raise `InputError` for a folder without a configuration or without all of its safetensors weights, or with an
    adapter beside them."""
    if not (folder / "config.json").is_file():
        inner = min(folder.glob("*/config.json"), default=None)
        remedy = "a folder that save_pretrained wrote" if inner is None else f"one inside it, such as {inner.parent}"
        raise InputError(f"model folder {folder} has no config.json; name {remedy}")
    check_files(folder)
    config = read_json(folder / "config.json")
    check_config(folder / "config.json", config, longest_sides(weight_files(folder, MODEL)))
    if (folder / "adapter_config.json").is_file():
        # transformers would load the base that the adapter names instead of these weights.
        raise InputError(
            f"model folder {folder} has whole weights and an adapter; move adapter_config.json and "
            "adapter_model.safetensors to a folder of their own"
        )


def check_encoder_folder(folder: Path) -> None:
    """Raise `InputError` for the folder of a text encoder with corrupt files, or that would load pickled weights.

    A folder with `modules.json` is a sentence-transformers model; each of its parts may have weights of its own.
    """
    check_files(folder)
    modules = folder / "modules.json"
    if not modules.exists():
        if (folder / "config.json").exists() and (folder / MODEL).exists():
            sides = longest_sides([folder / MODEL])
            check_config(folder / "config.json", read_json(folder / "config.json"), sides)
        return
    listed = read_value(modules)
    for part in listed if isinstance(listed, list) else [None]:
        place = part.get("path") if isinstance(part, dict) else None
        if not isinstance(place, str) or PurePath(place).is_absolute() or ".." in PurePath(place).parts:
            raise InputError(f"{modules}: not a list of parts, each with a path in the folder; copy the model again")
        weights = [*(folder / place).glob("*.safetensors")]
        for file in weights:
            safetensors_header(file)
        pickled = next((file for kind in PICKLED for file in (folder / place).glob(kind)), None)
        if pickled is not None and not weights:
            raise InputError(f"{pickled} is pickled, and only *.safetensors are loaded; save the model again")


def check_files(folder: Path) -> None:
    """Raise `InputError` for a folder that holds a pipe, a device or a socket, which a library would wait for."""
    for place, folders, files in os.walk(folder):
        if Path(place) != folder:
            folders.clear()  # libraries look one folder below, and no deeper
        for name in files:
            try:
                require_file(Path(place, name))
            except NotAFile as error:
                raise InputError(f"{Path(place, name)} is {error.kind}, not a file; copy the model again") from error
            except OSError:  # a link to nothing, no permission: whoever needs the file reports it
                continue


def adapter_base(folder: Path) -> str | None:
    """The base model that an adapter's folder names; None if the folder is not an adapter's.

    Raises `InputError` for an adapter without weights, without a base or with one that has moved, for an adapter on an
    adapter, and for one that adds tokens to the prompt.
    """
    if not is_adapter(folder):
        return None
    file = folder / "adapter_config.json"
    config = read_json(file)
    base, kind = config.get("base_model_name_or_path"), str(config.get("peft_type", "LORA")).upper()
    if not isinstance(base, str) or not base:
        raise InputError(f"{file} names no base model; set base_model_name_or_path")
    if kind in PROMPT_TUNING:
        raise InputError(f"adapter {folder} is of kind {kind}, which adds tokens to the prompt; name a LoRA adapter")
    if kind in OF_OTHERS or config.get("megatron_config"):
        raise InputError(f"adapter {folder} loads other adapters or modules by name; name a LoRA adapter")
    check_files(folder)
    _check_rank(file, config, longest_sides(weight_files(folder, ADAPTER)))
    inside = folder / str(base)
    found = str(inside) if not Path(base).is_absolute() and inside.is_dir() else str(base)
    if not Path(found).is_dir() and not is_hub_name(found):
        raise InputError(
            f"adapter {folder}: its base model {base} is not there; set base_model_name_or_path in {file} to the "
            "base's folder or hub name (a relative path starts at the adapter)"
        )
    if is_adapter(Path(found)):
        raise InputError(
            f"adapter {folder}: its base {base} is an adapter itself; merge that one into its base first, and set "
            f"base_model_name_or_path in {file} to the merged model"
        )
    return found


def _check_rank(file: Path, config: Mapping[str, Any], sides: list[int]) -> None:
    """Raise `InputError` for ranks that are not whole numbers, or greater than any side of the adapter's weights."""
    pattern = config.get("rank_pattern") or {}
    for rank in (config.get("r"), *(pattern.values() if isinstance(pattern, dict) else [pattern])):
        if rank is not None and (type(rank) is not int or not 0 <= rank <= max(sides, default=rank)):
            raise InputError(f"{file}: rank {rank!r:.40} is not that of the adapter's weights; copy the adapter again")


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no whole model."""
    whole = any((folder / name).is_file() for name in (MODEL, f"{MODEL}.index.json"))
    return (folder / "adapter_config.json").is_file() and not whole


def is_hub_name(name: str) -> bool:
    """Whether a name may be one of the hub: `owner/model`, or one of the first models, `gpt2`."""
    return not name.startswith((".", "/", "~")) and name.count("/") <= 1 and "\\" not in name


def weights_here(model: str) -> bool:
    """Whether a model's weights, or those of an adapter's base, are in a folder or in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    folder = Path(model)
    if folder.is_dir():
        base = adapter_base(folder)
        return base is None or weights_here(base)
    return any(isinstance(try_to_load_from_cache(model, name), str) for name in (MODEL, f"{MODEL}.index.json"))


def check_hub_index(name: str) -> None:
    """Raise `InputError` for a hub model whose index names weights that are not safetensors. Downloads the index."""
    from huggingface_hub import hf_hub_download

    try:
        index = Path(hf_hub_download(name, f"{MODEL}.index.json"))
    except (OSError, ValueError):  # it has none, or it cannot be reached; loading it says so
        return
    weight_map(index)


def hub_config(name: str) -> Path | None:
    """The configuration of a hub model, in the cache, at the commit that would be loaded.

    None if it is not in the cache and the hub cannot be reached.

    It is downloaded, not only looked up: a run takes fingerprints before it downloads models, and the same command must
    find the same fingerprints again. Raises `InputError` if the hub has no such model or refuses access.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(hf_hub_download(name, "config.json"))
    except LocalEntryNotFoundError:
        return None
    except GatedRepoError as error:
        raise InputError(
            f"model {name}: the hub requires that you accept its terms; do so on its page, then set HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"model {name}: the hub has no such model, or it is private; correct the name, or set HF_TOKEN"
        ) from error
    except EntryNotFoundError as error:
        raise InputError(
            f"model {name}: it has no config.json on the hub; name a model of transformers, or, for an adapter, the "
            "folder that you downloaded it to"
        ) from error
    except (OSError, ValueError):
        return None

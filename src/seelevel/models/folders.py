"""Check the files of a model folder before anything heavy is imported or loaded."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from seelevel.errors import InputError

MODEL, ADAPTER = "model.safetensors", "adapter_model.safetensors"
POINTER = b"version "
"""The first bytes of a Git LFS pointer, which stands for a file that was not downloaded."""
PROMPT_TUNING = {"ADAPTION_PROMPT", "CPT", "MULTITASK_PROMPT_TUNING", "PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING"}
"""Kinds of PEFT that add tokens to the prompt instead of weights to the layers."""


def check_model_folder(folder: Path) -> None:
    """Raise `InputError` for a folder without a configuration or without all of its safetensors weights, or with an
    adapter beside them."""
    if not (folder / "config.json").is_file():
        inner = min(folder.glob("*/config.json"), default=None)
        remedy = "a folder that save_pretrained wrote" if inner is None else f"the one inside it, {inner.parent}"
        raise InputError(f"model folder {folder} has no config.json; name {remedy}")
    read_json(folder / "config.json")
    weight_files(folder, MODEL)
    if (folder / "adapter_config.json").is_file():
        # transformers would load the base that the adapter names instead of these weights.
        raise InputError(
            f"model folder {folder} has whole weights and an adapter; move adapter_config.json and "
            "adapter_model.safetensors to a folder of their own"
        )


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
    if not base:
        raise InputError(f"{file} names no base model; set base_model_name_or_path")
    if kind in PROMPT_TUNING:
        raise InputError(f"adapter {folder} is of kind {kind}, which adds tokens to the prompt; name a LoRA adapter")
    weight_files(folder, ADAPTER)
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


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no whole model."""
    whole = any((folder / name).is_file() for name in (MODEL, f"{MODEL}.index.json"))
    return (folder / "adapter_config.json").is_file() and not whole


def is_hub_name(name: str) -> bool:
    """Whether a name may be one of the hub: `owner/model`, or one of the first models, `gpt2`."""
    return not name.startswith((".", "/", "~")) and name.count("/") <= 1 and "\\" not in name


def read_json(path: Path) -> dict[str, Any]:
    """A JSON mapping in a model folder. Raises `InputError`, naming the line if it is not valid JSON."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        line = f" line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{path}{line}: not JSON; copy the file again") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a JSON mapping; copy the file again")
    return value


def weight_files(folder: Path, name: str) -> list[Path]:
    """The safetensors files that are loaded from a folder: `name`, or the shards of its index.

    Raises `InputError` for one that is missing, cut off or not downloaded, and for weights in another format.
    """
    index = folder / f"{name}.index.json"
    if (folder / name).is_file():  # transformers prefers it to an index
        safetensors_header(folder / name)
        return [folder / name]
    if index.is_file():
        return _shards(folder, index)
    if any(folder.glob("*.safetensors")) and name == MODEL:
        stray = min(folder.glob("*.safetensors"))
        if not stray.exists():
            raise InputError(f"{stray} is a link to nothing; download the model again, or copy it with its links")
        raise InputError(f"model folder {folder} has {stray.name}, but neither {name} nor {index.name}; add that file")
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.pth")):
        raise InputError(
            f"model folder {folder} has only pickled weights (.bin), and only *.safetensors are loaded; save it again "
            "with save_pretrained"
        )
    raise InputError(f"model folder {folder} has no weights (*.safetensors); name a complete model folder")


def _shards(folder: Path, index: Path) -> list[Path]:
    """The files that an index names, each with the tensors that the index says it has."""
    weights = read_json(index).get("weight_map")
    if not isinstance(weights, dict):
        raise InputError(f"{index} has no weight_map that names the weight files; copy the file again")
    files = sorted({*map(str, weights.values())})
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise InputError(
            f"model folder {folder} lacks {len(missing)} of its weight files, first {missing[0]}; add them"
        )
    headers = {file: safetensors_header(folder / file) for file in files}
    lost = next((tensor for tensor, file in weights.items() if tensor not in headers[str(file)]), None)
    if lost is not None:
        raise InputError(f"{folder / str(weights[lost])} lacks {lost}, which {index.name} says it has; copy both again")
    return [folder / file for file in files]


def safetensors_header(file: Path) -> dict[str, Any]:
    """Name, type and shape of each tensor in a file. Raises `InputError` if the file is not whole."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        begin = stream.read(8)
        if begin == POINTER:
            raise InputError(f"{file} is a Git LFS pointer, not weights; download it with `git lfs pull`")
        try:
            header = json.loads(stream.read(min(struct.unpack("<Q", begin)[0], size)))
            tensors = {name: value for name, value in header.items() if name != "__metadata__"}
            length = max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
            whole = stream.tell() + length == size
        except (struct.error, ValueError, AttributeError, LookupError, TypeError) as error:
            raise InputError(f"{file} is not a safetensors file or was cut off; copy the model again") from error
    if not whole:
        raise InputError(f"{file}: a weight file is corrupt or cut off; copy it again")
    return tensors


def count_parameters(files: list[Path]) -> tuple[int, str]:
    """Numbers in the tensors of some safetensors files, and their types: `F16`, `BF16/F32`."""
    tensors = [tensor for file in files for tensor in safetensors_header(file).values()]
    return sum(math.prod(tensor["shape"]) for tensor in tensors), "/".join(sorted({t["dtype"] for t in tensors}))


def weights_here(model: str) -> bool:
    """Whether a model's weights, or those of an adapter's base, are in a folder or in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    folder = Path(model)
    if folder.is_dir():
        base = adapter_base(folder)
        return base is None or weights_here(base)
    return any(isinstance(try_to_load_from_cache(model, name), str) for name in (MODEL, f"{MODEL}.index.json"))


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

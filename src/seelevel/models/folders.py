"""Check the files of a model folder before anything heavy is imported or loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seelevel.errors import InputError


def check_model_folder(folder: Path) -> None:
    """Raise `InputError` for a folder without a configuration or without all of its safetensors weights."""
    if not (folder / "config.json").is_file():
        raise InputError(f"model folder {folder} has no config.json; name a folder that save_pretrained wrote")
    read_json(folder / "config.json")
    _check_weights(folder, "model.safetensors")


def adapter_base(folder: Path) -> str | None:
    """The base model that an adapter's folder names; None if the folder is not an adapter's.

    Raises `InputError` for an adapter without weights or base.
    """
    if not (folder / "adapter_config.json").is_file() or (folder / "config.json").is_file():
        return None
    _check_weights(folder, "adapter_model.safetensors")
    base = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    if not base:
        raise InputError(f"{folder / 'adapter_config.json'} names no base model; set base_model_name_or_path")
    inside = folder / str(base)
    return str(inside) if not Path(base).is_absolute() and inside.is_dir() else str(base)


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


def _check_weights(folder: Path, name: str) -> None:
    index = folder / f"{name}.index.json"
    if index.is_file():
        weights = read_json(index).get("weight_map")
        if not isinstance(weights, dict):
            raise InputError(f"{index} has no weight_map that names the weight files; copy the file again")
        missing = sorted(file for file in {*map(str, weights.values())} if not (folder / file).is_file())
        if missing:
            raise InputError(
                f"model folder {folder} lacks {len(missing)} of its weight files, first {missing[0]}; add them"
            )
        return
    if (folder / name).is_file() or (name == "model.safetensors" and any(folder.glob("*.safetensors"))):
        return
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.pth")):
        raise InputError(
            f"model folder {folder} has only pickled weights (.bin), and only *.safetensors are loaded; save it again "
            "with save_pretrained"
        )
    raise InputError(f"model folder {folder} has no weights (*.safetensors); name a complete model folder")


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
        raise InputError(f"model {name}: it has no config.json on the hub; name a model of transformers") from error
    except (OSError, ValueError):
        return None

"""The JSON files of a model folder, checked before a library reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.json_text import unique_keys
from seelevel.opening import read_bytes

DEEPEST, LARGEST = 50, 2**53
"""Nested lists and mappings, and the largest number, in a configuration. More is an accident, or meant to do harm."""
COUNTS = (
    "num_hidden_layers",
    "num_layers",
    "n_layers",
    "n_layer",
    "depth",
    "num_blocks",
    "encoder_layers",
    "decoder_layers",
)
SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim")
FAR = 64
"""A size may be so many times the longest side of a stored tensor, because packed numbers are stored smaller."""
FROM_ELSEWHERE = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")
"""Keys that may name code on the hub, `owner/kernel`."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON mapping in a model folder. Raises `InputError` as `read_value` does, and for anything but a mapping."""
    value = read_value(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a JSON mapping; copy the file again")
    return value


def read_value(path: Path) -> Any:
    """A JSON value in a model folder.

    Raises `InputError`, naming the line if it is not valid JSON, for a key with two values, and for what is nested
    too deep.
    """
    try:
        value = json.loads(read_bytes(path).decode(), object_pairs_hook=unique_keys)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; copy the file again") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path} line {error.lineno}: not JSON; copy the file again") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not JSON; copy the file again") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not usable JSON ({error!s:.80}); copy the file again") from error
    if _deeper(value, DEEPEST):
        raise InputError(f"{path}: nested more than {DEEPEST} deep; copy the file again")
    return value


def _deeper(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    return depth == 0 or any(
        _deeper(part, depth - 1) for part in (value.values() if isinstance(value, dict) else value)
    )


def check_config(path: Path, config: Mapping[str, Any], sides: list[int] | None = None) -> None:
    """Raise `InputError` for a `config.json` with a value of a kind that no model has, one that names code or weights
    elsewhere, or sizes far beyond those of the weights.

    sides: of each tensor in the weight files, the longest side; None: the weights were not looked at.
    """
    for key, kind, name in (("architectures", list, "a list"), ("model_type", str, "a text")):
        if not isinstance(config.get(key), kind | None):
            raise InputError(f"{path}: {key} is not {name}; copy the file again")
    if config.get("transformers_weights") is not None:
        raise InputError(f"{path}: transformers_weights names other weights than model.safetensors; remove the key")
    for key, value in _entries(config):
        name = key.rpartition(".")[2]
        if name.endswith("_config") and not isinstance(value, dict | None):
            raise InputError(f"{path}: {key} is not a mapping; copy the file again")
        if name in FROM_ELSEWHERE and "/" in str(value):
            raise InputError(f"{path}: {key} names code on the hub, and no code of a model is run; remove the key")
        if isinstance(value, int) and abs(value) > LARGEST:
            raise InputError(f"{path}: {key} is a number over {LARGEST}; copy the file again")
        if name in (*COUNTS, *SIZES):
            _check_size(path, key, value, sides)


def _check_size(path: Path, key: str, value: Any, sides: list[int] | None) -> None:
    values = value if isinstance(value, list) else [value]
    if any(isinstance(v, bool) or not isinstance(v, int | None) or (v or 0) < 0 for v in values):
        raise InputError(f"{path}: {key} is {str(value)[:40]!r}, not a whole number; copy the file again")
    if not sides:
        return
    counted = key.rpartition(".")[2] in COUNTS
    most = len(sides) if counted else FAR * max(sides)
    if any((v or 0) > most for v in values):
        held = f"the weights hold {len(sides)} tensors" if counted else f"no side of a weight is over {max(sides)}"
        raise InputError(f"{path}: {key} is {str(value)[:40]}, but {held}; copy config.json and the weights again")


def _entries(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of all nested mappings, each with its dotted key."""
    if isinstance(value, dict):
        for name, inner in value.items():
            place = f"{key}.{name}".lstrip(".")
            yield place, inner
            yield from _entries(inner, place)
    elif isinstance(value, list):
        for inner in value:
            yield from _entries(inner, key)

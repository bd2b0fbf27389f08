"""The safetensors files of a model folder, and what their headers say. No other kind of weights is ever loaded."""

from __future__ import annotations

import json
import math
import os
import struct
from pathlib import Path, PurePosixPath
from typing import Any

from seelevel.errors import InputError
from seelevel.json_text import unique_keys
from seelevel.models.config_file import read_json
from seelevel.opening import open_file

MODEL, ADAPTER = "model.safetensors", "adapter_model.safetensors"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
POINTER = b"version "
"""The first bytes of a Git LFS pointer, which stands for a file that was not downloaded."""
LONGEST_HEADER = 100_000_000
"""Bytes of the longest header that safetensors itself reads."""
BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
"""Bits per number, by the type that a header names."""


def weight_files(folder: Path, name: str) -> list[Path]:
    """The safetensors files that are loaded from a folder: `name`, or the shards of its index.

    Raises `InputError` for one that is missing, cut off or not downloaded, and for weights in another format.
    """
    index = folder / f"{name}.index.json"
    if (folder / name).exists():  # transformers prefers it to an index
        safetensors_header(folder / name)
        return [folder / name]
    if index.exists() and name == MODEL:  # PEFT reads no index: it would go on to adapter_model.bin
        return _shards(folder, index)
    if any(folder.glob("*.safetensors")) and name == MODEL:
        stray = min(folder.glob("*.safetensors"))
        if not stray.exists():
            raise InputError(f"{stray} is a link to nothing; download the model again, or copy it with its links")
        raise InputError(f"model folder {folder} has {stray.name}, but neither {name} nor {index.name}; add that file")
    if any(any(folder.glob(kind)) for kind in PICKLED):
        raise InputError(
            f"model folder {folder} has only pickled weights (.bin), and only *.safetensors are loaded; save it again "
            "with save_pretrained"
        )
    raise InputError(f"model folder {folder} has no weights (*.safetensors); name a complete model folder")


def weight_map(index: Path) -> dict[str, str]:
    """The file of each tensor, by an index. Raises `InputError` for one that is not safetensors, or outside the folder
    of the index."""
    weights = read_json(index).get("weight_map")
    if not isinstance(weights, dict) or not weights:
        raise InputError(f"{index} has no weight_map that names the weight files; copy the file again")
    for tensor, file in weights.items():
        if not isinstance(file, str) or not file.endswith(".safetensors"):
            raise InputError(
                f"{index}: {tensor:.80} is in {file!r:.80}, and only *.safetensors are loaded; save the model again"
            )
        if PurePosixPath(file).is_absolute() or ".." in file.replace("\\", "/").split("/") or "\0" in file:
            raise InputError(f"{index}: {tensor:.80} is in {file!r:.80}, outside the folder; copy the model again")
    return weights


def _shards(folder: Path, index: Path) -> list[Path]:
    """The files that an index names, each with the tensors that the index says it has."""
    weights = weight_map(index)
    files = sorted({*weights.values()})
    missing = [file for file in files if not (folder / file).exists()]
    if missing:
        raise InputError(
            f"model folder {folder} lacks {len(missing)} of its weight files, first {missing[0]}; add them"
        )
    headers = {file: safetensors_header(folder / file) for file in files}
    lost = next((tensor for tensor, file in weights.items() if tensor not in headers[file]), None)
    if lost is not None:
        raise InputError(f"{folder / weights[lost]} lacks {lost}, which {index.name} says it has; copy both again")
    return [folder / file for file in files]


def safetensors_header(file: Path) -> dict[str, Any]:
    """Name, type and shape of each tensor in a file. Raises `InputError` if the file is not whole."""
    with open_file(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        begin = stream.read(8)
        if begin == POINTER:
            raise InputError(f"{file} is a Git LFS pointer, not weights; download it with `git lfs pull`")
        try:
            length = struct.unpack("<Q", begin)[0]
            if length > min(size - 8, LONGEST_HEADER):
                raise ValueError("its header is longer than the file, or than 100 MB")
            header = json.loads(stream.read(length).decode(), object_pairs_hook=unique_keys)
            if not isinstance(header, dict):
                raise ValueError("its header is not a mapping")
            tensors = {name: value for name, value in header.items() if name != "__metadata__"}
            spans = sorted(_span(name, tensor) for name, tensor in tensors.items())
        except (struct.error, ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())[:120]
            raise InputError(
                f"{file} is not a safetensors file or was cut off ({reason}); copy the model again"
            ) from error
    starts, ends = [begin for begin, _ in spans], [end for _, end in spans]
    if [0, *ends] != [*starts, size - 8 - length]:  # a hole, an overlap, or too few bytes
        raise InputError(f"{file}: a weight file is corrupt or cut off; copy it again")
    return tensors


def _span(name: str, tensor: Any) -> tuple[int, int]:
    """First and last byte of a tensor. Raises `ValueError` for an entry that does not describe one."""
    entry = tensor if isinstance(tensor, dict) else {}
    dtype, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    whole = all(
        isinstance(values, list) and all(type(v) is int and 0 <= v < 2**63 for v in values)
        for values in (shape, offsets)
    )
    if not isinstance(dtype, str) or not whole or len(offsets or ()) != 2:
        raise ValueError(f"{name:.60} has no type, shape and data_offsets")
    begin, end = offsets or (0, 0)
    if begin > end or (dtype in BITS and math.prod(shape or ()) * BITS[dtype] != (end - begin) * 8):
        raise ValueError(f"{name:.60} has a shape of other bytes than its data_offsets")
    return begin, end


def longest_sides(files: list[Path]) -> list[int]:
    """The longest side of each tensor in some safetensors files; 1 for a single number."""
    tensors = (tensor for file in files for tensor in safetensors_header(file).values())
    return [max(tensor["shape"], default=1) for tensor in tensors]


def count_parameters(files: list[Path]) -> tuple[int, str]:
    """Numbers in the tensors of some safetensors files, and their types: `F16`, `BF16/F32`."""
    tensors = [tensor for file in files for tensor in safetensors_header(file).values()]
    return sum(math.prod(tensor["shape"]) for tensor in tensors), "/".join(sorted({t["dtype"] for t in tensors}))

"""What a model's folder holds, read without torch: weights, their number, what an image costs."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path

from seelevel.errors import InputError


@dataclass(frozen=True)
class ModelSize:
    """Parameters by the headers of a model's safetensors files, and tokens that an image takes (0: not known)."""

    parameters: int
    dtype: str
    image_tokens: int


def weight_files(folder: Path) -> list[Path]:
    """A model folder's safetensors files. Raises `InputError` where config.json or all weights are missing."""
    if not (folder / "config.json").is_file():
        raise InputError(f"model folder {folder} has no config.json; name a folder that save_pretrained has written")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        other = " (only pickled weights, which are not loaded: convert them)" if any(folder.glob("*.bin")) else ""
        raise InputError(f"model folder {folder} has no *.safetensors weights{other}; name a complete model folder")
    return files


def model_size(folder: Path) -> ModelSize:
    """Size of the model in a folder. Raises `InputError` where it is incomplete."""
    count, dtypes = 0, set()
    for file in weight_files(folder):
        with file.open("rb") as stream:
            try:
                header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
            except (struct.error, ValueError) as error:
                raise InputError(f"{file} is not a safetensors file or was cut off; copy the model again") from error
        for name, tensor in header.items():
            if name != "__metadata__":
                count += math.prod(tensor["shape"])
                dtypes.add(tensor["dtype"])
    vision = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("vision_config") or {}
    side, patch = vision.get("image_size"), vision.get("patch_size")
    tokens = (side // patch) ** 2 if isinstance(side, int) and isinstance(patch, int) else 0
    return ModelSize(count, "/".join(sorted(dtypes)), tokens)

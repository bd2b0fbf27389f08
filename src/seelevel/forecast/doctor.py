"""Is this machine ready? What it has, and what is installed."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from seelevel.errors import free_bytes
from seelevel.forecast import described
from seelevel.forecast.aligning import human
from seelevel.models.files import model_size
from seelevel.naming import world_models
from seelevel.store import cache_folder


def doctor() -> str:
    """What this machine has, and whether everything that seelevel needs is installed."""
    lines = [
        f"seelevel {version('seelevel')}, Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        f"processor: {os.cpu_count()} cores; memory {human(_memory())}B",
        f"disk free here: {human(free_bytes(Path.cwd()))}B",
    ]
    for package in ("torch", "transformers", "peft", "accelerate", "datasets", "spacy"):
        lines.append(f"{package}: {_version_or_missing(package)}")
    import torch

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties: Any = torch.cuda.get_device_properties(index)
            lines.append(f"GPU {index}: {properties.name}, {human(properties.total_memory)}B")
    else:
        lines.append(f"GPU: none; models run on the processor with {torch.get_num_threads()} threads")
    from seelevel.language.parse import load_parser

    lines.append(f"parser: builtin, {len(load_parser('builtin').pipe_names)} components")
    for model in world_models():
        lines.append(described(model.name, model_size(Path(model.path))))
    cache = cache_folder()
    size = sum(file.stat().st_size for file in cache.rglob("*") if file.is_file())
    lines.append(f"cache: {human(size)}B in {cache}")
    if shutil.which("git") is None:
        lines.append("git: not found; only needed to contribute")
    return "\n".join(lines)


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _version_or_missing(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing; run make setup"

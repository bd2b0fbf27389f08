"""Folders written whole or not at all, and the checkpoints that may be resumed from."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from seelevel.errors import DiskFullError, free_bytes, is_disk_full, require_space
from seelevel.store import write_json

MARKER = "complete.json"
WRITING = "writing-"
FULL = 4096
"""A disk with fewer bytes free than a page is full."""


def write_folder(target: Path, write: Callable[[Path], None], size: int) -> None:
    """Have `write` fill a folder that appears at `target` only once it is whole. `size`: bytes expected.

    Raises `DiskFullError` with the bytes missing.
    """
    temporary = target.with_name(WRITING + target.name)
    shutil.rmtree(temporary, ignore_errors=True)
    require_space(target, size)
    try:
        temporary.mkdir(parents=True)
        write(temporary)
        for path in temporary.rglob("*"):
            if path.is_file():
                _flush(path)
    except Exception as error:
        # torch's own writer says only that a write came up short
        full = is_disk_full(error) or free_bytes(target.parent) < FULL
        shutil.rmtree(temporary, ignore_errors=True)
        if full and not isinstance(error, DiskFullError):
            raise DiskFullError(target, max(size - free_bytes(target.parent), 1)) from error
        raise
    if target.exists():
        shutil.rmtree(target)
    temporary.replace(target)


def clear_unfinished(folder: Path) -> None:
    """Remove what a killed process left half-written in a folder."""
    for leftover in folder.glob(WRITING + "*") if folder.is_dir() else ():
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def seal(folder: Path, fingerprint: str) -> None:
    """Mark a checkpoint as whole: every file with its size, and what it belongs to."""
    files = {p.relative_to(folder).as_posix(): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
    write_json(folder / MARKER, {"fingerprint": fingerprint, "files": files})


def is_whole(folder: Path, fingerprint: str) -> bool:
    """Whether a checkpoint was sealed under this fingerprint and every file still has its size."""
    try:
        marker = json.loads((folder / MARKER).read_text())
        files = marker["files"]
        return marker["fingerprint"] == fingerprint and all(
            (folder / name).stat().st_size == size for name, size in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def checkpoints(folder: Path, fingerprint: str) -> list[Path]:
    """Whole checkpoints of a training, oldest first; half-written, empty and foreign folders are passed over."""
    found = [
        (int(match[1]), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name)) and is_whole(path, fingerprint)
    ]
    return [path for _, path in sorted(found)]

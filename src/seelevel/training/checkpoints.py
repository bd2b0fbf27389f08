"""Complete checkpoints, the only ones that a training resumes from."""

from __future__ import annotations

import re
from pathlib import Path

from seelevel.json_text import loads
from seelevel.opening import read_text
from seelevel.store import write_json

MARKER = "complete.json"


def seal(folder: Path, fingerprint: str) -> None:
    """Mark a checkpoint as complete: list every file with its size, and the training's fingerprint."""
    files = {p.relative_to(folder).as_posix(): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
    write_json(folder / MARKER, {"fingerprint": fingerprint, "files": files})


def is_whole(folder: Path, fingerprint: str) -> bool:
    """Whether a checkpoint was sealed with this fingerprint and every file still has its size."""
    try:
        marker = loads(read_text(folder / MARKER))
        files = marker["files"]
        return marker["fingerprint"] == fingerprint and all(
            (folder / name).stat().st_size == size for name, size in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def checkpoints(folder: Path, fingerprint: str) -> list[Path]:
    """Complete checkpoints of a training, oldest first. Other folders are ignored."""
    complete = [
        (int(match[1]), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name)) and is_whole(path, fingerprint)
    ]
    return [path for _, path in sorted(complete)]

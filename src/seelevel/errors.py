"""Errors that reach the user as one line instead of a traceback."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path


class InputError(Exception):
    """What the user gave is wrong: the message says what, where and how to mend it (exit code 2)."""


class NonFiniteLossError(ArithmeticError):
    """A loss or its gradient is NaN or infinite: the message names the ladders (exit code 1)."""


class ServerError(Exception):
    """A model's server failed during a run: the message says which, how and what to do (exit code 1)."""


class DiskFullError(Exception):
    """A write did not fit: the message names the path and the bytes missing (exit code 1)."""

    def __init__(self, path: Path | str, missing: int) -> None:
        self.path, self.missing = Path(path), missing
        super().__init__(
            f"disk full: {path} needs {missing:,} more bytes; free some space and run the same command again"
        )

    def __reduce__(self) -> tuple[type[DiskFullError], tuple[Path, int]]:
        return DiskFullError, (self.path, self.missing)  # a worker's error travels


class WorkerLostError(Exception):
    """Workers of a cluster die again and again over one shard: the message says why, and what to do (exit code 1)."""


class RankLostError(Exception):
    """A process of a training has ended or does not answer: the message names its rank (exit code 1)."""


FAILURES = (NonFiniteLossError, ServerError, DiskFullError, WorkerLostError, RankLostError)
"""Errors that end a run of correct input with one line (exit code 1)."""


def free_bytes(path: Path | str) -> int:
    """Bytes free on the file system of `path`, which need not exist yet."""
    place = Path(path).resolve()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def require_space(path: Path | str, size: int) -> None:
    """Raise `DiskFullError` before a write of `size` bytes to `path` that cannot fit."""
    free = free_bytes(path)
    if size > free:
        raise DiskFullError(path, size - free)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or one it came from, says that the disk is full.

    Libraries that write from compiled code (safetensors, Arrow, torch) report it in their own exception types, with
    the system's text in the message; so the text is read if there is no error number.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if os.strerror(errno.ENOSPC) in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def reason_of(error: BaseException) -> str:
    """An exception in one short line, with its type if that says more."""
    text = " ".join(str(error).split())[:200]
    plain = isinstance(error, ValueError | OSError | RuntimeError) and bool(text)
    return text if plain else f"{type(error).__name__} {text}".strip()

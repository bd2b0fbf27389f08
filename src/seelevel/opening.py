"""Files of others, opened so that only a regular file is ever read.

A pipe, a device or a socket could block or go on for ever. So every file is opened without waiting and looked at before
its first byte is read. Errors of the system, such as a missing file, are raised as they are.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

from seelevel.errors import InputError

LARGEST = 1 << 28
"""Bytes of the largest file that is read at once: recipes, templates, settings, answers."""
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


class NotAFile(InputError):
    """A path leads to a folder, a pipe, a device, a socket, or round in a circle of links. `kind`: which, in words."""

    def __init__(self, path: Path | str, kind: str) -> None:
        self.kind = kind
        super().__init__(f"{path} is not a file but {kind}; name a regular file")


class TooLarge(InputError):
    """A file has more bytes than its reader takes."""

    def __init__(self, path: Path | str, size: int, largest: int) -> None:
        super().__init__(f"{path} has {size:,} bytes, over {largest:,}; name a smaller file")


def open_descriptor(path: Path | str, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a regular file. Raises `NotAFile` for anything else, `OSError` as the system does."""
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a pipe without a reader
            raise NotAFile(path, "a socket or a pipe") from error
        if error.errno == errno.ELOOP:
            kind = "a link" if flags & os.O_NOFOLLOW else "a circle of links"
            raise NotAFile(path, kind) from error
        raise
    try:
        _require_regular(path, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_regular(path: Path | str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise NotAFile(path, next((name for is_kind, name in KINDS if is_kind(mode)), "a special file"))


def require_replaceable(path: Path | str) -> None:
    """Raise `NotAFile` if a new file of this name would take the place of a device, a pipe, a socket or a folder."""
    with suppress(FileNotFoundError):
        _require_regular(path, Path(path).stat().st_mode)


def open_file(path: Path | str) -> BufferedReader:
    """A regular file, open for reading. Raises `NotAFile`, or `OSError` as the system does."""
    return os.fdopen(open_descriptor(path), "rb")


def require_file(path: Path | str) -> None:
    """Raise as `open_file` does. For files that a library opens by their path."""
    os.close(open_descriptor(path))


def read_bytes(path: Path | str, largest: int = LARGEST) -> bytes:
    """A regular file's bytes. Raises `NotAFile`, `TooLarge`, or `OSError` as the system does."""
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > largest:
            raise TooLarge(path, size, largest)
        return file.read(largest + 1) or b""  # None: a file of the system that has nothing to say yet


def read_text(path: Path | str, encoding: str = "utf-8") -> str:
    """A regular file's text, every line end as `\n`. Raises `UnicodeDecodeError`, and as `read_bytes` does."""
    return read_bytes(path).decode(encoding).replace("\r\n", "\n").replace("\r", "\n")

"""A run's log: the lines that its commands print, each with its time, in `log.txt` of the run folder.

Every line is one write to the end of the file, so that a killed run leaves whole lines. A run does not need its log:
if it cannot be written, because the disk is full or read-only, the run says so once and goes on without it.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from seelevel.errors import FAILURES, InputError, reason_of
from seelevel.opening import open_descriptor, open_file
from seelevel.progress import escape_controls, kept, say

LOG, BEFORE = "log.txt", "log.before.txt"
"""The log, and the one before it, which is full."""
LARGEST = 4 << 20
"""Bytes of a log that is full."""
LONGEST = 4000
"""Characters of a line; the rest is cut off."""
TAIL = 1 << 16
"""Bytes that `read_log` reads from the end."""
STOPPED, ENDED = "stopped", "ended"
_TIMED = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d) (.*)")


@dataclass(frozen=True)
class Line:
    """A line of a log. `opens`: it begins the section of a command."""

    when: datetime
    text: str

    @property
    def opens(self) -> bool:
        return self.text.startswith("== ")


class RunLog:
    """A log file that lines are added to. A link of that name is not followed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._alone = threading.Lock()
        self._usable = True

    def line(self, text: str) -> None:
        """Write a line. The first failure is said; nothing is written from then on."""
        with self._alone:
            if not self._usable:
                return
            when = datetime.now().astimezone().isoformat(timespec="seconds")
            cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
            raw = f"{when} {escape_controls(cut)}\n".encode("utf-8", "backslashreplace")
            try:
                self._write(raw)
                return
            except (OSError, InputError) as error:
                self._usable = False
                reason = reason_of(error)
        say(f"{self.path} cannot be written ({reason}); the run goes on without its log")

    def _write(self, raw: bytes) -> None:
        if self._descriptor is None:
            self._open()
        assert self._descriptor is not None
        if os.fstat(self._descriptor).st_size + len(raw) > LARGEST:
            self.close()
            self.path.replace(self.path.with_name(BEFORE))
            self._open()
        if os.write(self._descriptor, raw) < len(raw):
            raise OSError("the disk is full")

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        self._descriptor = open_descriptor(self.path, flags)
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":  # a disk was full in the middle of a line
            os.write(self._descriptor, b"\n")

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def logged(folder: Path, title: str) -> Iterator[None]:
    """Log every line that is said inside, as a section of the log in a run folder. `title`: its first line."""
    log = RunLog(folder / LOG)
    try:
        with kept(log.line):
            log.line(f"== {title}")
            try:
                yield
            except BaseException as error:
                log.line(f"{STOPPED}: {_why(error)}")
                raise
            log.line(ENDED)
    finally:
        log.close()


def _why(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "by hand"
    return str(error) if isinstance(error, (InputError, *FAILURES)) else reason_of(error)


def read_log(folder: Path) -> list[Line]:
    """The last lines of a run's log; none if there is no log that can be read."""
    try:
        with open_file(folder / LOG) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(size - TAIL, 0))
            raw = file.read(TAIL) or b""
    except (OSError, InputError):
        return []
    lines = []
    for text in raw.decode("utf-8", "replace").split("\n"):
        if match := _TIMED.fullmatch(text):
            with suppress(ValueError):  # no such day
                lines.append(Line(datetime.fromisoformat(match[1]), match[2]))
    return lines

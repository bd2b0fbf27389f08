"""Progress bars with rate and time left in a terminal; plain log lines elsewhere."""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from unicodedata import category

LINE_SECONDS = 10.0
STALLED_SECONDS = 60.0
"""Without anything done for so long, and twice, four times … as long, a line says what is waited for."""
_WAITING: list[Callable[[], str]] = []
_KEEPERS: list[Callable[[str], None]] = []
_LINE = re.compile(r"(.+): (\d+)(?:/(\d+))? \((.*)\)")
JOINERS = "\u200c\u200d"
"""Of characters without a form of their own those that letters and emoji need."""


class Progress:
    """`with Progress("generate", total=300, unit="responses") as bar: bar.advance(16)`.

    In a terminal a bar on standard error; elsewhere a line at the end, unless an error ends it, and one whenever
    something is done more than `LINE_SECONDS` after the last line or the start. If nothing is done for a minute, a line
    says so. The lines are kept (`kept`) in either case, and one at the start. total: None if it is not known.
    """

    def __init__(self, label: str, total: int | None, unit: str = "items", done: int = 0) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done, self.skipped = done, done
        self._start = self._last = self._moved = time.monotonic()
        self._ended = threading.Event()
        self._bar = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(escape_controls(label), total=total, completed=done, rate="")

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        _keep(self.line())
        threading.Thread(target=self._watch, name="progress", daemon=True).start()
        return self

    def advance(self, count: int = 1) -> None:
        """`count` more are done."""
        self.done += count
        self._moved = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, advance=count, rate=self._rate())
        if time.monotonic() - self._last > LINE_SECONDS:
            self._last = time.monotonic()
            self._tell()

    def _watch(self) -> None:
        """Report each time that nothing has been done for long."""
        seen, pause = self._moved, STALLED_SECONDS
        while not self._ended.wait(max(self._moved + pause - time.monotonic(), 0.01)):
            quiet = time.monotonic() - self._moved
            if self._moved != seen:
                seen, pause = self._moved, STALLED_SECONDS
            elif quiet >= pause:
                waits = _WAITING[-1]() if _WAITING else f"the next {self.unit}"
                say(f"{self.label}: no {self.unit} done for {quiet:.0f} s; it waits for {waits}")
                pause *= 2

    def _rate(self) -> str:
        elapsed = max(time.monotonic() - self._start, 1e-9)
        return f"{(self.done - self.skipped) / elapsed:.1f} {self.unit}/s"

    def _tell(self) -> None:
        (say if self._bar is None else _keep)(self.line())

    def line(self) -> str:
        """How far it is, in a line that `read_line` reads."""
        elapsed = time.monotonic() - self._start
        fresh = self.done - self.skipped
        left = (
            f", {elapsed / fresh * (self.total - self.done):.0f} s left"
            if self.total is not None and fresh > 0 and self.done < self.total
            else ""
        )
        of = "" if self.total is None else f"/{self.total}"
        return f"{self.label}: {self.done}{of} ({self._rate()}, {elapsed:.0f} s{left})"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._bar is not None:
            self._bar.stop()
        if kind is None:
            self._tell()


@dataclass(frozen=True)
class Reached:
    """A line of progress, read back. total: None if it was not known; `words`: rate and times."""

    label: str
    done: int
    total: int | None
    words: str


def read_line(text: str) -> Reached | None:
    """What a line of `Progress` says; None for any other line."""
    if (match := _LINE.fullmatch(text)) is None:
        return None
    return Reached(match[1], int(match[2]), None if match[3] is None else int(match[3]), match[4])


@contextmanager
def waiting_for(what: Callable[[], str]) -> Iterator[None]:
    """What a stalled stage inside is waiting for, in a few words."""
    _WAITING.append(what)
    try:
        yield
    finally:
        _WAITING.remove(what)


def say(text: str) -> None:
    """One line of plain log on standard error."""
    print(escape_controls(text), file=sys.stderr, flush=True)
    _keep(text)


@contextmanager
def kept(keep: Callable[[str], None]) -> Iterator[None]:
    """Call `keep` with every line that is said inside."""
    _KEEPERS.append(keep)
    try:
        yield
    finally:
        _KEEPERS.remove(keep)


def _keep(text: str) -> None:
    for keep in list(_KEEPERS):
        keep(text)


def show(text: str) -> None:
    """Lines on standard output: what a command was asked for."""
    print(escape_controls(text, keep="\n"), flush=True)


def escape_controls(text: str, keep: str = "") -> str:
    """A text in one line, or with its lines if `keep` has the line feed. Control characters, which could steer the
    terminal or reverse text, become `\\x1b` or `\\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep else _escaped(c) if is_control(c) else c for c in text)


def _escaped(character: str) -> str:
    number = ord(character)
    if character == "\n":
        return "⏎"
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def is_control(character: str) -> bool:
    """Whether a terminal would obey a character instead of showing it, or cannot be sent it."""
    return category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in JOINERS


def hush_bitsandbytes() -> None:
    """Leave out its warning that a package for faster products is missing: PEFT imports it wherever it is installed.
    For processes of the command line; who imports the package decides about other libraries' warnings."""
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

"""Progress bars with rate and time left in a terminal; plain log lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from unicodedata import category

LINE_SECONDS = 10.0
JOINERS = "\u200c\u200d"
"""Of characters without a form of their own those that letters and emoji need."""


class Progress:
    """`with Progress("generate", total=300, unit="responses") as bar: bar.advance(16)`.

    In a terminal a bar on standard error; elsewhere a line at the end, unless an error ends it, and one whenever
    something is done more than `LINE_SECONDS` after the last line or the start. total: None if it is not known.
    """

    def __init__(self, label: str, total: int | None, unit: str = "items", done: int = 0) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done, self.skipped = done, done
        self._start = self._last = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(label, total=total, completed=done, rate="")

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def advance(self, count: int = 1) -> None:
        """`count` more are done."""
        self.done += count
        if self._bar is not None:
            self._bar.update(self._task, advance=count, rate=self._rate())
        elif time.monotonic() - self._last > LINE_SECONDS:
            self._last = time.monotonic()
            self._line()

    def _rate(self) -> str:
        elapsed = max(time.monotonic() - self._start, 1e-9)
        return f"{(self.done - self.skipped) / elapsed:.1f} {self.unit}/s"

    def _line(self) -> None:
        elapsed = time.monotonic() - self._start
        fresh = self.done - self.skipped
        left = (
            f", {elapsed / fresh * (self.total - self.done):.0f} s left"
            if self.total is not None and fresh > 0 and self.done < self.total
            else ""
        )
        of = "" if self.total is None else f"/{self.total}"
        print(
            f"{self.label}: {self.done}{of} ({self._rate()}, {elapsed:.0f} s{left})",
            file=sys.stderr,
            flush=True,
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif kind is None:
            self._line()


def say(text: str) -> None:
    """One line of plain log on standard error."""
    print(escape_controls(text), file=sys.stderr, flush=True)


def escape_controls(text: str) -> str:
    """A text in one line. Control characters, which could steer the terminal or reverse text, become `\\x1b`."""
    return "".join(f"\\x{ord(c):02x}" if is_control(c) else c for c in text.replace("\n", "⏎"))


def is_control(character: str) -> bool:
    """Whether a terminal would obey a character instead of showing it."""
    return category(character) in ("Cc", "Cf") and character not in JOINERS

"""Templates of strangers, with limits: what one may compute, how long it may run, how much it may make.

Jinja's sandbox keeps a template from Python and from files. But `range(99999)` inside `range(99999)` runs for days
there, and `'x' * 10 ** 12` takes all memory.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import jinja2
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

LARGEST = 1 << 22
"""Characters of a text, items of a list: no prompt is longer."""
BITS = 4096
"""Of a whole number."""
STEPS, SECONDS, MEMORY = 1_000_000, 10.0, 1 << 29
"""Lines that a template may run, seconds of computing, and bytes by which the process may grow meanwhile."""
LOOK_EVERY = 64
"""Lines and calls between two looks at time and memory."""
WIDE = re.compile(r"\d{7,}|%[^a-zA-Z%]*\*")
"""A width in a format that no text needs, or one that is taken from the values."""


class TooMuchError(jinja2.TemplateRuntimeError):
    """A template that computes too long, or makes too much."""


def _refuse_large(size: float) -> None:
    if size > LARGEST:
        raise TooMuchError(f"makes a text or list of over {LARGEST:,} characters or items")


def _refuse_long(bits: float) -> None:
    if bits > BITS:
        raise TooMuchError(f"makes a number of over {BITS} bits")


def _sum(a: Any, b: Any) -> Any:
    if isinstance(a, str | list | tuple | bytes) and isinstance(b, type(a)):
        _refuse_large(len(a) + len(b))
    return a + b


def _product(a: Any, b: Any) -> Any:
    for parts, count in ((a, b), (b, a)):
        if isinstance(parts, str | list | tuple | bytes) and isinstance(count, int):
            _refuse_large(len(parts) * count)
    if isinstance(a, int) and isinstance(b, int):
        _refuse_long(a.bit_length() + b.bit_length())
    return a * b


def _power(a: Any, b: Any) -> Any:
    if isinstance(a, int) and isinstance(b, int):
        _refuse_long(a.bit_length() * abs(b))
    return a**b


def _remainder(a: Any, b: Any) -> Any:
    if isinstance(a, str):
        _refuse_wide(a)
    return a % b


def _refuse_wide(text: str) -> None:
    if WIDE.search(text):
        raise TooMuchError("has a format that is too wide")


def _joined(parts: Iterable[str]) -> str:
    """`''.join`, with a limit."""
    texts, size = [], 0
    for text in parts:
        size += len(text)
        _refuse_large(size)
        texts.append(text)
    return "".join(texts)


def _checked(name: str, function: Callable[..., Any], owner: object, arguments: tuple[Any, ...], named: Any) -> Any:
    """The result of a filter or method. Its widths, and what it may make of its texts, are checked before."""
    values = (*arguments, *named.values())
    for value in values:
        if isinstance(value, int):
            _refuse_large(abs(value))
    texts = [value for value in (owner, *values) if isinstance(value, str)]
    if name == "format":
        for text in texts[:1]:
            _refuse_wide(text)
    elif name in ("replace", "translate"):
        _refuse_large(max(map(len, texts), default=0) * max((len(text) for text in texts[1:]), default=0))
    elif name == "join":
        lists = [value for value in (owner, *values) if isinstance(value, list | tuple)]
        longest = max(map(len, texts), default=0)
        _refuse_large(sum(longest + (len(text) if isinstance(text, str) else 16) for items in lists for text in items))
    result = function(*arguments, **named)
    if isinstance(result, str | list | tuple):
        _refuse_large(len(result))
    return result


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with limits on what one operation may make. Raises `TooMuchError` beyond them."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])
    concat = staticmethod(_joined)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.binop_table |= {"+": _sum, "*": _product, "**": _power, "%": _remainder}
        self.filters = {name: _bounded_filter(name, function) for name, function in self.filters.items()}

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        method = getattr(__obj, "__wrapped__", __obj)  # Jinja wraps `format` of texts
        name, owner = getattr(method, "__name__", ""), getattr(method, "__self__", None)
        if not isinstance(owner, str):
            return super().call(__context, __obj, *args, **kwargs)
        run = functools.partial(super().call, __context, __obj)
        return _checked(name, run, owner, args, kwargs)


def _bounded_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)  # which also copies the marks that tell Jinja what to pass first
    def bounded(*arguments: Any, **named: Any) -> Any:
        return _checked(name, function, None, arguments, named)

    return bounded


@contextmanager
def limited() -> Iterator[None]:
    """Run or compile templates inside with a limit on lines, time and memory. Raises `TooMuchError`.

    Tracing is the only way to stop a template in any thread: its code has no place to ask whether it may go on.
    """
    outer = sys.gettrace()
    sys.settrace(_Watch().enter)
    try:
        yield
    finally:
        sys.settrace(outer)


class _Watch:
    """Counts the lines that templates run, and looks at time and memory now and then."""

    def __init__(self) -> None:
        self.steps = self.events = 0
        self.trace = self.line
        self.begun = time.thread_time()
        self.memory = -1  # looked up later: most templates are done before

    def enter(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        self.count()
        return self.trace if frame.f_code.co_filename == "<template>" else None

    def line(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        self.steps += 1
        if event != "exception":  # Python drops an error raised here at the end of a loop, and stops tracing
            self.count()
        return self.trace

    def count(self) -> None:
        if self.steps > STEPS:
            raise TooMuchError(f"takes over {STEPS:,} steps")
        self.events += 1
        if self.events % LOOK_EVERY:
            return
        if time.thread_time() - self.begun > SECONDS:  # not the clock: the machine may be busy with something else
            raise TooMuchError(f"takes over {SECONDS:g} s")
        resident = _resident()
        self.memory = resident if self.memory < 0 else self.memory
        if resident - self.memory > MEMORY:
            raise TooMuchError(f"takes over {MEMORY >> 20} MiB of memory")


def _resident() -> int:
    """Bytes of memory that the process holds; 0 on systems that do not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0

"""Search for input that a reader cannot take: a traceback, five seconds of work, a gibibyte of memory.

The tests run a few hundred examples, always the same. `SEELEVEL_FUZZ_MINUTES=10` searches so long in each test, with
new examples every time.
"""

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from seelevel.errors import InputError

MINUTES = float(os.environ.get("SEELEVEL_FUZZ_MINUTES", "0"))
EXAMPLES = 2000 if MINUTES else 150
SECONDS = 5  # of the processor: a machine may be busy
GIBIBYTE = 2**20  # in KiB, as the system counts


class TooSlow(BaseException):
    """No `except Exception` of a reader may catch it."""


def search(strategy: some.SearchStrategy[Any], read: Callable[[Any], Any], allowed: Any = InputError) -> None:
    """Read examples until the time is over. A reader may only return, or raise an `allowed` error."""
    end = time.monotonic() + 60 * MINUTES
    while True:
        _round(strategy, read, allowed)
        if time.monotonic() >= end:
            return


def _round(strategy: some.SearchStrategy[Any], read: Callable[[Any], Any], allowed: Any) -> None:
    @settings(
        max_examples=EXAMPLES,
        derandomize=not MINUTES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def example(value: Any) -> None:
        with in_time():
            try:
                read(value)
            except allowed as error:
                assert str(error).strip(), "an error without a word"

    example()


@contextmanager
def in_time() -> Iterator[None]:
    """Fail if what is inside takes too long, or too much memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + GIBIBYTE


def _stop(*_: Any) -> None:
    raise TooSlow(f"over {SECONDS} s")


scalars = some.one_of(
    some.none(),
    some.booleans(),
    some.integers(),
    some.floats(),
    some.text(max_size=12),
    some.sampled_from(
        ["", "<image>", "a.png", "../a.png", "/etc/passwd", "\ud800", "0", "1e999", 2**70, 10**400, "{}"]
    ),
)
values = some.recursive(
    scalars,
    lambda inner: some.one_of(
        some.lists(inner, max_size=4), some.dictionaries(some.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)
"""Any value of JSON, and some that are not."""


def mutated(whole: bytes) -> some.SearchStrategy[bytes]:
    """A file with some bytes changed, and maybe its end cut off."""
    change = some.tuples(some.integers(0, len(whole) - 1), some.integers(0, 255))

    def apply(changes: list[tuple[int, int]], length: int) -> bytes:
        raw = bytearray(whole)
        for place, value in changes:
            raw[place] = value
        return bytes(raw[:length])

    lengths = some.one_of(some.just(len(whole)), some.integers(0, len(whole)))
    return some.builds(apply, some.lists(change, max_size=8), lengths)

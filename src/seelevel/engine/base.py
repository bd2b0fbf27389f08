"""The type of an engine, and the one that works in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

J = TypeVar("J")
R = TypeVar("R")
Work = Callable[[J], R]
Each = Callable[[Sequence[Any], Callable[[], Any], Callable[[Any, Any], Any]], None]
"""An engine: it does what `seelevel.engine.each_job` says."""


def one_by_one(jobs: Sequence[J], start: Callable[[], Work[J, R]], done: Callable[[J, R], Any]) -> None:
    """In this process, in the order of the jobs."""
    if jobs:
        work = start()
        for job in jobs:
            done(job, work(job))

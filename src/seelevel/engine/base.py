"""What an engine does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

J = TypeVar("J")
R = TypeVar("R")
Work = Callable[[J], R]
Each = Callable[[Sequence[Any], Callable[[], Any], Callable[[Any, Any], Any]], None]
"""What an engine does: `seelevel.engine.each_job`."""


def one_by_one(jobs: Sequence[J], start: Callable[[], Work[J, R]], done: Callable[[J, R], Any]) -> None:
    """In this process, in the order of the jobs."""
    if jobs:
        work = start()
        for job in jobs:
            done(job, work(job))

"""Where the shards of a stage are worked on: in this process, one after the other, or by the workers of a Ray cluster.

Both do the same work on the same shards: `start()` gives the work, which may load a model, and each job is one call of
it that writes its own file, whole or not at all. So the files are the same, whoever made them and however often a
worker died.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from seelevel.engine.base import Each, J, R, Work, one_by_one
from seelevel.engine.settings import EngineSettings

CURRENT: ContextVar[Each] = ContextVar("engine", default=one_by_one)
"""What does the jobs of `each_job`: the engine in force."""


def each_job(jobs: Sequence[J], start: Callable[[], Work[J, R]], done: Callable[[J, R], Any]) -> None:
    """One call of `start()`'s work for each job, by the engine in force, and then of `done(job, result)` here. Jobs end
    in any order. `start` is called only if there is a job, by each worker once."""
    CURRENT.get()(jobs, start, done)


@contextmanager
def engine_of(settings: EngineSettings) -> Iterator[None]:
    """The engine in force inside; a cluster is asked for with the first job. Raises `InputError` if Ray is not
    installed."""
    if settings.name == "local":
        yield
        return
    from seelevel.engine.cluster import Cluster

    with Cluster(settings) as cluster:
        token = CURRENT.set(cluster.each)
        try:
            yield
        finally:
            CURRENT.reset(token)

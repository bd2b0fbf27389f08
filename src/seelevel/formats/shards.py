"""The one loop over the shards of a stage. Every stage that makes shards from shards uses it; the engine in force
(`seelevel.engine`) says who does the work.

A shard that exists is complete and is kept, so a stopped stage continues after the last one. Each shard is processed by
one call, so a continued run sees the same batches as a run that was never stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from seelevel.engine import each_job
from seelevel.formats.parquet import read_ladders, write_shard
from seelevel.formats.tables import rows_in
from seelevel.ladder import Ladder
from seelevel.progress import Progress
from seelevel.store import shards

Work = Callable[[Path, list[Ladder]], None]
Transform = Callable[[Path, list[Ladder]], Iterable[Ladder]]


def missing_shards(source: Path, target: Path) -> list[Path]:
    """The shards of `source` that `target` does not have yet."""
    return [path for path in shards(source) if not (target / path.name).exists()]


def each_shard(paths: Sequence[Path], root: Path, title: str, start: Callable[[], Work], done: int = 0) -> None:
    """Call `work(path, ladders)` for each path in order, under a progress bar that counts ladders.

    `start()` returns `work`. It is called once by each worker, and only if there is a path: it may load a model. It may
    travel to another machine, so it holds settings and paths, and no model. `root`: the run
    folder, where relative picture paths start. `done`: ladders that were finished before.
    """
    if not paths:
        return
    total = done + sum(map(rows_in, paths))
    with Progress(title, total=total, unit="ladders", done=done) as bar:
        each_job(paths, partial(_reading, start, root), lambda _, count: bar.advance(count))


def _reading(start: Callable[[], Work], root: Path) -> Callable[[Path], int]:
    """The work of `start()` on a shard's path; returns the number of its ladders."""
    work = start()

    def of(path: Path) -> int:
        ladders = read_ladders(path, root)
        work(path, ladders)
        return len(ladders)

    return of


def change_shards(source: Path, target: Path, root: Path, title: str, start: Callable[[], Transform]) -> None:
    """Write one shard of changed ladders to `target` for each missing shard. `start` returns the change."""
    todo = missing_shards(source, target)
    if not todo:
        return
    done = sum(rows_in(path) for path in shards(source) if path not in todo)

    def begin() -> Work:
        change = start()
        return lambda path, ladders: write_shard(target / path.name, change(path, ladders), root)

    each_shard(todo, root, title, begin, done)

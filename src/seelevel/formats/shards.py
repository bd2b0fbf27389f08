"""The one loop over a stage's shards. Whoever makes shards from shards, in a process or on many machines, uses it.

A shard that exists was written whole and is kept, so a stopped stage continues where it was. Each shard is a call of
its own: a continued run sees the same batches as a run that was never stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from seelevel.formats.parquet import read_ladders, rows_in, write_shard
from seelevel.ladder import Ladder
from seelevel.progress import Progress
from seelevel.store import shards

Work = Callable[[Path, list[Ladder]], None]
Transform = Callable[[Path, list[Ladder]], Iterable[Ladder]]


def missing_shards(source: Path, target: Path) -> list[Path]:
    """The shards of `source` of which `target` has none by the same name."""
    return [path for path in shards(source) if not (target / path.name).exists()]


def each_shard(paths: Sequence[Path], root: Path, title: str, start: Callable[[], Work], done: int = 0) -> None:
    """Call `work(path, ladders)` for each path in order, under a progress bar that counts ladders.

    `start()` gives the work. It is called once, and only if there is a shard to work on: it may load a model. `root`:
    the run folder, where relative picture paths begin; `done`: ladders that were finished before.
    """
    if not paths:
        return
    work = start()
    total = done + sum(map(rows_in, paths))
    with Progress(title, total=total, unit="ladders", done=done) as bar:
        for path in paths:
            ladders = read_ladders(path, root)
            work(path, ladders)
            bar.advance(len(ladders))


def change_shards(source: Path, target: Path, root: Path, title: str, start: Callable[[], Transform]) -> None:
    """Write one shard to `target` for each shard of `source`, its ladders changed. `start` as in `each_shard`."""
    todo = missing_shards(source, target)
    if not todo:
        return
    done = sum(rows_in(path) for path in shards(source) if path not in todo)

    def begin() -> Work:
        change = start()
        return lambda path, ladders: write_shard(target / path.name, change(path, ladders), root)

    each_shard(todo, root, title, begin, done)

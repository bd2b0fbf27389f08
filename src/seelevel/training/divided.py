"""Work on many items, of which each process does its part for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from accelerate import PartialState
from accelerate.utils import gather_object

from seelevel.store import SHARD_SIZE, batched
from seelevel.training.launched import world_size

Item = TypeVar("Item")
Result = TypeVar("Result")


def divided(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`work(item)` for each item, in order. Each is computed by one process and sent to the others, a shard per process
    at a time. All processes call this together, with equal items; results can be pickled."""
    if world_size() == 1:
        yield from map(work, items)
        return
    state = PartialState()
    for part in batched(items, SHARD_SIZE * state.num_processes):
        mine = [work(item) for item in part[state.process_index :: state.num_processes]]
        shares = gather_object([mine])
        for place in range(len(part)):
            yield shares[place % state.num_processes][place // state.num_processes]

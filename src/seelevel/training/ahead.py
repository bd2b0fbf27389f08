"""Items prepared one step ahead in a thread, so that a GPU need not wait while a processor reads pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
END = object()


def ahead(items: Iterable[Item], device: torch.device) -> Iterator[Item]:
    """The same items, each made in a thread while a GPU uses the one before it. Errors come in their place. An item is
    kept by its user alone, so that its memory is free when the user is done with it.

    On a processor each is made when it is asked for: a thread would take the cores from the training.
    """
    source = iter(items)
    if device.type == "cpu":
        yield from source
        return
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        coming = pool.submit(next, source, END)
        while (made := [coming.result()])[0] is not END:
            coming = pool.submit(next, source, END)
            yield made.pop()  # type: ignore[misc]  # not END

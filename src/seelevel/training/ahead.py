"""Items prepared one step ahead in a thread, so that a GPU need not wait while a processor reads pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
END = object()


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, each made in a thread while the one before it is in use. Errors come in their place. An item is
    kept by its user alone, so that its memory is free when the user is done with it."""
    source = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        coming = pool.submit(next, source, END)
        while (made := [coming.result()])[0] is not END:
            coming = pool.submit(next, source, END)
            yield made.pop()  # type: ignore[misc]  # not END

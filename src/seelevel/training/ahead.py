"""Items prepared one step ahead in a thread, so that a GPU need not wait while a processor reads pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
END = object()


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, each made in a thread while the one before it is in use. Errors come in their place."""
    source = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        coming = pool.submit(next, source, END)
        while (item := coming.result()) is not END:
            coming = pool.submit(next, source, END)
            yield item  # type: ignore[misc]  # not END

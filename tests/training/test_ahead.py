"""The next item is made while the one before it is in use; order and errors stay."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest
import torch

from seelevel.training.ahead import ahead

pytestmark = pytest.mark.unit
GPU, PROCESSOR = torch.device("cuda"), torch.device("cpu")


def test_order_stays_and_nothing_is_lost() -> None:
    for device in (GPU, PROCESSOR):
        assert [*ahead(iter(range(7)), device)] == [*range(7)]
        assert [*ahead([], device)] == []
        assert [*ahead([None, 0], device)] == [None, 0]


def test_the_next_item_is_made_while_one_is_in_use() -> None:
    made = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    for number in ahead(items(), GPU):
        assert number == 2 or made[number + 1].wait(10)


def test_an_error_is_raised_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second")

    seen = ahead(items(), GPU)
    assert next(seen) == 1
    with pytest.raises(ValueError, match="the second"):
        next(seen)


def test_closing_early_makes_at_most_one_more_item() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    seen = ahead(items(), GPU)
    assert next(seen) == 0
    seen.close()  # type: ignore[attr-defined]  # a generator
    assert len(made) <= 2


def test_an_item_is_kept_by_its_user_alone() -> None:
    class Item:
        pass

    seen = ahead((Item() for _ in range(3)), GPU)
    item = next(seen)
    kept = weakref.ref(item)
    del item
    gc.collect()
    assert kept() is None
    assert next(seen) is not None


def test_on_a_processor_no_item_is_made_before_it_is_asked_for() -> None:
    made: list[int] = []
    seen = ahead((made.append(number) or number for number in range(3)), PROCESSOR)  # type: ignore[func-returns-value]
    assert next(seen) == 0
    assert made == [0]

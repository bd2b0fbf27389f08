"""The order of training."""

from __future__ import annotations

import pytest

from seelevel.training.schedule import buckets, schedule

pytestmark = pytest.mark.unit


def test_every_epoch_holds_every_ladder_once() -> None:
    order = schedule(12, 3, 4, seed=0)
    assert [sorted(order[start : start + 12]) for start in (0, 12, 24)] == [list(range(12))] * 3


def test_the_last_step_is_filled_from_one_epoch_more() -> None:
    order = schedule(10, 1, 4, seed=0)
    assert len(order) == 12
    assert sorted(order[:10]) == list(range(10))


def test_fewer_ladders_than_a_step_make_one_step() -> None:
    assert len(schedule(3, 1, 16, seed=0)) == 16


def test_the_order_depends_on_the_seed_alone() -> None:
    assert schedule(50, 2, 8, seed=1) == schedule(50, 2, 8, seed=1)
    assert schedule(50, 2, 8, seed=1) != schedule(50, 2, 8, seed=2)


def test_buckets_keep_neighbours_in_length_together_within_the_budget() -> None:
    assert buckets([10, 40, 12, 38, 100], 80) == [[4], [1, 3], [2, 0]]

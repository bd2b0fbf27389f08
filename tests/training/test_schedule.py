"""The order of training."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest

from seelevel.training.schedule import buckets, group_into_rows, linked, schedule

pytestmark = pytest.mark.unit


def plain(count: int) -> list[str]:
    """Ladders of no interaction."""
    return [str(number) for number in range(count)]


def test_every_epoch_holds_every_ladder_once() -> None:
    order = schedule(plain(12), 3, 4, seed=0)
    assert [sorted(order[start : start + 12]) for start in (0, 12, 24)] == [list(range(12))] * 3


def test_the_last_step_is_filled_from_one_epoch_more() -> None:
    order = schedule(plain(10), 1, 4, seed=0)
    assert len(order) == 12
    assert sorted(order[:10]) == list(range(10))


def test_fewer_ladders_than_a_step_make_one_step() -> None:
    assert len(schedule(plain(3), 1, 16, seed=0)) == 16


def test_the_order_depends_on_the_seed_alone() -> None:
    assert schedule(plain(50), 2, 8, seed=1) == schedule(plain(50), 2, 8, seed=1)
    assert schedule(plain(50), 2, 8, seed=1) != schedule(plain(50), 2, 8, seed=2)


def test_ladders_of_no_interaction_are_only_shuffled() -> None:
    order = list(range(20))
    random.Random("7/0").shuffle(order)
    assert schedule(plain(20), 1, 4, seed=7) == order


@pytest.mark.parametrize("seed", range(20))
def test_an_interaction_is_cut_by_a_steps_end_only_where_no_other_would_fit(seed: int) -> None:
    drawn = random.Random(seed)
    interactions = [name for name in plain(40) for _ in range(drawn.choice((1, 1, 2, 3, 4)))]
    interactions = drawn.sample(interactions, len(interactions))
    count, sizes = len(interactions), Counter(interactions)
    order = schedule(interactions, 1, 8, seed)
    assert sorted(order[:count]) == list(range(count))
    names = [interactions[i] for i in order[:count]]
    assert len([name for name, _ in itertools.groupby(names)]) == len(sizes)
    for end in range(8, count, 8):
        cut = names[end]
        if names[end - 1] == cut:
            room = names[end - 8 : end].count(cut)
            assert all(sizes[name] > room for name in names[end:] if name != cut)


def test_an_interaction_longer_than_a_step_is_cut_at_its_ends() -> None:
    order = schedule(["a"] * 10 + ["b"], 1, 4, seed=0)
    assert sorted(order[:11]) == list(range(11))
    assert [i for i in order[:11] if i < 10] == list(range(10))


def test_ladders_share_a_row_within_the_budget_only() -> None:
    names = ["a", "b", "a", "a", "b"]
    assert group_into_rows(names, len, budget=9) == [[0, 2, 3], [1, 4]]
    assert group_into_rows(names, len, budget=2) == [[0, 2], [1, 4], [3]]
    assert group_into_rows(names, lambda row: None if 2 in row else len(row), budget=9) == [[0, 3], [1, 4], [2]]


def test_buckets_keep_neighbours_in_length_together_within_the_budget() -> None:
    assert buckets([10, 40, 12, 38, 100], 80) == [[4], [1, 3], [2, 0]]
    assert buckets([10, 10, 10], 30, rows=[2, 1, 1]) == [[0, 1], [2]]


def test_rows_with_a_common_member_go_together() -> None:
    assert linked([[0], [1, 2], [3], [2, 4], [3], [5]]) == [[0], [1, 3], [2, 4], [5]]
    assert linked([[0, 1], [2, 3], [1, 2]]) == [[0, 1, 2]]
    assert linked([]) == []

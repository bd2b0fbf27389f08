"""Which process gets which ladders of a step."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from seelevel.training.balance import balance_steps

pytestmark = pytest.mark.unit


def plain(count: int) -> list[str]:
    """Ladders of no interaction."""
    return [str(number) for number in range(count)]


def largest(order: Sequence[int], per_step: int, processes: int, lengths: Sequence[int]) -> float:
    """The tokens of the largest share of a step over the mean of its shares, on average over the steps."""
    each, ratios = per_step // processes, []
    for start in range(0, len(order), per_step):
        ends = range(start, start + per_step, each)
        shares = [sum(lengths[n] for n in order[end : end + each]) for end in ends]
        ratios.append(max(shares) * processes / sum(shares))
    return sum(ratios) / len(ratios)


def test_one_process_keeps_the_order() -> None:
    assert balance_steps([3, 1, 2, 0], 2, 1, plain(4), len) == [3, 1, 2, 0]


def test_the_longest_ladders_of_a_step_go_to_different_processes() -> None:
    lengths = [90, 10, 80, 20, 5, 5, 7, 7]
    order = balance_steps(range(8), 4, 2, plain(8), lambda unit: sum(lengths[n] for n in unit))
    # first 90, then 80 and 20 to the other, and 10 is left for the first; each share keeps the step's order
    assert order == [0, 1, 2, 3, 4, 6, 5, 7]


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_ladders_of_200_to_4000_tokens_are_balanced_within_some_percent(processes: int) -> None:
    drawn = random.Random(0)
    lengths = [drawn.randint(200, 4000) for _ in range(1600)]
    order = drawn.sample(range(1600), 1600)
    balanced = balance_steps(order, 32, processes, plain(1600), lambda unit: sum(lengths[n] for n in unit))
    assert [sorted(balanced[n : n + 32]) for n in range(0, 1600, 32)] == [
        sorted(order[n : n + 32]) for n in range(0, 1600, 32)
    ]
    before, after = (largest(steps, 32, processes, lengths) for steps in (order, balanced))
    assert after < 1.05
    assert after - 1 < (before - 1) / 10


@pytest.mark.parametrize("seed", range(20))
def test_rounds_of_an_interaction_stay_with_one_process_while_there_is_room(seed: int) -> None:
    drawn = random.Random(seed)
    names = [name for name in plain(48) for _ in range(drawn.choice((1, 1, 1, 2)))][:48]
    order = drawn.sample(range(48), 48)
    balanced = balance_steps(order, 48, 4, names, lambda unit: 10 + len(unit))
    shares = [{names[n] for n in balanced[start : start + 12]} for start in range(0, 48, 12)]
    assert sorted(balanced) == list(range(48))
    cut = sum(count - 1 for count in Counter(name for share in shares for name in share).values())
    assert cut <= 3  # only what no process has room for


def test_an_interaction_longer_than_a_share_is_cut() -> None:
    balanced = balance_steps(range(8), 8, 2, ["a"] * 6 + ["b", "c"], len)
    assert balanced == [0, 1, 2, 3, 4, 5, 6, 7]

"""Dense DPO by hand: which tokens changed, and what they weigh."""

from __future__ import annotations

import math

import pytest

from seelevel.training.objectives.ddpo import changed, ddpo
from seelevel.training.objectives.dpo import dpo
from seelevel.training.objectives.settings import DdpoSettings, DpoSettings

from .made import ladder, logprobs

pytestmark = pytest.mark.unit
MOVED = [[0.1, 0.6, 0.2], [0.3, -0.5, 0.0, -0.4]]
STILL = logprobs([[0.0] * 3, [0.0] * 4])


def test_a_token_is_changed_where_the_other_response_has_it_not() -> None:
    assert changed((1, 2, 3), (1, 4, 3, 5)) == ([False, True, False], [False, True, False, True])
    assert changed((1, 2), (1, 2)) == ([False, False], [False, False])
    assert changed((1, 2), ()) == ([True, True], [])


def test_changed_tokens_weigh_gamma_in_the_sum_and_in_its_divisor() -> None:
    policy = logprobs(MOVED, tokens=[1, 2, 3, 1, 4, 3, 5])
    loss, logs = ddpo(policy, STILL, [ladder(0, 1)], DdpoSettings())
    better = (0.1 + 0.2 + 5 * 0.6) / (2 + 5 * 1)
    worse = (0.3 + 0.0 + 5 * (-0.5 - 0.4)) / (2 + 5 * 2)
    assert logs["margin"] == pytest.approx(better - worse)
    assert loss.item() == pytest.approx(-math.log(1 / (1 + math.exp(-0.5 * (better - worse)))))


@pytest.mark.parametrize("case", ["gamma 1", "all tokens changed"])
def test_without_a_difference_in_weight_it_is_dpo_on_means(case: str) -> None:
    settings = DdpoSettings(gamma=1) if case == "gamma 1" else DdpoSettings()
    tokens = [1, 2, 3, 1, 4, 3, 5] if case == "gamma 1" else [*range(7)]
    loss, _ = ddpo(logprobs(MOVED, tokens=tokens), STILL, [ladder(0, 1)], settings)
    mean, _ = dpo(logprobs(MOVED), STILL, [ladder(0, 1)], DpoSettings(beta=0.5, per_token=True))
    assert loss.item() == pytest.approx(mean.item(), abs=1e-12)


def test_the_same_text_twice_makes_no_difference() -> None:
    policy = logprobs([[0.1, 0.6], [0.1, 0.6]], tokens=[1, 2, 1, 2])
    loss, logs = ddpo(policy, logprobs([[0.0] * 2] * 2), [ladder(0, 1)], DdpoSettings())
    assert loss.item() == pytest.approx(math.log(2))
    assert logs["accuracy"] == 0.5


def test_a_response_weighs_differently_against_each_other_one() -> None:
    tokens = [1, 2, 1, 9, 8, 2]  # against the second response its first token stays, against the third its second
    policy, still = logprobs([[0.5, 1.0], [0.0, 0.0], [0.0, 0.0]], tokens=tokens), logprobs([[0.0] * 2] * 3)
    _, logs = ddpo(policy, still, [ladder(0, 1, 1)], DdpoSettings(pairs="all"))
    assert logs["margin"] == pytest.approx(((0.5 + 5 * 1.0) / 6 + (5 * 0.5 + 1.0) / 6) / 2)


def test_rounds_weigh_in_the_divisor_too() -> None:
    values = logprobs([[1.0, 1.0], [0.0]], tokens=[1, 2, 3], rounds=[0, 1, 0])
    _, logs = ddpo(values, logprobs([[0.0, 0.0], [0.0]]), [ladder(0, 1)], DdpoSettings())
    assert logs["margin"] == pytest.approx(1.0)

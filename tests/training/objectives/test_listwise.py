"""K-wise and PRO by hand: whole rankings, ties, temperatures."""

from __future__ import annotations

import math

import pytest

from seelevel.training.objectives.dpo import dpo
from seelevel.training.objectives.kwise import kwise
from seelevel.training.objectives.pro import pro
from seelevel.training.objectives.settings import DpoSettings, KwiseSettings, ProSettings

from .made import ladder, logprobs

pytestmark = pytest.mark.unit
e = math.exp


def kwise_of(r: list[float], *levels: int, beta: float = 1.0) -> float:
    """The K-wise loss of one ladder of one-token responses that moved by r."""
    loss, _ = kwise(logprobs([[x] for x in r]), logprobs([[0.0]] * len(r)), [ladder(*levels)], KwiseSettings(beta=beta))
    return loss.item()


def test_kwise_on_three_levels_is_plackett_luce() -> None:
    chances = e(0.5) / (e(0.5) + e(0.0) + e(-1.0)), e(0.0) / (e(0.0) + e(-1.0))
    assert kwise_of([1.0, 0.0, -2.0], 0, 1, 2, beta=0.5) == pytest.approx(-math.log(chances[0]) - math.log(chances[1]))


def test_kwise_over_two_responses_is_dpo() -> None:
    policy, reference = logprobs([[-1.0, -0.5], [-2.0]]), logprobs([[-1.2, -0.4], [-1.1]])
    listwise, logs = kwise(policy, reference, [ladder(0, 1)], KwiseSettings())
    pairwise, same = dpo(policy, reference, [ladder(0, 1)], DpoSettings())
    assert listwise.item() == pytest.approx(pairwise.item(), abs=1e-12)
    assert logs.figures() == pytest.approx(same.figures(), abs=1e-12)


def test_members_of_a_tied_group_are_each_chosen_against_strictly_lower_levels_and_averaged() -> None:
    at_the_top = (math.log(1 + e(-1.0)) + math.log(1 + e(-3.0))) / 2
    assert kwise_of([1.0, 3.0, 0.0], 0, 0, 1) == pytest.approx(at_the_top)
    at_the_bottom = math.log(1 + e(-1.0) + e(1.0))  # no choice between the last two
    assert kwise_of([1.0, 0.0, 2.0], 0, 1, 1) == pytest.approx(at_the_bottom)
    inside = math.log(1 + e(-1.0) + e(1.0) + e(-2.0)) + (math.log(1 + e(-1.0)) + math.log(1 + e(-3.0))) / 2
    assert kwise_of([1.0, 0.0, 2.0, -1.0], 0, 1, 1, 2) == pytest.approx(inside)


def test_kwise_sums_a_ladders_choices_and_averages_ladders() -> None:
    two, three = [[0.3], [-0.2]], [[0.1], [0.7], [-0.4]]
    apart = kwise_of([0.3, -0.2], 0, 1) + kwise_of([0.1, 0.7, -0.4], 0, 1, 2)
    zeros = logprobs([[0.0]] * 2, [[0.0]] * 3, [[0.0]] * 2)
    ladders = [ladder(0, 1), ladder(0, 1, 2), ladder(0, 0)]
    together, logs = kwise(logprobs(two, three, [[5.0], [6.0]]), zeros, ladders, KwiseSettings(beta=1.0))
    assert together.item() == pytest.approx(apart / 2)
    assert (logs.ladders, logs.without_pair) == (2, 1)


# a = (−1, −2, −3): log-probs by the token
THREE = [[-0.5, -1.5], [-2.0], [-4.0, -3.0, -2.0]]
PLAIN = math.log(1 + e(-1.0) + e(-2.0)) + math.log(1 + e(-1.0))


def test_pro_without_scores_ranks_by_the_log_prob_of_a_token() -> None:
    loss, logs = pro(logprobs(THREE), None, [ladder(0, 1, 2)], ProSettings())
    sft = 0.05 * (3 - 1) ** 2 * 2.0  # the best response's tokens sum to −2
    assert logs["preference"] == pytest.approx(PLAIN)
    assert logs["nll"] == pytest.approx(sft)
    assert loss.item() == pytest.approx(PLAIN + sft)
    assert (logs["scored"], logs["margin_0_1"], logs["margin_1_2"]) == (0, pytest.approx(1), pytest.approx(1))


def test_pro_over_two_responses_is_the_logistic_loss_of_their_difference() -> None:
    loss, _ = pro(logprobs(THREE[:2]), None, [ladder(0, 1)], ProSettings(gamma=0))
    assert loss.item() == pytest.approx(-math.log(1 / (1 + e(-2.0 + 1.0))))


def test_pros_temperatures_are_differences_of_scores() -> None:
    ranked = ladder(0, 1, 2, scores=[1.0, 0.6, 0.1])
    loss, logs = pro(logprobs(THREE), None, [ranked], ProSettings(gamma=0))
    # 1 / T_01 = .4, 1 / T_02 = .9, so 1 / T_00 = .9; 1 / T_12 = 1 / T_11 = .5
    first = e(-1 * 0.9) / (e(-1 * 0.9) + e(-2 * 0.4) + e(-3 * 0.9))
    second = e(-2 * 0.5) / (e(-2 * 0.5) + e(-3 * 0.5))
    assert loss.item() == pytest.approx(-math.log(first) - math.log(second))
    assert logs["scored"] == 1
    told_not_to, _ = pro(logprobs(THREE), None, [ranked], ProSettings(gamma=0, score=None))
    assert told_not_to.item() == pytest.approx(PLAIN)


@pytest.mark.parametrize("scores", [[0.6, 1.0, 0.1], [1.0, 1.0, 0.1]], ids=["out of order", "equal"])
def test_scores_that_do_not_fall_from_level_to_level_set_no_temperature(scores: list[float]) -> None:
    both = [ladder(0, 1, 2, scores=scores), ladder(0, 1, 2, scores=[1.0, 0.6, 0.1])]
    alone, _ = pro(logprobs(THREE), None, both[1:], ProSettings(gamma=0))
    loss, logs = pro(logprobs(THREE, THREE), None, both, ProSettings(gamma=0))
    assert loss.item() == pytest.approx((PLAIN + alone.item()) / 2)
    assert logs["scored"] == 0.5


def test_pro_takes_a_tied_group_for_one_level() -> None:
    tied = ladder(0, 0, 1, scores=[1.0, 0.8, 0.3])
    loss, _ = pro(logprobs(THREE), None, [tied], ProSettings())
    first = math.log(1 + e(0.7 * (-3 + 1)))  # its own gap in scores to the worse one
    second = math.log(1 + e(0.5 * (-3 + 2)))
    sft = 0.05 * (2 - 1) ** 2 * (2.0 + 2.0) / 2  # two levels; both best ones
    assert loss.item() == pytest.approx((first + second) / 2 + sft)

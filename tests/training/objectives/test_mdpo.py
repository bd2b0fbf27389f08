"""MDPO against numbers worked out by hand, and its penalties against each other."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch

from seelevel.training.objectives.dpo import dpo
from seelevel.training.objectives.mdpo import mdpo
from seelevel.training.objectives.penalties import INSIDE, PENALTIES
from seelevel.training.objectives.settings import DpoSettings, MdpoSettings, Penalty

from .made import ladder, logprobs

pytestmark = pytest.mark.unit


def test_mdpo_on_three_levels_is_the_number_worked_out_by_hand() -> None:
    # r = (1, 0, -2); β = 0.1; margins 1, 3, 2
    policy, reference = logprobs([[-1.0], [-2.0, -1.0], [-5.0]]), logprobs([[-2.0], [-1.5, -1.5], [-3.0]])
    loss, logs = mdpo(policy, reference, [ladder(0, 1, 2)], MdpoSettings())
    preference = (0.6443966600 + 0.5543552444 + 0.5981388693) / 3  # log(1 + e^-0.1), log(1 + e^-0.3), log(1 + e^-0.2)
    penalty = -(1.0 + 1.0) / 3  # the best response stands in two of the three pairs
    assert logs["preference"] == pytest.approx(preference, abs=1e-9)
    assert logs["penalty"] == pytest.approx(penalty, abs=1e-12)
    assert loss.item() == pytest.approx(preference + penalty, abs=1e-9)
    assert logs["margin"] == pytest.approx(2.0)
    assert logs["accuracy"] == 1.0


def test_each_penalty_is_the_number_worked_out_by_hand() -> None:
    # The best response's tokens moved by +2 and −3, so r_0 = −1; the worse one's r is 0.5; β = 0.2, λ = 0.5, |y_0| = 2.
    policy, reference = logprobs([[-1.0, -4.0], [-3.0]]), logprobs([[-3.0, -1.0], [-3.5]])
    at_first = math.log(1 + math.exp(0.2 * 1.5))  # −log σ(β (r_0 − r_1))
    expected = {
        "none": 0.0,
        "paper": 0.5 * 1.0,
        "scaled": 0.5 * 0.2 * 1.0,
        "mean": 0.5 * 1.0 / 2,
        "clamped": 0.5 * 1.0,
        "clamped-tokens": 0.5 * 3.0,
        "anchored": 0.5 * math.log(1 + math.exp(0.2 * 1.0)),
        "dpop": math.log(1 + math.exp(0.2 * (1.5 + 0.5 * 1.0))) - at_first,
    }
    found = {}
    for penalty in PENALTIES:
        settings = MdpoSettings(penalty=penalty, weight=0.5, beta=0.2)  # type: ignore[arg-type]
        loss, logs = mdpo(policy, reference, [ladder(0, 1)], settings)
        found[penalty] = logs["penalty"]
        assert loss.item() == pytest.approx(at_first + expected[penalty])
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("penalty", ["clamped", "clamped-tokens", "dpop"])
def test_a_clamped_penalty_charges_nothing_while_the_best_response_has_risen(penalty: Penalty) -> None:
    policy, reference = logprobs([[-1.0, -2.0], [-3.0]]), logprobs([[-1.5, -2.1], [-1.0]])
    loss, logs = mdpo(policy, reference, [ladder(0, 1)], MdpoSettings(penalty=penalty))
    plain, _ = mdpo(policy, reference, [ladder(0, 1)], MdpoSettings(penalty="none"))
    assert logs["penalty"] == 0
    assert loss.item() == plain.item()


def test_the_penalties_that_settings_allow_are_those_there_are() -> None:
    assert set(get_args(Penalty)) == set(PENALTIES)
    assert set(PENALTIES) >= INSIDE


@pytest.mark.parametrize("k", [2, 3, 5])
def test_at_the_start_each_penalty_pulls_on_the_best_response_as_hard_as_the_docs_say(k: int) -> None:
    """As a multiple of what the preferences pull; β = 0.1, λ = 0.5, two tokens a response."""

    def pull(penalty: Penalty) -> float:
        start = logprobs([[-1.0, -1.0]] * k)
        settings = MdpoSettings(penalty=penalty, weight=0.5)
        loss, _ = mdpo(start, logprobs([[-1.0, -1.0]] * k), [ladder(*range(k))], settings)
        found: float = torch.autograd.grad(loss, start.values)[0][0].item()
        return found

    expected = {
        "paper": 2 * 0.5 / 0.1,
        "scaled": 2 * 0.5,
        "mean": 2 * 0.5 / (0.1 * 2),
        "anchored": 0.5,
    }
    for penalty in get_args(Penalty):
        assert pull(penalty) / pull("none") - 1 == pytest.approx(expected.get(penalty, 0))


def test_mdpo_with_two_levels_and_no_penalty_is_dpo() -> None:
    policy, reference = logprobs([[-1.0, -0.5], [-2.0]]), logprobs([[-1.2, -0.4], [-1.1]])
    ours, _ = mdpo(policy, reference, [ladder(0, 1)], MdpoSettings(weight=0.0))
    theirs, _ = dpo(policy, reference, [ladder(0, 1)], DpoSettings())
    # Rafailov et al., eq. 7, written out: chosen −1.5 against −1.6, rejected −2.0 against −1.1
    by_formula = -math.log(1 / (1 + math.exp(-0.1 * ((-1.5 + 1.6) - (-2.0 + 1.1)))))
    assert ours.item() == pytest.approx(by_formula, abs=1e-12)
    assert theirs.item() == pytest.approx(by_formula, abs=1e-12)


def test_a_ladder_weighs_the_same_whatever_its_k() -> None:
    settings = MdpoSettings()
    two, four = [[0.3], [-0.2]], [[0.1], [0.7], [-0.4], [0.2]]
    apart = [
        mdpo(logprobs(values), logprobs([[0.0]] * len(values)), [ladder(*range(len(values)))], settings)[0].item()
        for values in (two, four)
    ]
    zeros = logprobs([[0.0]] * 2, [[0.0]] * 4)
    together, _ = mdpo(logprobs(two, four), zeros, [ladder(0, 1), ladder(0, 1, 2, 3)], settings)
    assert together.item() == pytest.approx(sum(apart) / 2)


def test_a_ladder_without_a_pair_leaves_the_mean_and_is_counted() -> None:
    policy, reference = logprobs([[1.0], [0.0]], [[9.0], [9.0]]), logprobs([[0.0], [0.0]], [[0.0], [0.0]])
    loss, logs = mdpo(policy, reference, [ladder(0, 1), ladder(0, 0)], MdpoSettings(penalty="none"))
    assert loss.item() == pytest.approx(0.6443966600, abs=1e-9)
    assert (logs.ladders, logs.without_pair) == (1, 1)


def test_a_batch_without_any_pair_has_loss_zero_and_a_gradient_of_zero() -> None:
    policy = logprobs([[1.0], [0.0]])
    loss, _ = mdpo(policy, logprobs([[0.0], [0.0]]), [ladder(0, 0)], MdpoSettings())
    assert loss.item() == 0.0
    assert torch.autograd.grad(loss, policy.values)[0].tolist() == [0.0, 0.0]


def test_a_tie_makes_no_pair_and_both_of_two_best_responses_are_best() -> None:
    policy, reference = logprobs([[1.0], [3.0], [0.0]]), logprobs([[0.0], [0.0], [0.0]])
    _, logs = mdpo(policy, reference, [ladder(0, 0, 1)], MdpoSettings())
    assert logs["margin"] == pytest.approx((1.0 + 3.0) / 2)
    assert logs["penalty"] == pytest.approx(-(1.0 + 3.0) / 2)

"""DPO, its label smoothing, hinge and IPO, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from seelevel.training.objectives.dpo import LOSSES, dpo
from seelevel.training.objectives.settings import DpoSettings, PairLoss

from .made import ladder, logprobs

pytestmark = pytest.mark.unit


def test_dpo_compares_best_with_worst_only() -> None:
    policy, reference = logprobs([[1.0], [50.0], [-2.0]]), logprobs([[0.0], [0.0], [0.0]])
    loss, logs = dpo(policy, reference, [ladder(0, 1, 2)], DpoSettings())
    assert loss.item() == pytest.approx(0.5543552444, abs=1e-9)  # log(1 + e^-0.3)
    assert logs["margin"] == pytest.approx(3.0)


def test_each_loss_is_the_number_worked_out_by_hand() -> None:
    # Tokens moved by (2, 0) and by −1: sums 2 and −1, m = 3; means 1 and −1, m = 2. β = 0.1, so IPO's target is 5.
    policy, reference = logprobs([[-1.0, -2.0], [-4.0]]), logprobs([[-3.0, -2.0], [-3.0]])
    right, wrong = math.log(1 + math.exp(-0.3)), math.log(1 + math.exp(0.3))
    cases = [
        (DpoSettings(), right),
        (DpoSettings(label_smoothing=0.2), 0.8 * right + 0.2 * wrong),
        (DpoSettings(per_token=True), math.log(1 + math.exp(-0.2))),
        (DpoSettings(loss="hinge"), 1 - 0.3),
        (DpoSettings(loss="hinge", beta=0.5), 0.0),  # a margin of 1 / β or more costs nothing
        (DpoSettings(loss="ipo"), (2 - 5) ** 2),
        (DpoSettings(loss="ipo", per_token=False), (3 - 5) ** 2),
    ]
    for settings, expected in cases:
        loss, logs = dpo(policy, reference, [ladder(0, 1)], settings)
        assert loss.item() == pytest.approx(expected), settings
        assert logs["preference"] == pytest.approx(expected)
        assert logs["margin"] == pytest.approx(2.0 if settings.in_means else 3.0)


def test_ipo_pulls_towards_its_target_from_both_sides() -> None:
    settings = DpoSettings(loss="ipo", beta=0.25)  # target 2
    for value, sign in ((1.0, -1), (3.0, 1), (2.0, 0)):
        policy = logprobs([[value], [0.0]])
        loss, _ = dpo(policy, logprobs([[0.0], [0.0]]), [ladder(0, 1)], settings)
        found = torch.autograd.grad(loss, policy.values)[0]
        assert found.sign().tolist() == [sign, -sign]


def test_smoothing_belongs_to_the_sigmoid() -> None:
    with pytest.raises(ValidationError, match="label_smoothing belongs to loss: sigmoid; leave it out of loss: ipo"):
        DpoSettings(loss="ipo", label_smoothing=0.1)


def test_the_losses_that_settings_allow_are_those_there_are() -> None:
    assert set(PairLoss.__args__) == set(LOSSES)  # type: ignore[attr-defined]

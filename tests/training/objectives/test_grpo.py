"""Policy gradient with group-relative advantages, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from seelevel.training.objectives.grpo import advantages, grpo, level_rewards
from seelevel.training.objectives.settings import GrpoSettings

from .made import ladder, logprobs

pytestmark = pytest.mark.unit


def test_rewards_of_levels_fall_evenly_from_one_to_zero() -> None:
    assert level_rewards([0, 3, 3, 7]) == [1, 0.5, 0.5, 0]


def test_advantages_are_those_worked_out_by_hand() -> None:
    assert advantages([1, 0.5, 0], "rloo") == pytest.approx([0.75, 0, -0.75])
    assert advantages([1, 0.5, 0], "grpo") == pytest.approx([0.5 / 0.5001, 0, -0.5 / 0.5001])
    assert advantages([2, 2], "grpo") == [0, 0]


def test_token_ratios_are_clipped_where_that_lowers_the_gain() -> None:
    # RLOO of levels 0 1: advantages 1 and −1. Ratios of the better one's tokens: e^0.1, and e^0.3 cut to 1.2; of the
    # worse one's: e^−0.1, and e^−0.5 cut to 0.8.
    policy, reference = logprobs([[0.1, 0.3], [-0.1, -0.5]]), logprobs([[0.0] * 2] * 2)
    loss, logs = grpo(policy, reference, [ladder(0, 1)], GrpoSettings(advantage="rloo"))
    better, worse = (math.exp(0.1) + 1.2) / 2, -(math.exp(-0.1) + 0.8) / 2
    assert loss.item() == pytest.approx(-(better + worse) / 2, rel=0, abs=1e-12)
    assert logs["clipped"] == pytest.approx(0.5)
    assert torch.autograd.grad(loss, policy.values)[0].tolist() == pytest.approx(
        [-math.exp(0.1) / 4, 0, math.exp(-0.1) / 4, 0]
    )


def test_a_ratio_that_went_the_wrong_way_is_not_clipped() -> None:
    policy, reference = logprobs([[-1.0], [1.0]]), logprobs([[0.0], [0.0]])
    loss, logs = grpo(policy, reference, [ladder(0, 1)], GrpoSettings(advantage="rloo"))
    assert loss.item() == pytest.approx(-(math.exp(-1) - math.exp(1)) / 2)
    assert logs["clipped"] == 0


def test_a_ratio_too_large_for_a_number_has_no_gradient() -> None:
    policy, reference = logprobs([[2000.0], [0.0]]), logprobs([[0.0], [0.0]])
    loss, _ = grpo(policy, reference, [ladder(0, 1)], GrpoSettings(advantage="rloo"))
    assert loss.item() == pytest.approx(-(1.2 - 1) / 2)
    assert torch.autograd.grad(loss, policy.values)[0].tolist() == [0, 0.5]


def test_a_response_has_one_ratio_of_its_mean_or_its_sum() -> None:
    policy, reference = logprobs([[0.1, -0.05], [0.0]]), logprobs([[0.0, 0.0], [0.0]])
    for per_token, expected in ((True, 0.025), (False, 0.05)):
        asked = GrpoSettings(advantage="rloo", ratio="response", per_token=per_token)
        loss, _ = grpo(policy, reference, [ladder(0, 1)], asked)
        assert loss.item() == pytest.approx(-(math.exp(expected) - 1) / 2)


def test_without_a_ratio_it_is_the_log_probs_weighted_by_advantage() -> None:
    asked = GrpoSettings(advantage="rloo", ratio="none", per_token=False)
    assert not asked.needs_reference
    loss, logs = grpo(logprobs([[-1.0, -2.0], [-5.0]]), None, [ladder(0, 1)], asked)
    assert loss.item() == pytest.approx(-(-3.0 + 5.0) / 2)
    assert "best_change" not in logs.means


def test_every_ratio_starts_with_the_gradient_of_the_weighted_log_probs() -> None:
    values = [[[-1.0, -2.0], [-0.5], [-3.0, -0.25, -1.0]]]
    gradients = []
    for ratio in ("token", "response", "none"):
        policy = logprobs(*values)
        loss, _ = grpo(policy, logprobs(*values), [ladder(0, 1, 2)], GrpoSettings(ratio=ratio))  # type: ignore[arg-type]
        gradients.append(torch.autograd.grad(loss, policy.values)[0].tolist())
    assert gradients[1] == pytest.approx(gradients[0])
    assert gradients[2] == pytest.approx(gradients[0])


def test_scores_are_rewards_where_each_response_has_one() -> None:
    policy, reference = logprobs([[0.1], [0.0]], [[0.1], [0.0]]), logprobs([[0.0]] * 2, [[0.0]] * 2)
    ladders = [ladder(0, 1, scores=[0.9, 0.4]), ladder(0, 1)]
    loss, logs = grpo(policy, reference, ladders, GrpoSettings(advantage="rloo", score="score"))
    assert loss.item() == pytest.approx(-(0.5 + 1.0) * (math.exp(0.1) - 1) / 4)
    assert logs["scored"] == 0.5


def test_a_score_that_no_response_has_is_refused_with_the_nearest() -> None:
    asked = GrpoSettings(score="skore")
    message = str(asked.why_unusable([ladder(0, 1, scores=[1, 0])]))
    assert [part for part in ("grpo", "'skore'", "2 responses", "did you mean 'score'") if part not in message] == []
    assert "no scores" in str(asked.why_unusable([ladder(0, 1)]))
    assert GrpoSettings().why_unusable([ladder(0, 1)]) is None


def test_a_clip_without_a_ratio_is_refused() -> None:
    with pytest.raises(ValidationError, match="clip has no meaning for ratio: none"):
        GrpoSettings(ratio="none", clip=0.1)

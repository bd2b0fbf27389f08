"""Supervised fine-tuning, and what a log-probability is."""

from __future__ import annotations

import pytest

from seelevel.training.objectives.settings import SftSettings
from seelevel.training.objectives.sft import sft

from .made import ladder, logprobs

pytestmark = pytest.mark.unit


def test_a_token_of_the_third_answer_weighs_a_tenth_more() -> None:
    values = logprobs([[-1.0, -2.0, -4.0]], rounds=[0, 1, 2])
    assert values.per_response()[0].item() == pytest.approx(-1.0 - 2.0 * 1.05 - 4.0 * 1.10)
    assert values.per_response(0.0)[0].item() == pytest.approx(-7.0)


def test_sft_is_the_mean_over_ladders_of_the_best_responses_negative_log_probability() -> None:
    policy = logprobs([[-1.0, -2.0], [-50.0]], [[-3.0], [-5.0], [-70.0]])
    loss, logs = sft(policy, None, [ladder(0, 1), ladder(0, 0, 2)], SftSettings())
    assert loss.item() == pytest.approx((3.0 + (3.0 + 5.0) / 2) / 2)
    assert logs.ladders == 2


def test_a_ladder_without_a_response_leaves_sfts_mean_and_is_counted() -> None:
    loss, logs = sft(logprobs([[-1.0]], []), None, [ladder(0), ladder()], SftSettings())
    assert loss.item() == pytest.approx(1.0)
    assert (logs.ladders, logs.without_pair) == (1, 1)

"""What is logged by level, and how the parts of a step join."""

from __future__ import annotations

import math

import pytest
import torch

from seelevel.training.objectives.logs import Logs, Mean, joined
from seelevel.training.objectives.mdpo import mdpo
from seelevel.training.objectives.settings import MdpoSettings

from .made import ladder, logprobs

pytestmark = pytest.mark.unit


def test_margin_and_accuracy_stand_by_adjacent_level_over_the_ladders_that_have_it() -> None:
    # Ladder 1 (levels 0 1 1): margins 0/1 of 2 and −1. Ladder 2 (0 1 2): 3, then 1. Ladder 3 (0 2): 4 between 0 and 2.
    policy = logprobs([[1.0], [-1.0], [2.0]], [[3.0], [0.0], [-1.0]], [[4.0], [0.0]])
    reference = logprobs([[0.0]] * 3, [[0.0]] * 3, [[0.0]] * 2)
    ladders = [ladder(0, 1, 1), ladder(0, 1, 2), ladder(0, 2)]
    _, logs = mdpo(policy, reference, ladders, MdpoSettings())
    by_level = {name: logs[name] for name in logs.means if name[-1].isdigit()}
    assert by_level == pytest.approx(
        {
            "margin_0_1": ((2 - 1) / 2 + 3) / 2,
            "accuracy_0_1": (1 / 2 + 1) / 2,
            "margin_0_2": 4.0,
            "accuracy_0_2": 1.0,
            "margin_1_2": 1.0,
            "accuracy_1_2": 1.0,
        }
    )


def test_levels_stand_apart_whatever_pairs_are_trained_on() -> None:
    policy, reference = logprobs([[3.0], [0.0], [1.0]]), logprobs([[0.0]] * 3)
    _, logs = mdpo(policy, reference, [ladder(0, 1, 2)], MdpoSettings(pairs=[(0, 2)]))
    assert (logs["margin"], logs["margin_0_1"], logs["margin_1_2"]) == (2.0, 3.0, -1.0)
    assert logs["accuracy_1_2"] == 0


def test_best_log_probs_are_means_over_tokens_then_best_responses_then_ladders() -> None:
    policy = logprobs([[-1.0, -3.0], [-4.0], [-9.0]], [[-7.0], [-9.0]])
    reference = logprobs([[-1.0, -1.0], [-5.0], [-9.0]], [[-7.5], [-9.0]])
    _, logs = mdpo(policy, reference, [ladder(0, 0, 1), ladder(0, 1)], MdpoSettings())
    assert logs["best_logprob"] == pytest.approx(((-2 - 4) / 2 - 7) / 2)
    assert logs["best_change"] == pytest.approx(((-1 + 1) / 2 + 0.5) / 2)


def test_parts_with_different_names_join_into_means_over_all_their_ladders() -> None:
    one = Logs({"margin": Mean(torch.tensor(6.0), 3), "margin_0_1": Mean(torch.tensor(6.0), 3)}, 3, 1)
    other = Logs({"margin": Mean(torch.tensor(2.0), 1), "margin_1_2": Mean(5.0, 1)}, 1)
    whole = joined([one.plain(), other.plain()])
    assert whole.figures() == {"margin": 2.0, "margin_0_1": 2.0, "margin_1_2": 5.0, "without_pair": 1.0}
    assert whole.ladders == 4


def test_a_mean_over_no_ladder_is_no_figure() -> None:
    empty = Logs({"margin": Mean(0.0, 0)}, 0, 2)
    assert math.isnan(empty["margin"])
    assert empty.figures() == {"without_pair": 2.0}

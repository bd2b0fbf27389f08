"""SymMPO against numbers worked out by hand, and what it shares with DPO that copo does not: Z cancels."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from seelevel.training.objectives.copo import copo
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.objectives.picture_settings import CopoSettings, SymmpoSettings
from seelevel.training.objectives.symmpo import symmpo

from .made import Values, ladder, logprobs, minus_log_sigmoid

pytestmark = pytest.mark.unit
ANSWER, PICTURE = SymmpoSettings().view_names


def viewed(tokens: TokenLogprobs, theirs: list[Values], given_theirs: list[Values]) -> TokenLogprobs:
    return replace(tokens, views={ANSWER: logprobs(*theirs), PICTURE: logprobs(*given_theirs)})


def test_symmpo_is_the_number_worked_out_by_hand() -> None:
    # r(y|m) = 1, r(y'|m) = −0.5: Δ = 1.5. r(y'|m') = 2, r(y|m') = 1: Δ' = 1.
    policy = viewed(logprobs([[-1.0, -2.0], [-9.0]]), [[[-3.0]]], [[[-1.0, -1.0], [-2.0, -1.0]]])
    reference = viewed(logprobs([[-1.5, -2.5], [-1.0]]), [[[-2.5]]], [[[-2.0, -2.0], [-2.5, -1.5]]])
    loss, logs = symmpo(policy, reference, [ladder(0, 1)], SymmpoSettings(beta=0.2, gamma=0.01))
    preference = 0.5543552444 + 0.5981388693  # log(1 + e^-0.3), log(1 + e^-0.2)
    assert logs["image_preference"] == pytest.approx(preference, abs=1e-9)
    assert logs["image_consistency"] == pytest.approx(0.01 * 0.5**2)
    assert loss.item() == pytest.approx(preference + 0.0025, abs=1e-9)
    assert (logs["image_margin"], logs["image_accuracy"]) == (pytest.approx(1.25), 1.0)


def test_each_of_several_best_answers_is_compared_with_the_partners() -> None:
    # Two best answers, Δ = 1 and 3; given the other picture Δ' = −1 and 2. A ladder without a partner stands before.
    policy = viewed(logprobs([[5.0]], [[1.0], [3.0]]), [[], [[0.0]]], [[], [[1.0], [2.0], [-1.0]]])
    reference = viewed(logprobs([[0.0]], [[0.0], [0.0]]), [[], [[0.0]]], [[], [[0.0], [0.0], [0.0]]])
    settings = SymmpoSettings(beta=1, gamma=0.5)
    loss, logs = symmpo(policy, reference, [ladder(0), ladder(0, 0)], settings)
    parts = [minus_log_sigmoid(a) + minus_log_sigmoid(b) + 0.5 * (a - b) ** 2 for a, b in ((1, -1), (3, 2))]
    assert loss.item() == pytest.approx(sum(parts) / 2)
    assert (logs["image_accuracy"], logs.ladders, logs.without_pair) == (0.75, 1, 1)


def test_what_all_answers_to_a_picture_gain_cancels_in_symmpo_and_not_in_copo() -> None:
    """A reward is β r + β log Z(m, x): the second term is the same for all answers to one picture."""
    [crop] = CopoSettings().view_names

    def losses(gain: float) -> tuple[float, float]:
        given_theirs = [[[-1.0 + gain], [-2.0 + gain]]]
        policy = viewed(logprobs([[-1.0]]), [[[-3.0]]], given_theirs)
        policy = replace(policy, views={**policy.views, crop: logprobs([[-2.0 + gain]])})
        reference = viewed(logprobs([[-1.5]]), [[[-2.5]]], [[[-2.0], [-2.5]]])
        reference = replace(reference, views={**reference.views, crop: logprobs([[-2.5]])})
        found = (
            run(policy, reference, [ladder(0)], asked)
            for run, asked in ((symmpo, SymmpoSettings()), (copo, CopoSettings()))
        )
        symmetric, unsymmetric = (loss.item() for loss, _ in found)
        return symmetric, unsymmetric

    (before, copo_before), (after, copo_after) = losses(0.0), losses(0.75)
    assert after == pytest.approx(before, abs=1e-12)
    assert copo_after > copo_before + 0.02


def test_the_gradient_reaches_every_answer_given_every_picture() -> None:
    reference = viewed(logprobs([[-1.5], [-1.2]]), [[[-2.5]]], [[[-2.0], [-2.5], [-0.4]]])
    start = viewed(logprobs([[-1.0], [-2.0]]), [[[-3.0]]], [[[-1.0], [-2.0], [-0.2]]])
    parts = [start, start.views[ANSWER], start.views[PICTURE]]

    def loss(*values: torch.Tensor) -> torch.Tensor:
        own, answer, picture = (part.with_values(value) for part, value in zip(parts, values, strict=True))
        policy = replace(own, views={ANSWER: answer, PICTURE: picture})
        return symmpo(policy, reference, [ladder(0, 0)], SymmpoSettings(gamma=0.1))[0]

    values = tuple(part.values for part in parts)
    assert torch.autograd.gradcheck(loss, values)
    assert all(bool((grad != 0).all()) for grad in torch.autograd.grad(loss(*values), values))

"""mDPO's terms against numbers worked out by hand: the right picture (copo) and the anchor (ancpo)."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from seelevel.training.objectives.ancpo import ancpo
from seelevel.training.objectives.copo import copo
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.objectives.mdpo import mdpo
from seelevel.training.objectives.mpo import mpo
from seelevel.training.objectives.picture_settings import AncpoSettings, CopoSettings
from seelevel.training.objectives.settings import DpoSettings, MdpoSettings, MpoSettings

from .made import Values, ladder, logprobs, minus_log_sigmoid

pytestmark = pytest.mark.unit
[CROP] = CopoSettings().view_names


def cropped(tokens: TokenLogprobs, *values: Values) -> TokenLogprobs:
    """With the best responses' log-probs given the cropped picture."""
    return replace(tokens, views={CROP: logprobs(*values)})


def test_copo_is_the_number_worked_out_by_hand() -> None:
    # The best answer's sum moved by 1 given the picture and by −0.5 given its crop, so the margin is 1.5.
    policy = cropped(logprobs([[-1.0, -2.0], [-9.0]]), [[-3.0, -2.0]])
    reference = cropped(logprobs([[-1.5, -2.5], [-1.0]]), [[-2.5, -2.0]])
    loss, logs = copo(policy, reference, [ladder(0, 1)], CopoSettings(beta=0.2))
    assert loss.item() == pytest.approx(0.5543552444, abs=1e-9)  # log(1 + e^-0.3)
    assert logs["image_preference"] == pytest.approx(0.5543552444, abs=1e-9)
    assert (logs["image_margin"], logs["image_accuracy"]) == (pytest.approx(1.5), 1.0)


def test_copo_is_the_mean_over_the_best_answers_then_over_ladders_with_a_second_picture() -> None:
    # Margins 1 and 3 of two tied answers, −2 of one; the ladder between has no second picture.
    policy = cropped(logprobs([[1.0], [3.0], [7.0]], [[5.0]], [[-2.0]]), [[0.0], [0.0]], [], [[0.0]])
    reference = cropped(logprobs([[0.0], [0.0], [0.0]], [[0.0]], [[0.0]]), [[0.0], [0.0]], [], [[0.0]])
    ladders = [ladder(0, 0, 1), ladder(0), ladder(0)]
    loss, logs = copo(policy, reference, ladders, CopoSettings(beta=1))
    first = (minus_log_sigmoid(1) + minus_log_sigmoid(3)) / 2
    assert loss.item() == pytest.approx((first + minus_log_sigmoid(-2)) / 2)
    assert (logs["image_accuracy"], logs.ladders, logs.without_pair) == (0.5, 2, 1)


def test_the_same_picture_twice_makes_a_margin_of_exactly_zero() -> None:
    policy = cropped(logprobs([[-0.3, -1.7], [-2.0]]), [[-0.3, -1.7]])
    reference = cropped(logprobs([[-0.9, -1.1], [-2.0]]), [[-0.9, -1.1]])
    loss, logs = copo(policy, reference, [ladder(0, 1)], CopoSettings())
    assert (logs["image_margin"], logs["image_accuracy"], loss.item()) == (0.0, 0.5, math.log(2))


def test_the_gradient_reaches_the_answer_given_either_picture() -> None:
    own, crop = (
        torch.tensor(values, dtype=torch.float64, requires_grad=True) for values in ([-1.0, -0.5], [-2.0, -0.1])
    )
    policy = cropped(logprobs([[-1.0, -0.5]]), [[-2.0, -0.1]])
    reference = cropped(logprobs([[-1.2, -0.5]]), [[-1.0, -0.3]])

    def loss(given: torch.Tensor, given_crop: torch.Tensor) -> torch.Tensor:
        view = policy.views[CROP].with_values(given_crop)
        return copo(replace(policy, values=given, views={CROP: view}), reference, [ladder(0)], CopoSettings())[0]

    assert torch.autograd.gradcheck(loss, (own, crop))
    grads = torch.autograd.grad(loss(own, crop), (own, crop))
    assert torch.equal(grads[0], -grads[1]) and bool((grads[0] < 0).all())


def test_ancpo_is_the_number_worked_out_by_hand() -> None:
    # The two best answers' sums moved by 2 and −1.
    policy, reference = logprobs([[-1.0, -1.0], [-3.0], [-4.0]]), logprobs([[-2.0, -2.0], [-2.0], [-1.0]])
    loss, logs = ancpo(policy, reference, [ladder(0, 0, 1)], AncpoSettings(beta=0.5, delta=0.3))
    assert loss.item() == pytest.approx((minus_log_sigmoid(0.7) + minus_log_sigmoid(-0.8)) / 2)
    assert logs["anchor"] == pytest.approx(loss.item())


def test_dpo_and_copo_and_ancpo_are_the_loss_of_mdpo_in_its_paper() -> None:
    policy = cropped(logprobs([[-1.0, -2.0], [-4.0]]), [[-3.0, -2.0]])
    reference = cropped(logprobs([[-1.5, -2.5], [-3.0]]), [[-2.5, -2.0]])
    settings = MpoSettings(terms=[DpoSettings(), CopoSettings(), AncpoSettings()], weights=[1, 1, 1])
    loss, logs = mpo(policy, reference, [ladder(0, 1)], settings)
    chosen, rejected, chosen_given_crop = 1.0, -1.0, -0.5  # log π − log π_ref
    terms = [0.1 * (chosen - rejected), 0.1 * (chosen - chosen_given_crop), 0.1 * chosen]
    assert loss.item() == pytest.approx(sum(map(minus_log_sigmoid, terms)))
    assert [logs[f"term_{n}"] for n in range(3)] == pytest.approx([*map(minus_log_sigmoid, terms)])
    anchored, _ = mdpo(policy, reference, [ladder(0, 1)], MdpoSettings(penalty="anchored"))
    assert anchored.item() == pytest.approx(logs["term_0"] + logs["term_2"])


def test_a_ladder_that_no_term_learns_from_is_not_in_the_mean() -> None:
    """One answer, of which DPO makes no pair, and no second picture."""
    policy = cropped(logprobs([[-1.0], [-4.0]], [[-9.0]]), [[-3.0]], [])
    reference = cropped(logprobs([[-2.0], [-3.0]], [[-1.0]]), [[-3.0]], [])
    settings = MpoSettings(terms=[DpoSettings(), CopoSettings()], weights=[1, 1])
    loss, logs = mpo(policy, reference, [ladder(0, 1), ladder(0)], settings)
    assert loss.item() == pytest.approx(minus_log_sigmoid(0.2) + minus_log_sigmoid(0.1))
    assert (logs.ladders, logs.without_pair) == (1, 1)

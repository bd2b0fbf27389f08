"""DPO and its kin, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from seelevel.training.objectives.dpo import dpo
from seelevel.training.objectives.pair_losses import LOSSES
from seelevel.training.objectives.settings import SMOOTHED, DpoSettings, PairLoss

from .made import ladder, logprobs, minus_log_sigmoid

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


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# Sums of 2 and −1 with β = 0.1 are rewards of 0.2 and −0.1, and a margin of 0.3.
BY_HAND = [
    (
        DpoSettings(loss="exo_pair", label_smoothing=0.2),
        sigma(0.3) * math.log(sigma(0.3) / 0.8) + sigma(-0.3) * math.log(sigma(-0.3) / 0.2),
    ),
    (DpoSettings(loss="nca_pair"), minus_log_sigmoid(0.2) + (minus_log_sigmoid(-0.2) + minus_log_sigmoid(0.1)) / 2),
    (
        DpoSettings(loss="robust", label_smoothing=0.2),
        (0.8 * minus_log_sigmoid(0.3) - 0.2 * minus_log_sigmoid(-0.3)) / 0.6,
    ),
    (DpoSettings(loss="bco_pair"), minus_log_sigmoid(0.2) + minus_log_sigmoid(0.1)),
    (DpoSettings(loss="sppo_hard"), (2 - 5) ** 2 + (-1 + 5) ** 2),
    (DpoSettings(loss="apo_zero"), (1 - sigma(0.2)) + sigma(-0.1)),
    (DpoSettings(loss="apo_down"), sigma(0.2) + (1 - sigma(0.3))),
    (DpoSettings(loss="discopop"), minus_log_sigmoid(0.3) * (1 - sigma(6)) + math.exp(-0.3) * sigma(6)),
    (
        DpoSettings(loss="discopop", discopop_tau=0.3),
        minus_log_sigmoid(0.3) * (1 - sigma(1)) + math.exp(-0.3) * sigma(1),
    ),
    (DpoSettings(loss="sigmoid_norm"), minus_log_sigmoid(0.2)),  # means of 1 and −1
    (DpoSettings(loss="aot"), minus_log_sigmoid(0.3)),  # of one pair
    (DpoSettings(loss="aot_unpaired"), minus_log_sigmoid(0.3)),
]


@pytest.mark.parametrize(("settings", "expected"), BY_HAND, ids=lambda part: getattr(part, "loss", ""))
def test_each_of_the_kin_is_the_number_worked_out_by_hand(settings: DpoSettings, expected: float) -> None:
    policy, reference = logprobs([[-1.0, -2.0], [-4.0]]), logprobs([[-3.0, -2.0], [-3.0]])
    loss, _ = dpo(policy, reference, [ladder(0, 1)], settings)
    assert loss.item() == pytest.approx(expected, rel=0, abs=1e-12)


EACH = [
    DpoSettings.model_validate(
        {"loss": loss, "pairs": "all", "beta": 0.4, "label_smoothing": 0.1 if loss in SMOOTHED else 0}
    )
    for loss in LOSSES
]


@pytest.mark.parametrize("settings", EACH, ids=LOSSES)
def test_the_gradient_of_each_loss_is_that_of_finite_differences(settings: DpoSettings) -> None:
    policy = logprobs([[-1.0, -0.4], [-2.0], [-0.7]], [[-0.1], [-1.9, -0.2]])
    reference = logprobs([[-1.1, -0.2], [-1.0], [-0.9]], [[-0.3], [-1.5, -0.9]])

    def loss(values: torch.Tensor) -> torch.Tensor:
        return dpo(policy.with_values(values), reference, [ladder(0, 1, 2), ladder(0, 1)], settings)[0]

    assert torch.autograd.gradcheck(loss, (policy.values,))


def test_numbers_of_every_loss_stand_here() -> None:
    assert {settings.loss for settings, _ in BY_HAND} | {"sigmoid", "hinge", "ipo"} == set(LOSSES)


def test_aot_compares_the_sorted_log_ratios_of_a_ladder() -> None:
    # log π 5, 1, 0 and log π_ref 0, 2, 0. Pairs (0, 1), (0, 2), (1, 2) have log-ratios 4, 5, 1 and −2, 0, 2;
    # sorted 1, 4, 5 less −2, 0, 2 is 3, 4, 3. The other ladder is sorted apart: 1 less 0.
    policy, reference = logprobs([[5.0], [1.0], [0.0]], [[1.0], [0.0]]), logprobs([[0.0], [2.0], [0.0]], [[0.0], [0.0]])
    ladders = [ladder(0, 1, 2), ladder(0, 1)]
    loss, _ = dpo(policy, reference, ladders, DpoSettings(loss="aot", pairs="all"))
    first = (2 * minus_log_sigmoid(0.3) + minus_log_sigmoid(0.4)) / 3
    assert loss.item() == pytest.approx((first + minus_log_sigmoid(0.1)) / 2)


def test_aot_unpaired_compares_the_sorted_ratios_of_better_and_worse() -> None:
    # r is 5, −1, 0. The better ones of the pairs are 5, 5, −1, the worse ones −1, 0, 0: sorted −1, 5, 5 less −1, 0, 0.
    policy, reference = logprobs([[5.0], [1.0], [0.0]]), logprobs([[0.0], [2.0], [0.0]])
    loss, _ = dpo(policy, reference, [ladder(0, 1, 2)], DpoSettings(loss="aot_unpaired", pairs="all"))
    assert loss.item() == pytest.approx((math.log(2) + 2 * minus_log_sigmoid(0.5)) / 3)


def test_ladders_without_two_pairs_are_refused_to_aot() -> None:
    asked = DpoSettings(loss="aot", pairs="all")
    message = str(asked.why_unusable([ladder(0, 1), ladder(0), ladder(1, 2)]))
    assert [part for part in ("loss: aot", "3 ladders", "two pairs", "sigmoid") if part not in message] == []
    assert asked.why_unusable([ladder(0, 1), ladder(0, 1, 2)]) is None
    assert "pairs: all" in str(DpoSettings(loss="aot").why_unusable([ladder(0, 1, 2)]))


def test_discopop_is_finite_however_wrong_a_pair_is() -> None:
    policy = logprobs([[-4000.0], [0.0]])
    loss, _ = dpo(policy, logprobs([[0.0], [0.0]]), [ladder(0, 1)], DpoSettings(loss="discopop"))
    assert loss.item() == pytest.approx(400)
    assert torch.autograd.grad(loss, policy.values)[0].tolist() == pytest.approx([-0.1, 0.1])


def test_tokens_beyond_the_shorter_response_weigh_ld_alpha() -> None:
    # Tokens moved by (2, 0, 4) and by −1: the first one is shared, the others weigh a quarter. m = 2 + 0.25 · 4 + 1.
    policy, reference = logprobs([[2.0, 0.0, 4.0], [-1.0]]), logprobs([[0.0] * 3, [0.0]])
    loss, logs = dpo(policy, reference, [ladder(0, 1)], DpoSettings(ld_alpha=0.25))
    assert logs["margin"] == logs["margin_0_1"] == pytest.approx(4.0)
    assert loss.item() == pytest.approx(minus_log_sigmoid(0.4))
    _, logs = dpo(policy, reference, [ladder(0, 1)], DpoSettings(ld_alpha=0.25, loss="ipo"))
    assert logs["margin"] == pytest.approx(3 / 3 + 1)  # means divide by the whole length


def test_a_response_is_cut_anew_for_each_pair() -> None:
    policy, reference = logprobs([[1.0, 1.0, 1.0], [0.0, 0.0], [0.0]]), logprobs([[0.0] * 3, [0.0] * 2, [0.0]])
    _, logs = dpo(policy, reference, [ladder(0, 1, 2)], DpoSettings(ld_alpha=0.0, pairs=[(0, 1), (0, 2)]))
    assert logs["margin"] == pytest.approx((2 + 1) / 2)


def test_ld_alpha_cuts_tokens_of_later_answers_with_their_rounds_weight() -> None:
    policy = logprobs([[1.0, 1.0], [0.0]], rounds=[0, 1, 0])
    _, logs = dpo(policy, logprobs([[0.0] * 2, [0.0]]), [ladder(0, 1)], DpoSettings(ld_alpha=0.5))
    assert logs["margin"] == pytest.approx(1 + 0.5 * 1.05)


@pytest.mark.parametrize("settings", EACH, ids=LOSSES)
def test_ld_alpha_of_one_changes_nothing(settings: DpoSettings) -> None:
    policy, reference = logprobs([[-1.0, -2.0], [-4.0], [-1.5]]), logprobs([[-3.0, -2.0], [-3.0], [-2.5]])
    plain, other = (
        dpo(policy, reference, [ladder(0, 1, 2)], settings.model_copy(update={"ld_alpha": alpha}))
        for alpha in (None, 1.0)
    )
    assert plain[0].item() == other[0].item()
    assert plain[1].figures() == pytest.approx(other[1].figures(), abs=1e-12)


def test_ipo_pulls_towards_its_target_from_both_sides() -> None:
    settings = DpoSettings(loss="ipo", beta=0.25)  # target 2
    for value, sign in ((1.0, -1), (3.0, 1), (2.0, 0)):
        policy = logprobs([[value], [0.0]])
        loss, _ = dpo(policy, logprobs([[0.0], [0.0]]), [ladder(0, 1)], settings)
        found = torch.autograd.grad(loss, policy.values)[0]
        assert found.sign().tolist() == [sign, -sign]


@pytest.mark.parametrize(
    ("wrong", "parts"),
    [
        ({"loss": "ipo", "label_smoothing": 0.1}, ["label_smoothing", "loss: ipo", "robust"]),
        ({"loss": "exo_pair"}, ["label_smoothing above 0", "exo_pair"]),
        ({"loss": "robust"}, ["label_smoothing above 0", "robust"]),
        ({"discopop_tau": 0.1}, ["discopop_tau", "loss: sigmoid", "discopop"]),
        ({"ld_alpha": 1.5}, ["ld_alpha"]),
    ],
)
def test_settings_that_a_loss_does_not_use_or_lacks_are_refused(wrong: dict[str, object], parts: list[str]) -> None:
    with pytest.raises(ValidationError) as refused:
        DpoSettings.model_validate(wrong)
    assert [part for part in parts if part not in str(refused.value)] == []


def test_the_losses_that_settings_allow_are_those_there_are() -> None:
    assert set(PairLoss.__args__) == set(LOSSES)  # type: ignore[attr-defined]

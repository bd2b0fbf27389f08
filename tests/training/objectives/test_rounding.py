"""No logged figure is made of rounding: a margin within rounding of 0 is neither right nor wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from seelevel.training.objectives.ratios import averaged_rounding, in_order, rounding, summed_rounding
from seelevel.training.objectives.settings import DpoSettings

from .made import SETTINGS, ladder, logprobs, run, with_views

pytestmark = pytest.mark.unit
OF_PICTURES = ["copo", "symmpo"]
WITH_MARGINS = [name for name in SETTINGS if name not in ("sft", "conditional", "ancpo", *OF_PICTURES)]
WITH_REFERENCE = [name for name in WITH_MARGINS if name not in ("pro", "rloo")]
UNIT = 64 * 2**-23


def nudged(policy: Any, size: float) -> Any:
    """Every token's log-prob moved up or down."""
    signs = torch.where(torch.arange(len(policy.values)) % 3 == 0, 1.0, -1.0).double()
    moved = policy.with_values((policy.values.detach() * (1 + size * signs)).requires_grad_())
    return replace(moved, views={name: nudged(view, size) for name, view in policy.views.items()})


def rounded(policy: Any, eps: float) -> Any:
    return replace(policy, rounding=eps, views={name: rounded(view, eps) for name, view in policy.views.items()})


@pytest.mark.parametrize("name", WITH_REFERENCE + OF_PICTURES)
@pytest.mark.parametrize("format_", [torch.float32, torch.bfloat16])
def test_a_policy_that_is_the_reference_has_every_pair_half_right(name: str, format_: torch.dtype) -> None:
    values, ladders = [[[-1.0, -3.0], [-0.1], [-9.0, -2.0]], [[-7.0], [-9.0]]], [ladder(0, 1, 2), ladder(0, 1)]
    reference = with_views(logprobs(*values), ladders, values)
    eps = torch.finfo(format_).eps
    for size in (0.0, eps, -3 * eps):
        policy = rounded(nudged(reference, size), eps)
        _, logs = run(SETTINGS[name], policy, reference, ladders)
        figures = {key: logs[key] for key in logs.means if "accuracy" in key}
        assert figures and set(figures.values()) == {0.5}


@pytest.mark.parametrize("name", WITH_MARGINS)
def test_a_margin_beyond_rounding_counts_whole(name: str) -> None:
    reference = logprobs([[-1.0, -2.0], [-1.0, -2.0]])
    for first, second, expected in ((-2.0, -2.001, 1.0), (-2.001, -2.0, 0.0)):
        _, logs = run(SETTINGS[name], logprobs([[-1.0, first], [-1.0, second]]), reference, [ladder(0, 1)])
        assert logs["accuracy"] == expected


def test_rounding_grows_with_the_log_probs_that_make_a_change() -> None:
    # |log π| of 3 and 0.5 (1 at least), the reference's 4 and 1: √(9 + 16) and √(1 + 1)
    policy, reference = logprobs([[-3.0, -0.5]]), logprobs([[-4.0, -1.0]])
    assert rounding(policy, reference).values.tolist() == pytest.approx([UNIT * 5, UNIT * 2**0.5])
    coarse = replace(policy, rounding=2**-7)
    assert rounding(coarse).values.tolist() == pytest.approx([16 * 2**-7 * 3, 16 * 2**-7])
    assert rounding(policy).values.tolist() == pytest.approx([UNIT * 3, UNIT])


def test_roundings_of_tokens_add_up_as_squares_with_their_rounds_weight() -> None:
    policy = logprobs([[-3.0, -4.0], [-1.0]], rounds=[0, 1, 0])
    expected = [UNIT * (3**2 + (1.5 * 4) ** 2) ** 0.5, UNIT]
    assert summed_rounding(policy, None, 0.5).tolist() == pytest.approx(expected)
    assert averaged_rounding(policy, None, 0.5).tolist() == pytest.approx([expected[0] / 2.5, expected[1]])


def test_a_margin_is_right_wrong_or_one_half() -> None:
    margin, error = torch.tensor([0.3, -0.3, 0.1, -0.1, 0.0]), torch.tensor([0.2] * 4 + [0.0])
    assert in_order(margin, error).tolist() == [1.0, 0.0, 0.5, 0.5, 0.5]


def test_sums_and_means_over_tokens_call_the_same_margins_rounding() -> None:
    policy = reference = logprobs([[-1.0] * 4, [-1.0] * 4])
    for shift, expected in ((4e-6, 0.5), (1.2e-5, 1.0)):  # two sums of 4 tokens may be off by UNIT · √(4 · 2 · 2)
        near = policy.with_values(policy.values + torch.tensor([shift] * 4 + [0.0] * 4))
        for per_token in (True, False):
            _, logs = run(DpoSettings(per_token=per_token), near, reference, [ladder(0, 1)])
            assert logs["accuracy"] == expected

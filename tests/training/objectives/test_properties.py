"""What holds for every objective, on drawn ladders."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seelevel.training.objectives import OBJECTIVES
from seelevel.training.objectives.logs import joined

from .made import SETTINGS, Drawn, batch, drawn, gradient, ladder, logprobs, run, with_views

pytestmark = pytest.mark.unit
every = pytest.mark.parametrize("asked", SETTINGS.values(), ids=SETTINGS)
quick = settings(max_examples=12, deadline=None, derandomize=True, database=None)


def test_every_objective_is_tried_here() -> None:
    assert {asked.name for asked in SETTINGS.values()} == set(OBJECTIVES)


@every
def test_gradients_are_those_of_finite_differences(asked: Any) -> None:
    tokens = [1, 2, 3, 1, 2, 5, 5, 6, 1, 2]
    now = [[[-1.0, -0.4], [-2.0], [-0.7]], [[-0.1], [-1.9], [-0.5], [-0.2, -0.3]], [[-0.6]]]
    before = [[[-1.1, -0.2], [-1.0], [-0.9]], [[-0.3], [-1.5], [-0.7], [-0.9, -0.1]], [[-0.5]]]
    ladders = [ladder(0, 1, 2, scores=[0.9, 0.5, 0.4]), ladder(0, 0, 2, 2), ladder(0)]
    policy = with_views(logprobs(*now, tokens=tokens), ladders, now)
    reference = with_views(logprobs(*before), ladders, before)

    def loss(values: torch.Tensor) -> torch.Tensor:
        return run(asked, policy.with_values(values), reference, ladders)[0]

    assert torch.autograd.gradcheck(loss, (policy.values,))


@every
def test_a_batch_that_says_nothing_has_loss_zero_and_a_gradient_of_zero(asked: Any) -> None:
    compares = not asked.has_signal([0])
    ladders = [ladder(0), ladder(1, 1)] if compares else [ladder()]
    values = [[[1.0]], [[2.0], [3.0]]] if compares else [[]]
    policy, reference = logprobs(*values), logprobs(*values)
    loss, logs = run(asked, policy, reference, ladders)
    assert loss.item() == 0
    assert (logs.ladders, logs.without_pair) == (0, len(ladders))
    assert not torch.autograd.grad(loss, policy.values)[0].any()


@every
def test_a_ladder_without_a_response_leaves_the_mean_and_is_counted(asked: Any) -> None:
    values: list[list[list[float]]] = [[[-1.0], [-2.0, -1.5], [-0.3]], []]
    ladders = [ladder(0, 1, 1, scores=[1, 0.5, 0.5]), ladder()]
    both, one = (with_views(logprobs(*values[:n]), ladders[:n], values[:n]) for n in (2, 1))
    loss, logs = run(asked, both, both, ladders)
    assert loss.item() == pytest.approx(run(asked, one, one, ladders[:1])[0].item())
    assert (logs.ladders, logs.without_pair) == (1, 1)


@every
@quick
@given(parts=st.lists(drawn(), min_size=1, max_size=4), cut=st.integers(0, 4))
def test_loss_and_logs_are_means_over_ladders_however_a_batch_is_split(
    asked: Any, parts: list[Drawn], cut: int
) -> None:
    loss, logs = run(asked, *batch(parts))
    split = [run(asked, *batch(some)) for some in (parts[:cut], parts[cut:]) if some]
    counted = sum(own.ladders for _, own in split)
    assert counted == logs.ladders == sum(asked.has_signal(part[0].levels) for part in parts)
    assert sum(own.item() * own_logs.ladders for own, own_logs in split) == pytest.approx(loss.item() * counted)
    assert joined(own.plain() for _, own in split).figures() == pytest.approx(logs.figures(), abs=1e-9)


@every
@quick
@given(part=drawn(), data=st.data())
def test_the_order_of_tied_responses_says_nothing(asked: Any, part: Drawn, data: st.DataObject) -> None:
    levels = part[0].levels
    if asked.name == "pro":  # a tied response may have a score of its own, which goes with it; here all have the same
        part = (ladder(*levels), *part[1:])
    order = sorted(data.draw(st.permutations(range(len(levels)))), key=lambda n: levels[n])
    other = (part[0], *([numbers[n] for n in order] for numbers in part[1:]))
    loss, logs = run(asked, *batch([part]))
    same, same_logs = run(asked, *batch([other]))  # type: ignore[list-item]
    assert same.item() == pytest.approx(loss.item(), abs=1e-9)
    assert same_logs.figures() == pytest.approx(logs.figures(), abs=1e-9)


@every
@quick
@given(part=drawn(), other=drawn(), ids=st.lists(st.integers(0, 5), min_size=16, max_size=16))
def test_a_ladder_hears_nothing_of_the_others_tokens(asked: Any, part: Drawn, other: Drawn, ids: list[int]) -> None:
    fresh = iter(ids)
    changed = (*other[:3], [[next(fresh) for _ in response] for response in other[3]])
    size = sum(map(len, part[1]))
    found = [gradient(asked, *batch([part, beside])) for beside in (other, changed)]
    assert found[0][:size] == found[1][:size]


@every
@quick
@given(part=drawn(), other=drawn())
def test_a_ladders_gradient_is_its_own_share_of_the_mean(asked: Any, part: Drawn, other: Drawn) -> None:
    size = sum(map(len, part[1]))
    alone, together = gradient(asked, *batch([part])), gradient(asked, *batch([part, other]))[:size]
    share = 1 / max(sum(asked.has_signal(p[0].levels) for p in (part, other)), 1)
    assert together == pytest.approx([share * g for g in alone], abs=1e-9)


@every
@quick
@given(part=drawn())
def test_what_is_logged_holds_no_gradient(asked: Any, part: Drawn) -> None:
    _, logs = run(asked, *batch([part]))
    assert not any(isinstance(m.total, torch.Tensor) and m.total.requires_grad for m in logs.means.values())

"""A prefix computed once gives what separate rows give, in every family of the zoo: log-probs and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from seelevel.training.logprobs import Policy, token_logprobs
from seelevel.training.packing import Batch, collate
from tests.families.ladders import Pictures, ladders
from tests.families.zoo import FAMILIES, NO_HISTORY, ONE_PREFIX, REFUSED, ROWS, build


def run(policy: Policy, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Log-probs, and every tensor's gradient of a sum that weighs each token differently."""
    policy.zero_grad()
    values = token_logprobs(policy, batch).values
    (values * torch.cos(torch.arange(len(values), dtype=values.dtype))).sum().backward()
    return values.detach(), {name: p.grad.clone() for name, p in policy.named_parameters() if p.grad is not None}


def sets(name: str) -> list[list[Any]]:
    """The ladders that a family takes in one batch, batch by batch."""
    every = ladders(FAMILIES[name])
    if name in NO_HISTORY:
        return [every[:3] + every[4:], [every[3]]]
    talk = [one for one in every if one.interaction == "talk"]
    return [talk, *([one] for one in every if one not in talk)] if name in ONE_PREFIX else [every]


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in ROWS | REFUSED])
def test_a_shared_prefix_gives_what_rows_give(name: str) -> None:
    """K = 2 to 6, prefixes of unequal length in a batch, one picture, two and none, two rounds; all answers at once,
    and in groups whose activations are computed again."""
    family, policy = FAMILIES[name], Policy(build(name)).train()
    near = 1e-9 if family.tolerance == 1e-9 else 1e-5
    for part in sets(name):
        values, gradients = run(policy, collate(part, Pictures(family), "rows"))  # type: ignore[arg-type]
        total = torch.stack([g.norm() for g in gradients.values()]).norm()
        for answers in (None, 2):
            shared, found = run(policy, collate(part, Pictures(family), "shared", answers))  # type: ignore[arg-type]
            assert ((shared - values) / values).abs().max() <= near
            for tensor, gradient in gradients.items():
                # Of a key's bias the gradient is zero in exact arithmetic: only rounding stays.
                slack = (1e-5 if near == 1e-9 else 1e-3) * gradient.norm() + (1e-15 if near == 1e-9 else 1e-6) * total
                assert (found[tensor] - gradient).norm() <= slack, tensor

"""A prefix computed once gives what separate rows give, in every family of the zoo: log-probs and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from seelevel.training.loading import with_lora
from seelevel.training.logprobs import Policy, token_logprobs
from seelevel.training.packing import Batch, collate
from seelevel.training.settings import LoraSettings
from tests.families.ladders import Pictures, ladders
from tests.families.zoo import CHOOSES, COMMON, FAMILIES, NO_HISTORY, ONE_PREFIX, REFUSED, ROWS, build


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


def adapted(name: str) -> Any:
    """The family's model with adapters that are not at zero, on all the layers that docs/families.md says."""
    target = "attention" if name in ONLY_ATTENTION else "attention+mlp"
    with torch.random.fork_rng():
        torch.manual_seed(0)  # or the weights would depend on the tests before
        model = with_lora(build(name), LoraSettings(r=4, alpha=8, target=target))
    for number, (weight, parameter) in enumerate(model.named_parameters()):
        if "lora_B" in weight:
            drawn = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number), dtype=parameter.dtype)
            parameter.data = drawn / 10
    return model


# PEFT adapts other layers of these than asked, which is refused.
ONLY_ATTENTION, NO_LORA = {"glm4v_moe"}, {"qwen3_omni_moe_thinker"}
SHARING = [name for name in FAMILIES if name not in ROWS | REFUSED]


@pytest.mark.parametrize(
    ("name", "lora"),
    [(name, False) for name in SHARING]
    + [
        pytest.param(name, True, marks=() if name in COMMON else pytest.mark.slow)
        for name in SHARING
        if name not in NO_LORA
    ],
)
def test_a_shared_prefix_gives_what_rows_give(name: str, lora: bool) -> None:
    """K = 2 to 6, prefixes of unequal length in a batch, one picture, two and none, two rounds; all answers at once,
    and in groups whose activations are computed again."""
    family, policy = FAMILIES[name], Policy(adapted(name) if lora else build(name)).train()
    near = 1e-9 if family.tolerance == 1e-9 else 1e-5
    for part in sets(name):
        values, gradients = run(policy, collate(part, Pictures(family), "rows"))  # type: ignore[arg-type]
        total = torch.stack([g.norm() for g in gradients.values()]).norm()
        for layout, answers in (("shared", None), ("shared", 2), ("rows", 2)):
            other, found = run(policy, collate(part, Pictures(family), layout, answers))  # type: ignore[arg-type]
            far = ((other - values) / values).abs() > near
            if name in CHOOSES and far.any():
                assert far.double().mean() < 0.1  # a fault moves all tokens of an answer
                continue
            assert not far.any()
            for tensor, gradient in gradients.items():
                # Of a key's bias the gradient is zero in exact arithmetic: only rounding stays.
                slack = (1e-5 if near == 1e-9 else 1e-3) * gradient.norm() + (1e-15 if near == 1e-9 else 1e-6) * total
                assert (found[tensor] - gradient).norm() <= slack, tensor

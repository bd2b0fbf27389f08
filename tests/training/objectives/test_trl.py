"""Our losses are TRL's: the loss code of its trainers runs on the same log-probabilities, in float64."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from seelevel.training.objectives.settings import DpoSettings, GrpoSettings, MpoSettings, SftSettings

from .made import ladder, logprobs, run

pytestmark = pytest.mark.slow
trl = pytest.importorskip("trl", reason="the extra bench has TRL")
PROMPT, WIDTH = 2, 6
"""Tokens of the prompt, and of the longest answer."""
BETTER = [[-0.5, -1.25, -2.0], [-0.25], [-1.5, -0.75, -0.5, -3.0]]
WORSE = [[-2.0, -0.5], [-1.0, -2.5, -0.25, -4.0, -0.125], [-0.75, -0.875]]
BETTER_BEFORE = [[-0.75, -1.0, -1.0], [-1.25], [-1.0, -1.5, -0.25, -2.0]]
WORSE_BEFORE = [[-1.0, -1.5], [-1.0, -2.0, -0.5, -3.0, -0.25], [-2.0, -0.125]]
"""Log-probs of the tokens of three pairs, under the model and under the reference."""

CASES: dict[str, tuple[DpoSettings, dict[str, Any]]] = {
    loss: (DpoSettings(loss=loss), {})  # type: ignore[arg-type]
    for loss in ("sigmoid", "hinge", "ipo", "nca_pair", "bco_pair", "sppo_hard", "apo_zero", "apo_down", "sigmoid_norm")
} | {
    "exo_pair": (DpoSettings(loss="exo_pair", label_smoothing=1e-3), {"label_smoothing": 1e-3}),
    "robust": (DpoSettings(loss="robust", label_smoothing=0.2), {"label_smoothing": 0.2}),
    "discopop": (DpoSettings(loss="discopop", discopop_tau=0.3), {"discopop_tau": 0.3}),
    "ipo, ld_alpha": (DpoSettings(loss="ipo", ld_alpha=0.4), {"ld_alpha": 0.4}),
    "sigmoid, ld_alpha": (DpoSettings(ld_alpha=0.0), {"ld_alpha": 0.0}),
}


class Model(torch.nn.Module):
    """A model whose log-probs are given. values: [rows, tokens − 1], differentiable or not."""

    is_gradient_checkpointing = False

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = values

    def forward(self, **inputs: Any) -> Any:
        zeros = torch.zeros_like(self.values)
        return SimpleNamespace(log_probs=self.values, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())


def padded(rows: Sequence[Sequence[float]]) -> Tensor:
    """[rows, tokens − 1]: prompt and padding have log-prob 0."""
    rows = [[0.0] * (PROMPT - 1) + [*row] + [0.0] * (WIDTH - len(row)) for row in rows]
    return torch.tensor(rows, dtype=torch.float64)


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    """TRL makes tensors of settings in the default format."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def of_trl(which: Sequence[int], losses: Sequence[str], **options: Any) -> tuple[float, list[list[float]]]:
    """TRL's loss of these pairs as one batch, and its gradient by token of each answer, better and worse in turn."""
    rows = [BETTER[n] for n in which] + [WORSE[n] for n in which]
    values = padded(rows).requires_grad_()
    before = padded([BETTER_BEFORE[n] for n in which] + [WORSE_BEFORE[n] for n in which])
    mask = torch.zeros(len(rows), PROMPT + WIDTH, dtype=torch.long)
    for row, length in zip(mask, map(len, rows), strict=True):
        row[PROMPT : PROMPT + length] = 1
    same = {"gather": lambda part: part, "gather_for_metrics": lambda part: part, "device": torch.device("cpu")}
    model = Model(values)
    options = {"loss_weights": [1.0], "beta": 0.1, "label_smoothing": 0.0, "ld_alpha": None} | options
    trainer = SimpleNamespace(
        accelerator=SimpleNamespace(unwrap_model=nullcontext, **same),
        args=SimpleNamespace(gradient_checkpointing_kwargs=None, discopop_tau=options.pop("discopop_tau", 0.05)),
        model=model,
        ref_model=Model(before),
        loss_types=losses,
        precompute_ref_logps=False,
        f_divergence_type="reverse_kl",
        use_weighting=False,
        aux_loss_enabled=False,
        _metrics=defaultdict(lambda: defaultdict(list)),
        _total_train_tokens=0,
        _tp_size=1,
        **options,
    )
    inputs = {"input_ids": mask, "attention_mask": mask, "completion_mask": mask}
    loss = trl.DPOTrainer._compute_loss(trainer, model, inputs, False)
    loss.backward()
    assert values.grad is not None
    by_row = [grad[PROMPT - 1 :][: len(row)].tolist() for grad, row in zip(values.grad, rows, strict=True)]
    return loss.item(), [by_row[n + side] for n in range(len(which)) for side in (0, len(which))]


def of_us(settings: Any, which: Sequence[int]) -> tuple[float, list[list[float]]]:
    """Our loss of these pairs as ladders of two responses, and its gradient."""
    policy = logprobs(*([BETTER[n], WORSE[n]] for n in which))
    reference = logprobs(*([BETTER_BEFORE[n], WORSE_BEFORE[n]] for n in which))
    loss, _ = run(settings, policy, reference, [ladder(0, 1) for _ in which])
    by_token = iter(torch.autograd.grad(loss, policy.values)[0].tolist())
    return loss.item(), [[next(by_token) for _ in row] for n in which for row in (BETTER[n], WORSE[n])]


def same(ours: tuple[float, list[list[float]]], theirs: tuple[float, list[list[float]]]) -> bool:
    flat = [[pair[0], *(value for row in pair[1] for value in row)] for pair in (ours, theirs)]
    return flat[0] == pytest.approx(flat[1], rel=0, abs=1e-9)


@pytest.mark.parametrize(("settings", "options"), CASES.values(), ids=CASES)
def test_a_loss_and_its_gradient_are_those_of_trl(settings: DpoSettings, options: dict[str, Any]) -> None:
    assert same(of_us(settings, [0, 1, 2]), of_trl([0, 1, 2], [settings.loss], **options))


@pytest.mark.parametrize("loss", ["aot", "aot_unpaired"])
def test_one_ladders_pairs_are_a_batch_of_trl(loss: str) -> None:
    """Levels 0 0 1 1: the four pairs of a ladder are sorted as TRL sorts the four pairs of its batch."""
    policy = logprobs([BETTER[0], BETTER[1], WORSE[0], WORSE[1]])
    reference = logprobs([BETTER_BEFORE[0], BETTER_BEFORE[1], WORSE_BEFORE[0], WORSE_BEFORE[1]])
    settings = DpoSettings(loss=loss, pairs="all", label_smoothing=0.1)  # type: ignore[arg-type]
    ours, _ = run(settings, policy, reference, [ladder(0, 0, 1, 1)])

    pairs = [(i, j) for i in (0, 1) for j in (0, 1)]
    better, worse, better_before, worse_before = (
        [rows[pair[side]] for pair in pairs]
        for rows, side in ((BETTER, 0), (WORSE, 1), (BETTER_BEFORE, 0), (WORSE_BEFORE, 1))
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, rows in zip(
            ("BETTER", "WORSE", "BETTER_BEFORE", "WORSE_BEFORE"),
            (better, worse, better_before, worse_before),
            strict=True,
        ):
            patch.setitem(globals(), name, rows)
        theirs, _ = of_trl(range(4), [loss], label_smoothing=0.1)
    assert ours.item() == pytest.approx(theirs, rel=0, abs=1e-9)


@pytest.mark.parametrize("pair", [0, 1, 2])
def test_mpo_is_trls_sum_of_weighted_losses(pair: int) -> None:
    theirs = of_trl([pair], ["sigmoid", "bco_pair", "sft"], loss_weights=[0.8, 0.2, 1.0])
    assert same(of_us(MpoSettings(), [pair]), theirs)


def test_a_mix_of_pair_losses_is_trls_over_a_whole_batch() -> None:
    settings = MpoSettings(terms=[DpoSettings(loss="ipo"), DpoSettings(loss="apo_zero")], weights=[0.5, 3.0])
    assert same(of_us(settings, [0, 1, 2]), of_trl([0, 1, 2], ["ipo", "apo_zero"], loss_weights=[0.5, 3.0]))


def test_sft_is_trls_for_a_batch_of_one_pair() -> None:
    """TRL averages the tokens of a batch, we those of an answer, so that a ladder weighs the same wherever it is."""
    for pair in range(3):
        assert same(of_us(SftSettings(per_token=True), [pair]), of_trl([pair], ["sft"]))


GROUP, GROUP_BEFORE = [*BETTER, *WORSE], [*BETTER_BEFORE, *WORSE_BEFORE]
"""Six responses of one prompt, at levels 0 to 5."""


def group_of_us(settings: GrpoSettings) -> tuple[float, list[list[float]]]:
    policy, reference = logprobs(GROUP), logprobs(GROUP_BEFORE)
    loss, _ = run(settings, policy, reference, [ladder(*range(len(GROUP)))])
    by_token = iter(torch.autograd.grad(loss, policy.values)[0].tolist())
    return loss.item(), [[next(by_token) for _ in row] for row in GROUP]


def group_of_trl(trainer: Any, advantages: Tensor, old: dict[str, Tensor], **options: Any) -> Any:
    """The loss of TRL's trainer on the group, and its gradient. old: the log-probs that ratios compare with."""
    values = padded(GROUP)[:, PROMPT - 1 :].requires_grad_()
    mask = torch.tensor([[int(n < len(row)) for n in range(WIDTH)] for row in GROUP])
    none = SimpleNamespace(
        model=SimpleNamespace(training=False),
        accelerator=SimpleNamespace(gather=lambda part: part, reduce=lambda part, reduction: part),
        _get_per_token_logps_and_entropies=lambda *_, **__: (values, torch.zeros_like(values), None),
        aux_loss_enabled=False,
        epsilon_low=0.2,
        epsilon_high=0.2,
        _metrics=defaultdict(lambda: defaultdict(list)),
        **options,
    )
    empty = torch.zeros(len(GROUP), 0, dtype=torch.long)
    inputs = {"prompt_ids": empty, "prompt_mask": empty, "completion_ids": mask, "completion_mask": mask}
    loss = trainer._compute_loss(none, None, {**inputs, "advantages": advantages, **old})
    loss.backward()
    assert values.grad is not None
    return loss.item(), [grad[: len(row)].tolist() for grad, row in zip(values.grad, GROUP, strict=True)]


@pytest.mark.parametrize(("ratio", "level"), [("token", "token"), ("response", "sequence")])
def test_grpo_is_trls(ratio: Any, level: str) -> None:
    rewards = torch.linspace(1, 0, len(GROUP))
    theirs = group_of_trl(
        trl.GRPOTrainer,
        (rewards - rewards.mean()) / (rewards.std() + 1e-4),
        {"old_per_token_logps": padded(GROUP_BEFORE)[:, PROMPT - 1 :]},
        importance_sampling_level=level,
        loss_type="grpo",
        beta=0.0,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=False,
        args=SimpleNamespace(delta=None),
        _entropy_bonus_enabled=False,
    )
    assert same(group_of_us(GrpoSettings(ratio=ratio)), theirs)


def test_rloo_is_trls() -> None:
    rewards = torch.linspace(1, 0, len(GROUP))
    others = (rewards.sum() - rewards) / (len(GROUP) - 1)
    old = {"old_logps": padded(GROUP_BEFORE).sum(1)}
    ours = group_of_us(GrpoSettings(advantage="rloo", ratio="response", per_token=False))
    assert same(ours, group_of_trl(trl.RLOOTrainer, rewards - others, old))

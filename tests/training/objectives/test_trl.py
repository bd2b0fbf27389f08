"""Our losses are TRL's: the loss code of its trainers runs on the same log-probabilities, in float64."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import combinations
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
Row = list[float]
Answer = tuple[Row, Row]
"""The log-probs of an answer's tokens under the model, and under the reference."""
BETTER: list[Answer] = [
    ([-0.5, -1.25, -2.0], [-0.75, -1.0, -1.0]),
    ([-0.25], [-1.25]),
    ([-1.5, -0.75, -0.5, -3.0], [-1.0, -1.5, -0.25, -2.0]),
]
WORSE: list[Answer] = [
    ([-2.0, -0.5], [-1.0, -1.5]),
    ([-1.0, -2.5, -0.25, -4.0, -0.125], [-1.0, -2.0, -0.5, -3.0, -0.25]),
    ([-0.75, -0.875], [-2.0, -0.125]),
]
PAIRS = list(zip(BETTER, WORSE, strict=True))
GROUP = [*BETTER, *WORSE]
"""Six answers to one prompt, at levels 0 to 5."""
Found = tuple[float, list[Row]]
"""A loss, and its gradient by answer and token."""

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


def of_trl(pairs: Sequence[tuple[Answer, Answer]], losses: Sequence[str], **options: Any) -> Found:
    """TRL's loss of these pairs as one batch, and its gradient: better and worse answer of each pair."""
    answers = [better for better, _ in pairs] + [worse for _, worse in pairs]
    rows = [row for row, _ in answers]
    values, before = padded(rows).requires_grad_(), padded([row for _, row in answers])
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
    return loss.item(), [by_row[n + side] for n in range(len(pairs)) for side in (0, len(pairs))]


def of_us(settings: Any, *ladders: Sequence[Answer], levels: Sequence[int] = (0, 1)) -> Found:
    """Our loss of ladders with these levels, and its gradient."""
    policy, reference = (logprobs(*([answer[n] for answer in answers] for answers in ladders)) for n in (0, 1))
    loss, _ = run(settings, policy, reference, [ladder(*levels) for _ in ladders])
    by_token = iter(torch.autograd.grad(loss, policy.values)[0].tolist())
    return loss.item(), [[next(by_token) for _ in row] for answers in ladders for row, _ in answers]


def same(ours: Found, theirs: Found) -> bool:
    flat = [[pair[0], *(value for row in pair[1] for value in row)] for pair in (ours, theirs)]
    return flat[0] == pytest.approx(flat[1], rel=0, abs=1e-9)


@pytest.mark.parametrize(("settings", "options"), CASES.values(), ids=CASES)
def test_a_loss_and_its_gradient_are_those_of_trl(settings: DpoSettings, options: dict[str, Any]) -> None:
    assert same(of_us(settings, *PAIRS), of_trl(PAIRS, [settings.loss], **options))


AOT: dict[str, tuple[DpoSettings, dict[str, Any]]] = {
    loss: (DpoSettings(loss=loss, label_smoothing=0.1), {"label_smoothing": 0.1})  # type: ignore[arg-type]
    for loss in ("aot", "aot_unpaired")
}


@pytest.mark.parametrize(("settings", "options"), (CASES | AOT).values(), ids=CASES | AOT)
def test_all_pairs_of_six_levels_are_a_batch_of_trl(settings: DpoSettings, options: dict[str, Any]) -> None:
    number = list(combinations(range(len(GROUP)), 2))
    pairs = [(GROUP[i], GROUP[j]) for i, j in number]
    loss, by_row = of_trl(pairs, [settings.loss], **options)
    summed = [[0.0] * len(row) for row, _ in GROUP]
    for answer, row in zip((n for pair in number for n in pair), by_row, strict=True):
        summed[answer] = [a + b for a, b in zip(summed[answer], row, strict=True)]
    ours = of_us(settings.model_copy(update={"pairs": "all"}), GROUP, levels=range(len(GROUP)))
    assert same(ours, (loss, summed))


@pytest.mark.parametrize("pair", PAIRS)
def test_mpo_is_trls_sum_of_weighted_losses(pair: tuple[Answer, Answer]) -> None:
    theirs = of_trl([pair], ["sigmoid", "bco_pair", "sft"], loss_weights=[0.8, 0.2, 1.0])
    assert same(of_us(MpoSettings(), pair), theirs)


def test_a_mix_of_pair_losses_is_trls_over_a_whole_batch() -> None:
    settings = MpoSettings(terms=[DpoSettings(loss="ipo"), DpoSettings(loss="apo_zero")], weights=[0.5, 3.0])
    assert same(of_us(settings, *PAIRS), of_trl(PAIRS, ["ipo", "apo_zero"], loss_weights=[0.5, 3.0]))


@pytest.mark.parametrize("pair", PAIRS)
def test_sft_is_trls_for_a_batch_of_one_pair(pair: tuple[Answer, Answer]) -> None:
    """TRL averages the tokens of a batch, we those of an answer, so that a ladder weighs the same wherever it is."""
    assert same(of_us(SftSettings(per_token=True), pair), of_trl([pair], ["sft"]))


def group_of_trl(trainer: Any, advantages: Tensor, old: dict[str, Tensor], **options: Any) -> Found:
    """The loss of TRL's trainer on the group, and its gradient. old: the log-probs that ratios compare with."""
    values = padded([row for row, _ in GROUP])[:, PROMPT - 1 :].requires_grad_()
    mask = torch.tensor([[int(n < len(row)) for n in range(WIDTH)] for row, _ in GROUP])
    this = SimpleNamespace(
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
    loss = trainer._compute_loss(this, None, {**inputs, "advantages": advantages, **old})
    loss.backward()
    assert values.grad is not None
    return loss.item(), [grad[: len(row)].tolist() for grad, (row, _) in zip(values.grad, GROUP, strict=True)]


@pytest.mark.parametrize(("ratio", "level"), [("token", "token"), ("response", "sequence")])
def test_grpo_is_trls(ratio: Any, level: str) -> None:
    rewards = torch.linspace(1, 0, len(GROUP))
    theirs = group_of_trl(
        trl.GRPOTrainer,
        (rewards - rewards.mean()) / (rewards.std() + 1e-4),
        {"old_per_token_logps": padded([before for _, before in GROUP])[:, PROMPT - 1 :]},
        importance_sampling_level=level,
        loss_type="grpo",
        beta=0.0,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=False,
        args=SimpleNamespace(delta=None),
        _entropy_bonus_enabled=False,
    )
    assert same(of_us(GrpoSettings(ratio=ratio), GROUP, levels=range(len(GROUP))), theirs)


def test_rloo_is_trls() -> None:
    rewards = torch.linspace(1, 0, len(GROUP))
    others = (rewards.sum() - rewards) / (len(GROUP) - 1)
    old = {"old_logps": padded([before for _, before in GROUP]).sum(1)}
    settings = GrpoSettings(advantage="rloo", ratio="response", per_token=False)
    assert same(of_us(settings, GROUP, levels=range(len(GROUP))), group_of_trl(trl.RLOOTrainer, rewards - others, old))

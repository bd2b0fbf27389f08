"""Our losses are those of TRL's trainers: one tiny model, the same answers, loss and gradient in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPTNeoXConfig

from seelevel.ladder import Ladder, Response
from seelevel.training.logprobs import token_logprobs
from seelevel.training.objectives.pair_losses import LOSSES
from seelevel.training.objectives.settings import DpoSettings, GrpoSettings, MpoSettings, SftSettings
from seelevel.training.packing import pack
from tests.training.tiny import ANSWERS, TEMPLATE, in_float64, make_ladder, make_model, make_processor

from .made import run

pytestmark = pytest.mark.slow
trl = pytest.importorskip("trl", reason="the extra bench has TRL")
COMMON = {"report_to": "none", "bf16": False, "use_cpu": True, "disable_tqdm": True}
MOST = 1e-9
"""How far a loss, or its derivative by any weight, may be from TRL's."""

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
AOT: dict[str, tuple[DpoSettings, dict[str, Any]]] = {
    loss: (DpoSettings(loss=loss, label_smoothing=0.1), {"label_smoothing": 0.1})  # type: ignore[arg-type]
    for loss in ("aot", "aot_unpaired")
}


class InDouble(torch.nn.Module):
    """A model with the output that TRL's trainers read, in float64. Their own head rounds log-probs to float32."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, labels: Tensor, fused_lm_head: bool, **inputs: Any) -> Any:
        values = self.model(**inputs).logits[:, :-1].log_softmax(-1)
        chosen = values.gather(2, labels[:, 1:].clamp(min=0)[..., None])[..., 0].masked_fill(labels[:, 1:] == -100, 0)
        zeros = torch.zeros_like(chosen)
        return SimpleNamespace(log_probs=chosen, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())


class SideBySide:
    """A policy, a reference and ladders, for our code and for TRL's. Losses come with their gradient by all weights:
    [1 + weights]."""

    def __init__(self, folder: Path, apart: float = 1.0) -> None:
        """apart: how far the reference's weights are from the policy's, as a share of the way to other ones."""
        self.folder = folder
        # TRL scores all that the template writes for an answer, we score up to its last token: no line break after it
        self.processor = make_processor(TEMPLATE.replace("<|end|>\n", "<|end|>"))
        # LLaMA's norms compute in float32, and gradients then differ by 1e-6
        makes = {"dtype": torch.float64, "text": GPTNeoXConfig}
        self.policy, self.reference = (make_model(self.processor, seed, **makes) for seed in (0, 1))
        for weight, start in zip(self.reference.parameters(), self.policy.parameters(), strict=True):
            weight.data.lerp_(start.data, 1 - apart)
        for model in (self.policy, self.reference):
            model.get_output_embeddings().weight.data *= 20  # so that answers differ by nats
        self.pairs = [self.ladder(seed, ANSWERS[seed], ANSWERS[seed + 1]) for seed in range(4)]
        self.group = self.ladder(5, *ANSWERS)

    def ladder(self, seed: int, *answers: str) -> Ladder:
        """Answers to one prompt, best first."""
        responses = [Response([{"role": "assistant", "content": text}], n) for n, text in enumerate(answers)]
        return replace(make_ladder(self.folder, seed), responses=responses)

    def with_gradient(self, loss: Tensor) -> Tensor:
        gradient = torch.autograd.grad(loss, list(self.policy.parameters()), materialize_grads=True)
        return torch.cat([loss.detach()[None], *(part.flatten() for part in gradient)])

    def ours(self, settings: Any, *ladders: Ladder) -> Tensor:
        batch = in_float64(pack(ladders, self.processor))
        with torch.no_grad():
            reference = token_logprobs(self.reference, batch)
        return self.with_gradient(run(settings, token_logprobs(self.policy, batch), reference, ladders)[0])

    def of_trl(self, trainer: str, data: Sequence[dict[str, Any]], settings: dict[str, Any], **options: Any) -> Any:
        """One of TRL's trainers, as a user makes it."""
        from datasets import Dataset, Image, Sequence

        arguments = getattr(trl, f"{trainer}Config")(output_dir=str(self.folder), **COMMON, **settings)
        rows = Dataset.from_list(list(data)).cast_column("images", Sequence(Image()))
        made = getattr(trl, f"{trainer}Trainer")(
            model=deepcopy(self.policy),
            args=arguments,
            train_dataset=rows,
            processing_class=self.processor,
            **options,
        )
        made.model.eval()
        return made

    def dpo(self, ladders: Sequence[Ladder], losses: Sequence[str], **settings: Any) -> tuple[Any, dict[str, Any]]:
        """TRL's DPOTrainer, and all pairs of the ladders as its collator gives them, in one batch."""
        from benchmarks.trl_peer import pair_rows

        data = [row for ladder in ladders for row in pair_rows(ladder)]
        settings = {"loss_type": list(losses), "max_length": None, **settings}
        trainer = self.of_trl("DPO", data, settings, ref_model=deepcopy(self.reference))
        trainer.ref_model = InDouble(self.reference)
        return trainer, trainer.data_collator([trainer.train_dataset[n] for n in range(len(data))])

    def dpo_loss(self, ladders: Sequence[Ladder], losses: Sequence[str], **settings: Any) -> Tensor:
        trainer, inputs = self.dpo(ladders, losses, **settings)
        return self.with_gradient(trainer.compute_loss(InDouble(self.policy), inputs))

    def group_loss(self, name: str, advantages: Tensor, **settings: Any) -> Tensor:
        """The loss of TRL's trainer `name` on the group, when the reference has sampled it."""
        rows = [0, *range(15, 20)]  # the 15 better answers of pairs come first: 0 in the first row, then the worse ones
        inputs = {key: value[rows] for key, value in self.dpo([self.group], ["sigmoid"])[1].items()}
        ids, mask, scored = (inputs[key] for key in ("input_ids", "attention_mask", "completion_mask"))
        begin = int(scored.argmax(1)[0])
        labels = ids.masked_fill(scored == 0, -100)
        with torch.no_grad():
            passed = {"input_ids": ids, "attention_mask": mask, "pixel_values": inputs["pixel_values"]}
            old = InDouble(self.reference)(labels=labels, fused_lm_head=True, **passed).log_probs[:, begin - 1 :]
        prompt = [{"prompt": [dict(message) for message in self.group.prompt], "images": []}]
        sizes = {"per_device_train_batch_size": len(rows), "num_generations": len(rows), "beta": 0.0}
        trainer = self.of_trl(name, prompt, {**sizes, **settings}, reward_funcs=lambda completions, **_: completions)
        parts = {
            "prompt_ids": ids[:, :begin],
            "prompt_mask": mask[:, :begin],
            "completion_ids": ids[:, begin:],
            "completion_mask": scored[:, begin:],
            "pixel_values": inputs["pixel_values"],
            "num_images": [1] * len(rows),
            "advantages": advantages,
            "old_per_token_logps": old,
            "old_logps": old.sum(1),
        }
        return self.with_gradient(trainer.compute_loss(InDouble(self.policy), parts))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> SideBySide:
    return SideBySide(tmp_path_factory.mktemp("trl"))


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> SideBySide:
    """Ratios near 1: some are clipped and some are not."""
    return SideBySide(tmp_path_factory.mktemp("near"), apart=0.05)


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    """TRL makes tensors of settings in the default format."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def off(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference of loss and derivatives; nothing is the same because it is 0."""
    assert ours.dtype == theirs.dtype == torch.float64
    assert theirs[0] != 0 and theirs[1:].abs().max() > 1e-3
    return float((ours - theirs).abs().max())


def test_every_loss_is_compared() -> None:
    assert {settings.loss for settings, _ in (CASES | AOT).values()} == set(LOSSES)


@pytest.mark.parametrize(("settings", "options"), CASES.values(), ids=CASES)
def test_the_loss_of_pairs_is_trls(both: SideBySide, settings: DpoSettings, options: dict[str, Any]) -> None:
    assert off(both.ours(settings, *both.pairs), both.dpo_loss(both.pairs, [settings.loss], **options)) < MOST


@pytest.mark.parametrize(("settings", "options"), (CASES | AOT).values(), ids=CASES | AOT)
def test_all_pairs_of_six_levels_are_a_batch_of_trl(
    both: SideBySide, settings: DpoSettings, options: dict[str, Any]
) -> None:
    ours = both.ours(settings.model_copy(update={"pairs": "all"}), both.group)
    assert off(ours, both.dpo_loss([both.group], [settings.loss], **options)) < MOST


@pytest.mark.parametrize("number", range(4))
def test_mpo_is_trls_sum_of_weighted_losses(both: SideBySide, number: int) -> None:
    pair = both.pairs[number]
    theirs = both.dpo_loss([pair], ["sigmoid", "bco_pair", "sft"], loss_weights=[0.8, 0.2, 1.0])
    assert off(both.ours(MpoSettings(), pair), theirs) < MOST


def test_a_mix_of_pair_losses_is_trls_over_a_whole_batch(both: SideBySide) -> None:
    settings = MpoSettings(terms=[DpoSettings(loss="ipo"), DpoSettings(loss="apo_zero")], weights=[0.5, 3.0])
    theirs = both.dpo_loss(both.pairs, ["ipo", "apo_zero"], loss_weights=[0.5, 3.0])
    assert off(both.ours(settings, *both.pairs), theirs) < MOST


def test_sft_is_trls_for_a_batch_of_one_pair(both: SideBySide) -> None:
    """TRL averages the tokens of a batch, we those of an answer, so that a ladder weighs the same wherever it is."""
    pair = both.pairs[0]
    assert off(both.ours(SftSettings(per_token=True), pair), both.dpo_loss([pair], ["sft"])) < MOST


@pytest.mark.parametrize(("ratio", "level"), [("token", "token"), ("response", "sequence")])
def test_grpo_is_trls(near: SideBySide, ratio: Any, level: str) -> None:
    rewards = torch.linspace(1, 0, len(ANSWERS))
    advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
    theirs = near.group_loss("GRPO", advantages, importance_sampling_level=level, loss_type="grpo")
    assert off(near.ours(GrpoSettings(ratio=ratio), near.group), theirs) < MOST


def test_rloo_is_trls(near: SideBySide) -> None:
    rewards = torch.linspace(1, 0, len(ANSWERS))
    others = (rewards.sum() - rewards) / (len(rewards) - 1)
    settings = GrpoSettings(advantage="rloo", ratio="response", per_token=False)
    assert off(near.ours(settings, near.group), near.group_loss("RLOO", rewards - others)) < MOST

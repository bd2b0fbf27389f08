"""Offloaded activations: the same numbers to the last bit, and nothing of the layers stays on the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.host import playing_gpu
from benchmarks.memory import allocations
from seelevel.training.fit import Job, fit
from seelevel.training.loading import with_lora
from seelevel.training.logprobs import Policy, token_logprobs
from seelevel.training.packing import Batch, collate
from seelevel.training.packing.offload import offload_activations
from seelevel.training.packing.passes import recompute_layers
from seelevel.training.packing.tokens import ImageReader, tokenise
from seelevel.training.settings import LoraSettings, TrainSettings
from tests.training.tiny import in_float64, make_interaction, make_ladder, make_model, make_processor, save_model


def a_model(lora: bool, layers: int = 2, offloaded: bool = False) -> Any:
    model = make_model(make_processor(), dtype=torch.float64, num_hidden_layers=layers)
    if offloaded:
        offload_activations(model)
    if lora:
        model = with_lora(model, LoraSettings(r=4, alpha=8))
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
    recompute_layers(model)
    return model.to(torch.float64).train()


def a_batch(folder: Path, layout: Any = "shared", answers: int | None = None, rounds: bool = False) -> Batch:
    images = ImageReader(make_processor())
    ladders = [make_ladder(folder, seed, k=4) for seed in (0, 1)]
    ladders += make_interaction(folder, 3, conditions=False) if rounds else []
    return in_float64(collate([tokenise(one, make_processor(), images) for one in ladders], images, layout, answers))


def results(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    values = token_logprobs(Policy(model), batch).values
    (values * torch.linspace(-1, 2, len(values), dtype=values.dtype)).sum().backward()
    return values.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize(("layout", "answers"), [("shared", None), ("shared", 2), ("rows", None), ("rows", 1)])
def test_offloading_changes_no_bit(tmp_path: Path, lora: bool, layout: str, answers: int | None) -> None:
    batch = a_batch(tmp_path, layout, answers, rounds=True)
    plain = results(a_model(lora), batch)
    with playing_gpu() as host:
        values, gradient = results(a_model(lora, offloaded=True), batch)
    assert host.moved > 0
    assert torch.equal(values, plain[0])
    assert (gradient - plain[1]).norm() <= 1e-12 * plain[1].norm()  # gradients of groups add up in another order
    assert host.bytes == 0  # nothing is left behind


def kept(model: Any, batch: Batch) -> int:
    """Bytes on the device between the forward and the backward pass."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=False) as recorded:
        values = token_logprobs(Policy(model), batch).values
    assert values.requires_grad
    return sum(size for _, size in allocations(recorded))


@pytest.mark.parametrize("rounds", [False, True])
@pytest.mark.parametrize("answers", [None, 1])
def test_what_is_kept_on_the_device_does_not_grow_with_the_layers(
    tmp_path: Path, answers: int | None, rounds: bool
) -> None:
    batch = a_batch(tmp_path, answers=answers, rounds=rounds)
    inputs = sum(segment.mask.numel() for segment in batch.segments) * 32 * 8  # of one layer
    seeds = len(batch.segments) * 5200  # that each checkpoint keeps on the host
    more = [kept(a_model(True, layers), batch) for layers in (2, 6)]
    with playing_gpu() as host:
        fewer = [kept(a_model(True, layers, offloaded=True), batch) for layers in (2, 6)]
    if answers is None:
        assert more[1] - more[0] >= 4 * (inputs + seeds) - 4 * 5200
    assert fewer[1] - fewer[0] <= 4 * seeds
    assert host.most > 6 * inputs


def asked(**changes: Any) -> TrainSettings:
    plain = {"ladders_per_step": 2, "epochs": 1, "device": "cpu", "cache": False, "gradient_checkpointing": True}
    return TrainSettings(**{**plain, "offload_activations": True, **changes})


def test_on_a_processor_nothing_is_offloaded_and_a_line_says_so(tmp_path: Path, capsys: Any) -> None:
    ladders = [make_ladder(tmp_path, seed) for seed in range(2)]
    fit(ladders, str(save_model(tmp_path / "base")), asked(), tmp_path / "out")
    assert "align.offload_activations: nothing is offloaded" in capsys.readouterr().err


@pytest.mark.unit
def test_only_checkpoints_are_offloaded() -> None:
    with pytest.raises(ValidationError, match="needs gradient_checkpointing: true"):
        asked(gradient_checkpointing=False)


@pytest.mark.unit
def test_offloading_is_no_other_training(tmp_path: Path) -> None:
    keys = [Job([], "m", asked(offload_activations=on), tmp_path, 0, "").key for on in (False, True)]
    assert keys[0] == keys[1]

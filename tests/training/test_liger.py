"""Liger's kernels: put into one model, compared with its plain layers, taken out again. No GPU: a stand-in computes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers.models.llama import modeling_llama

from seelevel.errors import InputError
from seelevel.training import loading, requirements
from seelevel.training.fit import Job, fit
from seelevel.training.liger import discard_liger, has_liger, use_liger, without_liger
from seelevel.training.requirements import check_training
from seelevel.training.settings import TrainSettings
from tests.training.tiny import make_ladder, make_model, make_processor

IDS = torch.arange(10, 34).view(2, 12)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A package with the names that `liger_kernel` 0.8.5 has, whose kernels are plain torch. `factor`: of its MLPs."""
    part: Any = ModuleType("liger_kernel.transformers.monkey_patch")
    part.factor = 1.0

    def apply(model: Any, **options: Any) -> None:
        assert not any(options.values()), "no losses, no rotary embeddings"
        monkeypatch.setattr(modeling_llama, "LlamaMLP", None)  # as Liger changes the classes of a family
        for layer in model.model.language_model.layers:
            plain = layer.mlp.forward
            vars(layer.mlp)["forward"] = lambda hidden, plain=plain: plain(hidden) * part.factor

    part._apply_liger_kernel_to_instance, part.MODEL_TYPE_TO_APPLY_LIGER_FN = apply, {"llava": apply}
    for name in ("liger_kernel", "liger_kernel.transformers"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, part.__name__, part)
    return part


@pytest.fixture
def on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that passes for a CUDA device."""
    monkeypatch.setattr(loading, "check_liger_kernel", lambda key, device: None)


def asked(**changes: Any) -> TrainSettings:
    plain = {"ladders_per_step": 2, "epochs": 1, "device": "cpu", "cache": False, "use_liger_kernel": True}
    return TrainSettings(**{**plain, **changes})


def test_kernels_change_one_model_and_can_be_taken_out(stand_in: Any) -> None:
    model, other, kept = make_model(make_processor()), make_model(make_processor()), modeling_llama.LlamaMLP
    plain = model(input_ids=IDS).logits
    stand_in.factor = 2.0
    use_liger(model)
    assert has_liger(model) and modeling_llama.LlamaMLP is kept
    assert not torch.equal(model(input_ids=IDS).logits, plain)
    assert torch.equal(other(input_ids=IDS).logits, plain)
    with without_liger(model):
        assert torch.equal(model(input_ids=IDS).logits, plain)
    assert not torch.equal(model(input_ids=IDS).logits, plain)
    discard_liger(model)
    assert not has_liger(model) and torch.equal(model(input_ids=IDS).logits, plain)


@pytest.mark.parametrize(("factor", "used"), [(1.0, True), (1.01, False)])
def test_wrong_kernels_are_not_used(
    base: Path, tmp_path: Path, stand_in: Any, on_cuda: None, capsys: Any, factor: float, used: bool
) -> None:
    stand_in.factor = factor
    fit([make_ladder(tmp_path, seed) for seed in range(2)], str(base), asked(), tmp_path / "out")
    said = capsys.readouterr().err
    assert ("align.use_liger_kernel: not used: log-probs differ by" in said) != used


def test_kernels_that_fail_are_an_error_with_a_remedy(base: Path, tmp_path: Path, stand_in: Any, on_cuda: None) -> None:
    stand_in.factor = None
    with pytest.raises(
        InputError, match=r"align\.use_liger_kernel: its kernels fail here \(TypeError.*set it to false"
    ):
        fit([make_ladder(tmp_path, seed) for seed in range(2)], str(base), asked(), tmp_path / "out")


def test_a_family_without_kernels_gets_a_line(stand_in: Any, capsys: Any) -> None:
    stand_in.MODEL_TYPE_TO_APPLY_LIGER_FN.clear()
    model = make_model(make_processor())
    use_liger(model)
    assert "Liger has no kernels for models of kind llava" in capsys.readouterr().err
    assert not has_liger(model)


@pytest.mark.skipif(importlib.util.find_spec("liger_kernel") is None, reason="needs liger-kernel")
def test_the_real_package_binds_methods_and_leaves_classes() -> None:
    model, kept = make_model(make_processor()), (modeling_llama.LlamaRMSNorm, modeling_llama.apply_rotary_pos_emb)
    plain = model(input_ids=IDS).logits
    use_liger(model)
    assert has_liger(model)
    assert (modeling_llama.LlamaRMSNorm, modeling_llama.apply_rotary_pos_emb) == kept
    discard_liger(model)
    assert torch.equal(model(input_ids=IDS).logits, plain)


@pytest.mark.unit
def test_without_cuda_it_is_refused(base: Path) -> None:
    with pytest.raises(InputError, match=r"align\.use_liger_kernel: its kernels need a CUDA device, not cpu"):
        check_training("align", asked(), str(base))


@pytest.mark.unit
def test_without_the_package_the_line_has_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'seelevel\[liger\]'"):
        requirements.check_liger_kernel("align", "cuda")


@pytest.mark.unit
def test_kernels_are_no_other_training(tmp_path: Path) -> None:
    keys = [Job([], "m", asked(use_liger_kernel=on), tmp_path, 0, "").key for on in (False, True)]
    assert keys[0] == keys[1]

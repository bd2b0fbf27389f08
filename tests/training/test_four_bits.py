"""QLoRA: the language model's layers in 4 bits, all else as it was; both layouts agree, and it trains and resumes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import nn

from seelevel.errors import InputError
from seelevel.forecast.memory import base_weights
from seelevel.forecast.shapes import shape_of
from seelevel.ladder import Ladder
from seelevel.models import load_model
from seelevel.models.base import Prompt, Sampling
from seelevel.training import requirements
from seelevel.training.fit import fit
from seelevel.training.loading import load_to_train, with_lora
from seelevel.training.logprobs import token_logprobs
from seelevel.training.packing import collate
from seelevel.training.packing.tokens import ImageReader, tokenise
from seelevel.training.reference import weights_fingerprint
from seelevel.training.requirements import check_training
from seelevel.training.rounding import in_float32
from seelevel.training.settings import LoraSettings, TrainSettings
from tests.training.killing import Killed
from tests.training.tiny import make_ladder, make_model, make_processor

installed = pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="needs bitsandbytes")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is as wide as a block of NF4, which is 64 weights."""
    folder, processor = tmp_path_factory.mktemp("wide"), make_processor()
    make_model(processor, hidden_size=64, intermediate_size=128).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def asked(**changes: Any) -> TrainSettings:
    plain = {"ladders_per_step": 3, "epochs": 2, "save_steps": 1, "learning_rate": 3e-3, "device": "cpu"}
    return TrainSettings(**{**plain, "lora": {"r": 4, "alpha": 8}, "load_in_4bit": True, **changes})


@pytest.fixture
def ladders(tmp_path: Path) -> list[Ladder]:
    return [make_ladder(tmp_path, seed, k=2 + seed % 3) for seed in range(6)]


@installed
def test_only_linear_layers_of_the_decoder_are_quantised(base: Path) -> None:
    model, _ = load_to_train(str(base), asked(), "float32", "cpu")
    coarse = {name for name, part in model.named_modules() if type(part).__name__ == "Linear4bit"}
    linear = {name for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    assert coarse == {name for name in linear if ".language_model.layers." in name}
    whole = load_model(str(base), device="cpu").model
    for name in coarse:
        plain, weight = whole.get_submodule(name).weight, model.get_submodule(name).weight
        assert weight.numel() * weight.element_size() * 2 == plain.numel()  # two weights per byte
    for name, weight in whole.named_parameters():
        if name.rpartition(".")[0] not in coarse:
            assert torch.equal(model.get_parameter(name), weight)


@installed
def test_the_forecast_of_the_weights_is_what_they_are(tmp_path: Path) -> None:
    """Scales of small layers fill no whole block, so that the model is wide."""
    processor = make_processor()
    make_model(processor, hidden_size=512, intermediate_size=1024).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    model, shape = load_to_train(str(tmp_path), asked(), "float32", "cpu")[0], shape_of(str(tmp_path))
    assert shape is not None
    here = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    largest = 512 * 1024 * 4  # as it is computed with
    assert base_weights(shape, asked(), 4) - largest == pytest.approx(here, rel=0.01)
    assert base_weights(shape, asked(load_in_4bit=False), 4) > 2 * here


@installed
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_trains_in_the_shared_layout_and_resumes_to_the_same_bytes(
    base: Path, ladders: list[Ladder], tmp_path: Path, stop_at: Any, dtype: str
) -> None:
    settings = asked(dtype=dtype, gradient_checkpointing=True)
    stop_at(2)
    with pytest.raises(Killed):
        fit(ladders, str(base), settings, tmp_path / "cut", seed=1)
    stop_at(None)
    facts = fit(ladders, str(base), settings, tmp_path / "whole", seed=1)
    fit(ladders, str(base), settings, tmp_path / "cut", seed=1)
    assert facts["layout"] == "shared" and facts["steps"] == 4
    one, other = (load_file(tmp_path / name / "adapter/adapter_model.safetensors") for name in ("cut", "whole"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert all(weight.dtype == torch.float32 for weight in one.values())
    losses = [json.loads(line)["loss"] for line in (tmp_path / "whole/log.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]


@installed
def test_its_adapter_answers_and_trains_on_and_merges_on_the_whole_base(
    base: Path, ladders: list[Ladder], tmp_path: Path
) -> None:
    from seelevel.export.weights import merge

    fit(ladders, str(base), asked(), tmp_path / "first", seed=1)
    adapter = tmp_path / "first/adapter"
    model = load_model(str(adapter), device="cpu")
    assert not any(type(part).__name__ == "Linear4bit" for part in model.model.modules())
    prompt = Prompt([{"role": "user", "content": "Describe the picture."}], [])
    assert model.generate([prompt], Sampling(max_new_tokens=4))[0].tokens > 0
    merge(base, adapter, tmp_path / "merged")
    whole, merged = (load_file(folder / "model.safetensors") for folder in (base, tmp_path / "merged"))
    assert any(not torch.equal(whole[name], merged[name]) for name in whole)
    facts = fit(ladders, str(adapter), asked(lora=None), tmp_path / "second", seed=1)
    assert facts["layout"] == "shared"


@installed
def test_gradients_are_those_of_the_same_weights_in_float32(base: Path, ladders: list[Ladder]) -> None:
    """Also after the model has evaluated: the comparison of layouts and the reference come before training."""
    from bitsandbytes.functional import dequantize_4bit

    coarse = load_to_train(str(base), asked(), "float32", "cpu")[0]
    plain, processor = load_to_train(str(base), asked(load_in_4bit=False), "float32", "cpu")
    for name, part in coarse.named_modules():
        if hasattr(part, "compute_dtype"):
            weight = dequantize_4bit(part.weight.data, part.weight.quant_state)
            assert not torch.equal(plain.get_submodule(name).weight, weight)
            plain.get_submodule(name).weight.data = weight
    images, gradients = ImageReader(processor), []
    batch = collate([tokenise(ladder, processor, images) for ladder in ladders[:2]], images, "shared")
    for model in (coarse, plain):
        with torch.no_grad():
            token_logprobs(model.eval(), batch)
        torch.manual_seed(0)
        adapted = with_lora(model, LoraSettings(r=4)).train()
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(weight, std=0.1)
        values = token_logprobs(adapted, batch).values
        (values * torch.linspace(-1, 2, len(values))).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in adapted.parameters() if p.grad is not None]))
    assert (gradients[0] - gradients[1]).norm() <= 1e-4 * gradients[1].norm()


@installed
def test_another_quantisation_is_another_reference(base: Path) -> None:
    prints = {
        weights_fingerprint(load_to_train(str(base), asked(load_in_4bit=on), "float32", "cpu")[0])
        for on in (False, True, True)
    }
    assert len(prints) == 2


@installed
def test_a_comparison_in_float32_also_computes_quantised_layers_in_float32(base: Path) -> None:
    model = with_lora(load_to_train(str(base), asked(), "bfloat16", "cpu")[0], LoraSettings(r=2))
    layers = [part for part in model.modules() if hasattr(part, "compute_dtype")]
    with in_float32(model):
        assert {part.compute_dtype for part in layers} == {torch.float32}
    assert {part.compute_dtype for part in layers} == {torch.bfloat16}


@installed
@pytest.mark.slow
def test_a_plain_model_is_loaded_without_the_libraries(base: Path) -> None:
    """PEFT itself imports bitsandbytes where it is installed."""
    code = (
        f"import sys; from seelevel.models import load_model; load_model({str(base)!r}, device='cpu'); "
        "assert not {'bitsandbytes', 'liger_kernel'} & sys.modules.keys(); "
        "import seelevel.training.fit; assert 'liger_kernel' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@installed
@pytest.mark.slow
def test_the_command_line_shows_no_line_about_kernels() -> None:
    begun = "import sys; from seelevel.cli import main; sys.argv[1:] = ['--help']"
    code = f"{begun}\ntry:\n    main()\nexcept SystemExit:\n    import peft"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "kernels" not in done.stderr


@pytest.mark.unit
def test_it_needs_adapters(base: Path) -> None:
    with pytest.raises(InputError, match=r"align\.load_in_4bit: weights in 4 bits do not train.*set lora: \{\}"):
        check_training("align", asked(lora=None), str(base))


@pytest.mark.unit
def test_without_bitsandbytes_the_line_has_the_command(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^align\.load_in_4bit needs one more package: pip install 'seelevel\[qlora"):
        check_training("align", asked(), str(base))


@pytest.mark.unit
def test_a_model_is_not_quantised_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "find_spec", lambda name: object())
    config = {"quantization_config": {"quant_method": "fp8"}}
    with pytest.raises(InputError, match=r"m is quantised already \(fp8\)"):
        requirements.check_four_bits("align", "m", config)


@pytest.mark.unit
def test_products_in_float64_are_refused() -> None:
    with pytest.raises(ValidationError, match="no products in float64"):
        asked(dtype="float64")

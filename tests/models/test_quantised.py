"""Quantised models are known by their configuration: loaded where transformers can, else refused in one line."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from seelevel.errors import InputError
from seelevel.models import load_model
from seelevel.models.quantised import check_quantised, check_trains, method_of, quantisation
from seelevel.training.requirements import check_training
from seelevel.training.settings import LoraSettings, TrainSettings
from tests.training.tiny import make_ladder, save_model

pytestmark = pytest.mark.unit

KINDS: dict[str, dict[str, Any]] = {
    "bitsandbytes": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "gptqmodel": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"},
    "optimum": {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False},
    "compressed_tensors": {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {}},
    "torchao": {"quant_method": "torchao"},
}
FP8 = {
    "quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128],
    "modules_to_not_convert": ["vision_tower", "multi_modal_projector", "lm_head"],
}  # fmt: skip


@pytest.mark.parametrize("package", [name for name in KINDS if importlib.util.find_spec(name) is None])
@pytest.mark.parametrize("inside", [True, False])
def test_a_library_that_is_missing_is_named_in_one_line(package: str, inside: bool) -> None:
    settings = {"quantization_config": KINDS[package]}
    config = {"text_config": settings} if inside else settings
    with pytest.raises(InputError) as caught:
        check_quantised("my/model", config)
    line = str(caught.value)
    assert "\n" not in line and "my/model" in line
    assert f"({KINDS[package]['quant_method']})" in line and package.replace("_", "-") in line.replace("_", "-")


def test_a_kind_that_transformers_does_not_know_is_refused() -> None:
    with pytest.raises(InputError, match=r"quantised \(of-next-year\)"):
        check_quantised("m", {"quantization_config": {"quant_method": "of-next-year"}})


def test_settings_are_found_wherever_they_stand() -> None:
    assert quantisation({"model_type": "llava", "quantization_config": None}) is None
    old = quantisation({"compression_config": {"load_in_8bit": True}})
    assert old is not None and method_of(old) == "bitsandbytes"


def test_full_training_of_quantised_weights_is_refused_with_the_remedy(tmp_path: Path) -> None:
    config = {"model_type": "llava", "quantization_config": FP8}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"align\.lora: .* is quantised \(fp8\).*set lora: \{\}"):
        check_training("align", TrainSettings(), str(tmp_path))
    check_trains("align", str(tmp_path), config, lora=True)


def test_kinds_whose_layers_take_no_adapters_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the library installed they would be loaded, and no layer found."""
    from transformers.quantizers.quantizer_gptq import GptqHfQuantizer

    monkeypatch.setattr(
        GptqHfQuantizer, "__init__", lambda self, config, **_: setattr(self, "quantization_config", config)
    )
    monkeypatch.setattr(GptqHfQuantizer, "validate_environment", lambda *_, **__: None)
    with pytest.raises(InputError, match=r"align\.model: m is quantised \(gptq\).*bitsandbytes"):
        check_trains("align", "m", {"quantization_config": KINDS["optimum"]}, lora=True)


@pytest.fixture(scope="module")
def fp8(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny model, and the same one with the language model's weights in 8 bits."""
    plain = save_model(tmp_path_factory.mktemp("models") / "plain")
    folder = plain.with_name("fp8")
    folder.mkdir()
    for file in plain.iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    weights: dict[str, torch.Tensor] = {}
    for name, weight in load_file(plain / "model.safetensors").items():
        weights[name] = weight
        if "language_model" in name and name.endswith("proj.weight"):
            scale = weight.abs().max() / 448
            weights[name] = (weight / scale).to(torch.float8_e4m3fn)
            weights[f"{name}_scale_inv"] = scale.reshape(1, 1)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": FP8}))
    return plain, folder


def test_a_quantised_model_is_loaded_where_transformers_can(fp8: tuple[Path, Path]) -> None:
    plain, quantised = (load_model(str(folder), device="cpu").model for folder in fp8)
    for name, weight in plain.named_parameters():
        other = quantised.get_parameter(name)
        assert torch.allclose(weight, other, rtol=0.07, atol=1e-3), name
    changed = [
        name for name, weight in plain.named_parameters() if not torch.equal(weight, quantised.get_parameter(name))
    ]
    assert changed and all("language_model" in name for name in changed)


def test_adapters_train_on_a_quantised_model(fp8: tuple[Path, Path], tmp_path: Path) -> None:
    from seelevel.training.fit import fit

    ladders = [make_ladder(tmp_path, seed) for seed in range(2)]
    settings = TrainSettings(lora=LoraSettings(r=2), epochs=1, ladders_per_step=2, cache=False, device="cpu")
    facts = fit(ladders, str(fp8[1]), settings, tmp_path / "out")
    assert facts["steps"] == 1
    assert load_model(str(tmp_path / "out" / "adapter"), device="cpu").parameters > 0

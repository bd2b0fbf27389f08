"""An adapter arrives whole on its base, whoever made it, or one line says why it cannot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from seelevel.errors import InputError
from seelevel.models import load_model
from seelevel.models.base import Prompt, Sampling
from seelevel.models.processor import check_reads
from seelevel.training.fit import fit
from seelevel.training.settings import TrainSettings
from tests.training.tiny import make_ladder, make_picture, save_model

WEIGHTS = "adapter_model.safetensors"
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dora": {"use_dora": True},
    "rslora": {"use_rslora": True},
    "saved": {"modules_to_save": ["multi_modal_projector"]},
    "ranks": {"rank_pattern": {"v_proj": 2}, "alpha_pattern": {"v_proj": 4}},
    "regex": {"target_modules": r".*language_model.*\.(q_proj|up_proj)"},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "base")


def make_adapter(base: Path, folder: Path, **settings: Any) -> Any:
    """An adapter with weights that change the answers; returns the model with it on."""
    torch.manual_seed(0)
    chosen = {"r": 4, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False} | settings
    model = get_peft_model(load_model(str(base)).model, LoraConfig(**chosen))
    for name, weight in model.named_parameters():
        if "lora_" in name and "magnitude" not in name:
            weight.data.normal_(std=0.3)
        elif "modules_to_save" in name:
            weight.data.add_(0.1 * torch.randn_like(weight))
    model.save_pretrained(folder)
    return model.eval()


def renamed(folder: Path, old: str, new: str) -> None:
    weights = load_file(folder / WEIGHTS)
    save_file({name.replace(old, new): weight for name, weight in weights.items()}, folder / WEIGHTS, {"format": "pt"})


def same(loaded: Any, made: Any) -> bool:
    weights = dict(made.named_parameters())
    adapted = {name: w for name, w in loaded.named_parameters() if "lora_" in name or "modules_to_save" in name}
    return bool(adapted) and all(torch.equal(weight, weights[name]) for name, weight in adapted.items())


@pytest.mark.unit
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_lora_is_loaded_to_answer(base: Path, tmp_path: Path, kind: str) -> None:
    made = make_adapter(base, tmp_path / "a", **KINDS[kind])
    check_reads(str(tmp_path / "a"), download=False)
    loaded = load_model(str(tmp_path / "a"))
    assert same(loaded.model, made)
    prompt = Prompt([{"role": "user", "content": "<image>\nIs there a boat?"}], [make_picture(tmp_path, 0)])
    assert loaded.generate([prompt], Sampling(max_new_tokens=4))[0].tokens


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_lora_is_trained_on(base: Path, tmp_path: Path, kind: str) -> None:
    make_adapter(base, tmp_path / "a", **KINDS[kind])
    before = load_file(tmp_path / "a" / WEIGHTS)
    ladders = [make_ladder(tmp_path, seed) for seed in range(2)]
    settings = TrainSettings(epochs=1, ladders_per_step=2, cache=False, device="cpu", warmup_steps=0)
    facts = fit(ladders, str(tmp_path / "a"), settings, tmp_path / "out")
    after = load_file(tmp_path / "out" / "adapter" / WEIGHTS)
    assert facts["trained_weights"] > 0 and {*after} == {*before}
    assert any(not torch.equal(after[name], before[name]) for name in before)
    assert load_model(str(tmp_path / "out" / "adapter"), device="cpu").parameters > 0


@pytest.mark.unit
def test_names_of_an_older_transformers_find_their_layers(base: Path, tmp_path: Path) -> None:
    """q_proj is in the language model and in the vision tower; both have had other names."""
    made = make_adapter(base, tmp_path / "a")
    renamed(tmp_path / "a", "base_model.model.model.language_model.", "base_model.model.language_model.model.")
    renamed(tmp_path / "a", "base_model.model.model.vision_tower.", "base_model.model.vision_tower.")
    assert any("vision_tower" in name for name in load_file(tmp_path / "a" / WEIGHTS))
    check_reads(str(tmp_path / "a"), download=False)
    assert same(load_model(str(tmp_path / "a")).model, made)


@pytest.mark.unit
def test_another_chat_template_beside_an_adapter_is_not_used_and_it_is_said(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_adapter(base, tmp_path / "a")
    shutil.copy(base / "chat_template.jinja", tmp_path / "a")
    check_reads(str(tmp_path / "a"), download=False)
    assert "differs" not in capsys.readouterr().err
    (tmp_path / "a" / "chat_template.jinja").write_text("{{ messages }}")
    check_reads(str(tmp_path / "a"), download=False)
    assert f"adapter {tmp_path / 'a'}: chat_template.jinja differs" in capsys.readouterr().err


@pytest.mark.unit
class TestAdaptersOfAnotherModel:
    """PEFT would leave their weights out with a warning."""

    def refused(self, folder: Path, *parts: str) -> None:
        for act in (lambda: check_reads(str(folder), download=False), lambda: load_model(str(folder))):
            with pytest.raises(InputError) as caught:
                act()
            assert "\n" not in str(caught.value)
            assert all(part in str(caught.value) for part in (str(folder), "adapter_config.json", *parts))

    def test_weights_that_find_no_layer(self, base: Path, tmp_path: Path) -> None:
        make_adapter(base, tmp_path / "a")
        renamed(tmp_path / "a", "language_model", "other_model")
        self.refused(tmp_path / "a", "8 of its weights")

    def test_weights_of_layers_that_are_not_targets(self, base: Path, tmp_path: Path) -> None:
        make_adapter(base, tmp_path / "a")
        config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
        (tmp_path / "a" / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["q_proj"]}))
        self.refused(tmp_path / "a", "8 of its weights", "target_modules")

    def test_another_width(self, base: Path, tmp_path: Path) -> None:
        make_adapter(base, tmp_path / "a")
        config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
        (tmp_path / "a" / "adapter_config.json").write_text(json.dumps(config | {"r": 8}))
        self.refused(tmp_path / "a", "size mismatch")

    def test_layers_that_the_base_lacks(self, base: Path, tmp_path: Path) -> None:
        make_adapter(base, tmp_path / "a")
        config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
        (tmp_path / "a" / "adapter_config.json").write_text(json.dumps(config | {"target_modules": "qkv.*"}))
        self.refused(tmp_path / "a", "qkv")


@pytest.mark.unit
def test_a_run_says_which_base_is_gone(base: Path, tmp_path: Path) -> None:
    from seelevel.pipeline import Run
    from seelevel.recipe import load_recipe

    shutil.copytree(base, tmp_path / "base")
    make_adapter(tmp_path / "base", tmp_path / "a")
    Run(load_recipe("world-quick", [f"generate.experts=[{tmp_path / 'a'}]"]), tmp_path / "run").plan()
    (tmp_path / "base").rename(tmp_path / "moved")
    for key in ("align.model", "generate.experts"):
        value = tmp_path / "a" if key == "align.model" else f"[{tmp_path / 'a'}]"
        with pytest.raises(InputError) as caught:
            Run(load_recipe("world-quick", [f"{key}={value}"]), tmp_path / "run").plan()
        assert all(str(part) in str(caught.value) for part in (tmp_path / "a", tmp_path / "base"))

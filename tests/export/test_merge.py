"""Merged weights answer as the base with its adapter, in files that stand as the base's stand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from seelevel.errors import InputError
from seelevel.export import weights as module
from seelevel.export.weights import Rounding, copy_full, merge
from seelevel.models.weights import MODEL, safetensors_header, weight_files
from seelevel.training.loading import with_lora
from seelevel.training.settings import LoraSettings
from tests.export.plain import Task, answers
from tests.families.test_zoo import row
from tests.families.zoo import FAMILIES, build
from tests.models.test_adapters import make_adapter
from tests.training.tiny import save_model

EXPERTS = ["q_proj", "experts.gate_up_proj", "experts.down_proj"]
ZOO: dict[str, Any] = {"qwen2_5_vl": "attention+mlp", "gemma3": "attention+mlp", "qwen3_vl_moe": EXPERTS}


def headers(folder: Path) -> dict[str, tuple[str, list[int]]]:
    found = [safetensors_header(file) for file in weight_files(folder, MODEL)]
    return {name: (tensor["dtype"], tensor["shape"]) for part in found for name, tensor in part.items()}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "base")


def in_bfloat16(base: Path, folder: Path) -> Path:
    """The same model, stored in bfloat16."""
    shutil.copytree(base, folder)
    coarse = {name: weight.bfloat16() for name, weight in load_file(base / MODEL).items()}
    save_file(coarse, folder / MODEL, {"format": "pt"})
    config = json.loads((folder / "config.json").read_text()) | {"dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("name", ZOO)
def test_a_family_answers_the_same_merged_in_a_plain_process(tmp_path: Path, name: str) -> None:
    family, model = FAMILIES[name], build(name).float().eval()
    model.save_pretrained(tmp_path / "base")
    torch.manual_seed(0)
    adapted = with_lora(model, LoraSettings(r=4, target=ZOO[name])).eval()
    for key, weight in adapted.named_parameters():
        if ".lora_" in key:
            weight.data.normal_(std=0.2)
    adapted.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    adapted.save_pretrained(tmp_path / "adapter")
    ids, pictures, prefix = row(family, 1)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **pictures, **family.beside(ids, prefix)}
    inputs = {key: value.float() if value.is_floating_point() else value for key, value in inputs.items()}
    save_file(inputs, tmp_path / "inputs.safetensors")
    with torch.no_grad():
        wanted = adapted.generate(**inputs, max_new_tokens=24, do_sample=False)[0].tolist()
        with adapted.disable_adapter():
            assert adapted.generate(**inputs, max_new_tokens=24, do_sample=False)[0].tolist() != wanted
    (tmp_path / "out").mkdir()
    assert merge(tmp_path / "base", tmp_path / "adapter", tmp_path / "out") == Rounding("F32")
    shutil.copy(tmp_path / "base" / "config.json", tmp_path / "out")
    assert headers(tmp_path / "out") == headers(tmp_path / "base")
    assert answers(Task(str(tmp_path / "out"), inputs=str(tmp_path / "inputs.safetensors"))) == [[wanted]]


def test_bfloat16_weights_are_rounded_once(base: Path, tmp_path: Path) -> None:
    coarse = in_bfloat16(base, tmp_path / "coarse")
    made = make_adapter(coarse, tmp_path / "adapter", init_lora_weights=False)
    (tmp_path / "out").mkdir()
    rounding = merge(coarse, tmp_path / "adapter", tmp_path / "out")
    assert rounding.dtype == "BF16" and rounding.lost is not None and 0 < rounding.lost < 0.05
    assert headers(tmp_path / "out") == headers(coarse)
    before, after = load_file(coarse / MODEL), load_file(tmp_path / "out" / MODEL)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    layers = {name: layer for name, layer in made.named_modules() if hasattr(layer, "lora_A")}
    assert len(changed) == len(layers) > 0
    for name, layer in layers.items():
        [file] = [
            n
            for n in changed
            if n.endswith(f"{name.partition('layers.')[2]}.weight") and ("vision" in n) == ("vision" in name)
        ]
        exact = before[file].float() + layer.get_delta_weight("default").detach()
        assert torch.equal(after[file], exact.bfloat16())


def test_a_narrower_format_rounds_once_too(base: Path, tmp_path: Path) -> None:
    """Not the base first, and then the sum."""
    make_adapter(base, tmp_path / "adapter")
    for place, dtype in (("wide", None), ("narrow", "BF16")):
        (tmp_path / place).mkdir()
        rounding = merge(base, tmp_path / "adapter", tmp_path / place, dtype)
    assert rounding.dtype == "BF16" and rounding.lost is not None and rounding.lost > 0
    wide, narrow = (load_file(tmp_path / place / MODEL) for place in ("wide", "narrow"))
    assert all(torch.equal(weight.bfloat16(), narrow[name]) for name, weight in wide.items())


def test_another_number_format_is_not_rounded_to_the_bases(base: Path, tmp_path: Path) -> None:
    coarse = in_bfloat16(base, tmp_path / "coarse")
    make_adapter(coarse, tmp_path / "adapter")
    (tmp_path / "out").mkdir()
    assert merge(coarse, tmp_path / "adapter", tmp_path / "out", "F32") == Rounding("F32")
    assert {kind for kind, _ in headers(tmp_path / "out").values()} == {"F32"}


def test_weights_in_several_files_have_an_index(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD_BYTES", 40_000)
    copy_full(base, base, tmp_path)
    assert not (tmp_path / MODEL).exists() and len(weight_files(tmp_path, MODEL)) > 2
    shards = [load_file(file) for file in weight_files(tmp_path, MODEL)]
    joined = {name: weight for shard in shards for name, weight in shard.items()}
    stored = load_file(base / MODEL)
    assert {*joined} == {*stored} and all(torch.equal(joined[name], stored[name]) for name in stored)


@pytest.mark.unit
def test_what_the_model_does_not_load_stays_and_a_weight_stored_twice_is_written_twice(
    base: Path, tmp_path: Path
) -> None:
    stored = load_file(base / MODEL)
    head = next(name for name, weight in stored.items() if "lm_head" in name)
    old = {**stored, "mtp.proj.weight": torch.ones(3, 4), "again.weight": stored[head].clone()}
    shutil.copytree(base, tmp_path / "old")
    save_file(old, tmp_path / "old" / MODEL, {"format": "pt"})
    shutil.copytree(base, tmp_path / "new")
    save_file({**stored, head: stored[head] + 1}, tmp_path / "new" / MODEL, {"format": "pt"})
    (tmp_path / "out").mkdir()
    copy_full(tmp_path / "new", tmp_path / "old", tmp_path / "out")
    written = load_file(tmp_path / "out" / MODEL)
    assert {*written} == {*old}
    assert torch.equal(written["mtp.proj.weight"], torch.ones(3, 4))
    assert torch.equal(written["again.weight"], stored[head] + 1)


@pytest.mark.unit
class TestRefused:
    def refused(self, base: Path, adapter: Path, out: Path) -> str:
        out.mkdir()
        with pytest.raises(InputError) as caught:
            merge(base, adapter, out)
        message = str(caught.value)
        assert "\n" not in message and "--adapter" in message
        return message

    def test_a_quantised_base(self, base: Path, tmp_path: Path) -> None:
        make_adapter(base, tmp_path / "adapter")
        shutil.copytree(base, tmp_path / "base")
        config = json.loads((base / "config.json").read_text())
        config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
        (tmp_path / "base" / "config.json").write_text(json.dumps(config))
        message = self.refused(tmp_path / "base", tmp_path / "adapter", tmp_path / "out")
        assert str(tmp_path / "base") in message and "gptq" in message

    def test_an_adapter_that_peft_cannot_merge(self, base: Path, tmp_path: Path) -> None:
        make_adapter(base, tmp_path / "adapter", alora_invocation_tokens=[1, 2], task_type="CAUSAL_LM")
        message = self.refused(base, tmp_path / "adapter", tmp_path / "out")
        assert str(tmp_path / "adapter") in message and "LORA" in message

    def test_an_adapter_of_embeddings_that_the_head_shares(self, base: Path, tmp_path: Path) -> None:
        from seelevel.models.local import LocalModel

        tied = tmp_path / "tied"
        shutil.copytree(base, tied)
        model = LocalModel.load(str(base), device="cpu").model
        model.config.text_config.tie_word_embeddings = model.config.tie_word_embeddings = True
        model.tie_weights()
        model.save_pretrained(tied)
        make_adapter(tied, tmp_path / "adapter", target_modules=["embed_tokens"])
        message = self.refused(tied, tmp_path / "adapter", tmp_path / "out")
        assert "embed_tokens" in message

    def test_weights_under_other_names(self, base: Path, tmp_path: Path) -> None:
        shutil.copytree(base, tmp_path / "new")
        stored = load_file(base / MODEL)
        save_file({f"x.{name}": weight for name, weight in stored.items()}, tmp_path / "new" / MODEL, {"format": "pt"})
        (tmp_path / "out").mkdir()
        with pytest.raises(InputError, match="under another name"):
            copy_full(tmp_path / "new", base, tmp_path / "out")

"""The parts of every family are found by structure: what adapters go on, what is frozen, what trains."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from seelevel.errors import InputError
from seelevel.training.loading import freeze_vision, with_lora
from seelevel.training.requirements import check_training
from seelevel.training.settings import LoraSettings, TrainSettings
from seelevel.training.structure import parts
from tests.families.parts import PARTS
from tests.families.test_zoo import forward, row
from tests.families.zoo import FAMILIES, build

EXPERTS = [name for name, known in PARTS.items() if known.experts]
PEFT_TRANSLATES = ["glm4v_moe"]
"""Families whose layers PEFT takes for those of an older transformers."""


@pytest.fixture(params=PARTS)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def names_of(model: Any, weights: list[torch.nn.Parameter]) -> set[str]:
    inside = {id(p) for p in weights}
    return {name for name, p in model.named_parameters() if id(p) in inside}


def logits(name: str, model: Any) -> torch.Tensor:
    kind = FAMILIES[name]
    ids, pictures, prefix = row(kind, 1)
    found: torch.Tensor = forward(kind, model, ids, pictures, prefix, use_cache=False).logits
    return found


def adapters(model: Any) -> set[str]:
    """Full names of the layers with adapters."""
    return {
        name.removeprefix("base_model.model.").partition(".lora_A.")[0]
        for name, _ in model.named_parameters()
        if ".lora_A." in name
    }


def leaves(names: set[str]) -> set[str]:
    return {name.rpartition(".")[2] for name in names}


def test_tower_projector_and_decoder_are_told_apart(family: str) -> None:
    model, known = build(family), PARTS[family]
    found = parts(model)
    everything = {name for name, _ in model.named_parameters()}
    projector = {name for name in everything if name.startswith(known.projector)}
    assert projector and names_of(model, found.projector) == projector
    assert names_of(model, found.tower) == {n for n in everything if n.startswith(known.tower)} - projector
    decoder = {name for name in everything if name.startswith(f"{known.decoder}")}
    assert names_of(model, list(found.decoder.parameters())) <= decoder
    assert len(found.layers) == model.config.get_text_config().num_hidden_layers


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_of_the_zoo_has_layers_and_no_weight_in_two_parts(name: str) -> None:
    model = build(name)
    found = parts(model)
    decoder = {id(p) for p in found.decoder.parameters()}
    tower, projector = {id(p) for p in found.tower}, {id(p) for p in found.projector}
    assert len(found.layers) >= 2
    assert not decoder & tower and not decoder & projector and not tower & projector


def test_attention_puts_adapters_on_the_mixers_of_all_layers(family: str) -> None:
    known = PARTS[family]
    model = with_lora(build(family), LoraSettings(r=2, target="attention"))
    found = adapters(model)
    assert leaves(found) == {*known.mixer.split()}
    assert all(name.startswith(known.decoder) for name in found)
    numbers = {name.partition(".layers.")[2].partition(".")[0] for name in found}
    assert len(numbers) == model.config.get_text_config().num_hidden_layers


@pytest.mark.parametrize("family", [name for name in PARTS if name not in PEFT_TRANSLATES])
def test_attention_and_mlp_puts_adapters_on_every_linear_layer_but_routers(family: str) -> None:
    known = PARTS[family]
    plain = build(family)
    tied = plain.get_output_embeddings().weight is plain.get_input_embeddings().weight
    decoder = next(name for name, module in plain.named_modules() if module is parts(plain).layers)
    linear = {n for n, module in plain.named_modules() if isinstance(module, torch.nn.Linear) and n.startswith(decoder)}
    found = adapters(model := with_lora(plain, LoraSettings(r=2)))
    assert leaves(found) == {*known.mixer.split(), *known.mlp.split()}
    assert leaves(linear - found) <= {"router", "shared_expert_gate", "proj"}  # proj: of Gemma's router
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    assert type(head) is torch.nn.Linear
    assert (head.weight is embeddings.weight) == tied
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        name for name, _ in model.named_parameters() if ".lora_" in name
    }


@pytest.mark.parametrize("family", [name for name in PARTS if name not in PEFT_TRANSLATES])
def test_every_adapter_gets_a_gradient(family: str) -> None:
    model = with_lora(build(family), LoraSettings(r=2))
    logits(family, model).square().mean().backward()
    dead = {
        name for name, p in model.named_parameters() if "lora_B" in name and not (p.grad is not None and p.grad.any())
    }
    assert leaves({name.partition(".lora_B")[0] for name in dead}) <= {"k_proj", "q_proj"}, dead


def test_a_frozen_tower_stays_and_projector_and_decoder_train(family: str) -> None:
    model = build(family)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    freeze_vision(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    logits(family, model).square().mean().backward()
    torch.optim.SGD(trained, lr=0.1).step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    tower = names_of(model, parts(model).tower)
    assert tower and not moved & tower
    assert any(name.startswith(PARTS[family].projector) for name in moved)
    assert any(name.startswith(PARTS[family].decoder) for name in moved)


@pytest.mark.parametrize("family", ["internvl", "gemma3", "gemma4", "paligemma", "lfm2_vl", "cohere2_vision", "ovis2"])
def test_a_tied_matrix_trains_once_and_stays_tied(family: str) -> None:
    model = build(family)
    freeze_vision(model)
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    assert head.weight is embeddings.weight
    matrix, before = head.weight, head.weight.detach().clone()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert sum(p is matrix for p in trained) == 1
    logits(family, model).square().mean().backward()
    gradient = matrix.grad.clone()
    torch.optim.SGD(trained, lr=0.1).step()
    torch.testing.assert_close(matrix.detach(), before - 0.1 * gradient, rtol=0, atol=1e-14)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_the_check_before_training_accepts_what_training_accepts(family: str, tmp_path: Path) -> None:
    """All names of the decoder; but no name of the tower alone, and none that is nowhere."""
    (tmp_path / "config.json").write_text(json.dumps(FAMILIES[family].config().to_dict()))
    known, model = PARTS[family], build(family)
    inside = {*known.mixer.split(), *known.mlp.split(), *known.experts.split()}
    every = LoraSettings(target=sorted(inside))
    check_training("align", TrainSettings(device="cpu", lora=every), str(tmp_path))
    tower = {n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n.startswith(known.tower)}
    for name in (*sorted(leaves(tower) - inside)[:1], "qproj"):
        asked = LoraSettings(target=[name])
        with pytest.raises(InputError, match=rf"base\.lora\.target: .* no linear layer '{name}'; (did|known)"):
            check_training("base", TrainSettings(device="cpu", lora=asked), str(tmp_path))
        with pytest.raises(InputError, match=rf"align\.lora\.target: .* no linear layer '{name}'; (did|known)"):
            with_lora(model, asked)


@pytest.mark.parametrize(("family", "router"), [("llama4", "router"), ("qwen3_5_moe", "shared_expert_gate")])
def test_a_router_never_gets_adapters(family: str, router: str) -> None:
    with pytest.raises(InputError, match=f"no linear layer '{router}'"):
        with_lora(build(family), LoraSettings(target=["q_proj", router]))


@pytest.mark.parametrize("family", [name for name in EXPERTS if name not in PEFT_TRANSLATES])
def test_experts_get_no_adapters_unless_they_are_named(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_lora(build(family), LoraSettings(r=2))
    said = capsys.readouterr().err + capsys.readouterr().out
    assert "experts.gate_up_proj and " in said and "get no adapters" in said
    model = with_lora(build(family), LoraSettings(r=2, target=["q_proj", "experts.gate_up_proj", "experts.down_proj"]))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(generator=torch.Generator().manual_seed(1))
    moved = logits(family, model)
    moved.square().mean().backward()
    assert all(
        p.grad is not None and p.grad.any() for n, p in model.named_parameters() if "experts" in n and "lora" in n
    )
    with torch.no_grad(), model.disable_adapter():
        assert (logits(family, model) - moved).abs().max() > 1e-2
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(build(family), tmp_path).train()
    with torch.no_grad():
        assert torch.equal(logits(family, again), moved)


def test_adapters_of_experts_refuse_dropout_in_one_line() -> None:
    with pytest.raises(InputError, match=r"align\.lora\.dropout: adapters of experts"):
        with_lora(build("qwen3_vl_moe"), LoraSettings(dropout=0.1, target=["experts.gate_up_proj"]))


@pytest.mark.parametrize("family", PEFT_TRANSLATES)
def test_layers_that_peft_would_exchange_are_refused(family: str) -> None:
    with pytest.raises(InputError, match=f"PEFT adapts other layers of {family} than asked"):
        with_lora(build(family), LoraSettings(r=2))


def test_llavas_adapters_are_those_that_the_names_chose() -> None:
    plain = build("llava")
    linear = {name for name, module in plain.named_modules() if isinstance(module, torch.nn.Linear)}
    old = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
    chosen = {name for name in linear if re.fullmatch(old, name)}
    assert adapters(with_lora(plain, LoraSettings(r=2))) == chosen


def test_a_dotted_name_is_one_place() -> None:
    model = with_lora(build("qwen3_5"), LoraSettings(r=2, target=["linear_attn.out_proj"]))
    assert adapters(model) == {f"model.language_model.layers.{n}.linear_attn.out_proj" for n in (0, 1, 2)}


def test_a_model_without_a_tower_says_that_nothing_is_frozen(capsys: pytest.CaptureFixture[str]) -> None:
    model = build("fuyu")
    freeze_vision(model)
    output = capsys.readouterr()
    assert "has no vision tower, so nothing is frozen" in output.err + output.out
    assert all(p.requires_grad for p in model.parameters())

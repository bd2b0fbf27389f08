"""Compiled layers: the same log-probs and gradients, one compilation for all layers and all lengths, the same files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from torch._dynamo.utils import counters

from seelevel.errors import InputError
from seelevel.ladder import Ladder
from seelevel.training import loading
from seelevel.training.compiling import compile_layers, do_not_compile, is_compiled, uncompiled
from seelevel.training.fit import Job, fit
from seelevel.training.loading import with_lora
from seelevel.training.logprobs import Policy, token_logprobs
from seelevel.training.packing import Batch, collate
from seelevel.training.packing.passes import recompute_layers
from seelevel.training.packing.tokens import ImageReader, tokenise
from seelevel.training.rounding import stirred
from seelevel.training.settings import LoraSettings, TrainSettings
from tests.training.tiny import in_float64, make_ladder, make_model, make_processor, save_model

LORA = LoraSettings(r=4, alpha=8)


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    """Compilations of earlier tests do not count."""
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def compiled_graphs() -> int:
    return int(counters["stats"]["unique_graphs"])


def a_model(layers: int = 2, dtype: torch.dtype = torch.float64, lora: bool = False) -> Any:
    model = make_model(make_processor(), dtype=dtype, num_hidden_layers=layers)
    if lora:
        model = with_lora(model, LORA)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
    return model.to(dtype).train()


def a_batch(folder: Path, seeds: tuple[int, ...], k: int = 3, answers: int | None = None) -> Batch:
    processor = make_processor()
    images = ImageReader(processor)
    ladders = [tokenise(make_ladder(folder, seed, k), processor, images) for seed in seeds]
    return in_float64(collate(ladders, images, "shared", answers))


def results(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Log-probs, and the gradient of a weighted sum of them as one vector."""
    model.zero_grad()
    values = token_logprobs(Policy(model), batch).values
    (values * torch.linspace(-1, 2, len(values), dtype=values.dtype)).sum().backward()
    trained = [p for p in model.parameters() if p.grad is not None]
    return values.detach(), torch.cat([p.grad.flatten() for p in trained])  # type: ignore[union-attr]


def assert_same(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], bound: float = 1e-9) -> None:
    assert (one[0] - other[0]).abs().max() <= bound
    assert (one[1] - other[1]).norm() <= 1e-5 * other[1].norm()


@pytest.mark.slow
def test_log_probs_and_gradients_are_those_of_plain_layers(tmp_path: Path) -> None:
    """With adapters, answers in groups, activations checkpointed; and without adapters, as for the reference."""
    plain, model, batch = a_model(lora=True), a_model(lora=True), a_batch(tmp_path, (0, 1), answers=2)
    compile_layers(model, "aot_eager")
    assert is_compiled(model)
    recompute_layers(model)
    assert_same(results(model, batch), results(plain, batch))
    assert compiled_graphs() > 0
    with torch.no_grad(), model.disable_adapter(), plain.disable_adapter():
        one, other = (token_logprobs(part, batch).values for part in (model, plain))
        assert (one - other).abs().max() <= 1e-9


@pytest.mark.slow
def test_other_layers_and_other_lengths_compile_nothing(tmp_path: Path) -> None:
    graphs = {}
    for layers in (1, 3):
        torch._dynamo.reset()
        counters.clear()
        model = a_model(layers)
        compile_layers(model, "eager")
        results(model, a_batch(tmp_path, (1, 2)))
        graphs[layers] = compiled_graphs()
        results(model, a_batch(tmp_path, (4, 5), k=4))
        assert compiled_graphs() == graphs[layers]
    assert graphs[1] == graphs[3]


def test_uncompiled_layers_run_as_they_are(tmp_path: Path) -> None:
    model, batch = a_model(), a_batch(tmp_path, (0,))
    names = [*model.state_dict()]
    plain = results(model, batch)
    compile_layers(model, "eager")
    assert [*model.state_dict()] == names
    with uncompiled():
        results(model, batch)
    assert compiled_graphs() == 0
    do_not_compile(model)
    assert not is_compiled(model)
    assert torch.equal(results(model, batch)[0], plain[0])
    assert compiled_graphs() == 0


@pytest.mark.slow
def test_rounding_is_measured_on_uncompiled_layers(tmp_path: Path) -> None:
    model, batch = a_model(dtype=torch.float32).eval(), a_batch(tmp_path, (0,))
    with torch.no_grad():
        with stirred(model, 0):
            moved = token_logprobs(model, batch).values
        compile_layers(model, "eager")
        plain = token_logprobs(model, batch).values
        with stirred(model, 0):
            again = token_logprobs(model, batch).values
    assert compiled_graphs() > 0
    assert torch.equal(again, moved)
    assert not torch.equal(again, plain)


def some_ladders(folder: Path, count: int = 4) -> list[Ladder]:
    return [make_ladder(folder, seed, k=2 + seed % 3) for seed in range(count)]


def settings(**changes: Any) -> TrainSettings:
    plain = {"ladders_per_step": 2, "epochs": 1, "learning_rate": 3e-3, "device": "cpu", "cache": False}
    return TrainSettings(**{**plain, **changes})


def saved(file: Path) -> dict[str, Tensor]:
    with safe_open(file, "pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)


@pytest.mark.slow
def test_training_ends_with_the_weights_of_plain_layers(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(loading, "compile_layers", lambda model: compile_layers(model, "eager"))
    base, ladders, ends = save_model(tmp_path / "base"), some_ladders(tmp_path), []
    for compiled in (False, True):
        out = tmp_path / str(compiled)
        fit(ladders, str(base), settings(compile=compiled), out)
        ends.append(saved(out / "model/model.safetensors"))
    assert compiled_graphs() > 0
    plain, one = ends
    assert plain.keys() == one.keys()
    assert all(torch.allclose(plain[name], one[name], atol=1e-4) for name in plain)


@pytest.mark.slow
def test_a_compiler_that_is_wrong_is_not_used(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    def wrong(graph: Any, inputs: Any) -> Any:
        return lambda *values: tuple(
            v * 1.01 if isinstance(v, Tensor) and v.is_floating_point() else v for v in graph(*values)
        )

    monkeypatch.setattr(loading, "compile_layers", lambda model: compile_layers(model, wrong))
    fit(some_ladders(tmp_path), str(save_model(tmp_path / "base")), settings(compile=True), tmp_path / "out")
    assert "align.compile: not compiled, because log-probs differ by" in capsys.readouterr().err


def test_a_compiler_that_is_missing_is_an_error_with_a_remedy(tmp_path: Path, monkeypatch: Any) -> None:
    def missing(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(loading, "compile_layers", lambda model: compile_layers(model, missing))
    base = save_model(tmp_path / "base")
    with pytest.raises(InputError, match=r"align\.compile: .*no C\+\+ compiler.*; set it to false"):
        fit(some_ladders(tmp_path), str(base), settings(compile=True), tmp_path / "out")


@pytest.mark.unit
@pytest.mark.parametrize(("dropout", "same"), [(0.0, True), (0.1, False)])
def test_compiling_is_another_training_only_with_dropout(tmp_path: Path, dropout: float, same: bool) -> None:
    lora = LoraSettings(dropout=dropout)
    keys = [Job([], "m", settings(lora=lora, compile=on), tmp_path, 0, "").key for on in (False, True)]
    assert (keys[0] == keys[1]) == same


@pytest.mark.unit
@pytest.mark.parametrize(("dropout", "same"), [(0.0, True), (0.1, False)])
def test_an_adapter_that_trains_on_keeps_its_dropout(tmp_path: Path, dropout: float, same: bool) -> None:
    config = {"base_model_name_or_path": str(tmp_path / "base"), "lora_dropout": dropout}
    (tmp_path / "base").mkdir()
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    (tmp_path / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    keys = [Job([], str(tmp_path), settings(compile=on), tmp_path, 0, "").key for on in (False, True)]
    assert (keys[0] == keys[1]) == same


@pytest.mark.slow
@pytest.mark.everywhere
def test_inductor_computes_the_same(tmp_path: Path) -> None:
    """The layers' norms are in float32 whatever the model's type is, and a fused one rounds in another place."""
    plain, model, batch = a_model(1), a_model(1), a_batch(tmp_path, (0, 1), answers=2)
    compile_layers(model)
    assert_same(results(model, batch), results(plain, batch), bound=1e-6)

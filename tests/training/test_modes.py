"""Full weights, adapters, checkpointing, bfloat16, an adapter trained on: each trains and resumes as it promises."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from seelevel.errors import InputError
from seelevel.ladder import Ladder
from seelevel.models.local import LocalModel
from seelevel.training.fit import fit
from seelevel.training.settings import TrainSettings
from seelevel.training.trainer import PreferenceTrainer
from tests.training.tiny import make_ladder
from tests.training.weights import share_of_the_way

LORA = {"r": 4, "alpha": 8}
MODES: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": {"lora": LORA},
    "checkpointed": {"gradient_checkpointing": True},
    "checkpointed lora": {"gradient_checkpointing": True, "lora": LORA},
    "bfloat16": {"dtype": "bfloat16"},
    "bfloat16 lora": {"dtype": "bfloat16", "lora": LORA},
}


@pytest.fixture(scope="module")
def ladders(tmp_path_factory: pytest.TempPathFactory) -> list[Ladder]:
    folder = tmp_path_factory.mktemp("pictures")
    return [make_ladder(folder, seed, k=2 + seed % 3) for seed in range(6)]


def settings(**changes: Any) -> TrainSettings:
    plain = {"ladders_per_step": 3, "epochs": 4, "save_steps": 2, "learning_rate": 3e-3, "device": "cpu"}
    return TrainSettings(**{**plain, **changes})


def contents(folder: Path) -> dict[str, str]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def log(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


class Killed(Exception):
    """Stands for the power going off."""


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Training dies in its sixth step, until `dying()` is called."""
    whole = PreferenceTrainer.training_step

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 5:
            raise Killed
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(PreferenceTrainer, "training_step", step)
    yield lambda: monkeypatch.setattr(PreferenceTrainer, "training_step", whole)


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_learns_and_resumes_to_the_same_bytes(
    base: Path, ladders: list[Ladder], tmp_path: Path, dying: Any, mode: str
) -> None:
    asked = settings(**MODES[mode])
    with pytest.raises(Killed):
        fit(ladders, str(base), asked, tmp_path / "cut", seed=1)
    dying()
    fit(ladders, str(base), asked, tmp_path / "whole", seed=1)
    fit(ladders, str(base), asked, tmp_path / "cut", seed=1)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    first, *_, last = log(tmp_path / "whole")
    assert last["loss"] < first["loss"]


@pytest.mark.parametrize("mode", ["lora", "checkpointed", "checkpointed lora", "bfloat16"])
def test_in_every_mode_both_layouts_take_the_same_first_steps(
    base: Path, ladders: list[Ladder], tmp_path: Path, mode: str
) -> None:
    tolerance = 0.03 if "bfloat16" in mode else 1e-4
    logs = []
    for layout in ("shared", "rows"):
        asked = settings(layout=layout, epochs=1, **MODES[mode])
        facts = fit(ladders, str(base), asked, tmp_path / layout, seed=1)
        assert facts["layout"] == layout
        logs.append(log(tmp_path / layout))
    for shared, rows in zip(*logs, strict=True):
        assert shared["loss"] == pytest.approx(rows["loss"], rel=tolerance, abs=tolerance)
        assert shared["grad_norm"] == pytest.approx(rows["grad_norm"], rel=10 * tolerance)


def test_checkpointing_changes_memory_and_nothing_else(base: Path, ladders: list[Ladder], tmp_path: Path) -> None:
    for name, on in (("off", False), ("on", True)):
        fit(ladders, str(base), settings(epochs=1, gradient_checkpointing=on), tmp_path / name, seed=1)
    assert share_of_the_way(tmp_path / "on" / "model", tmp_path / "off" / "model", base) <= 1e-3


def adapter_weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "adapter" / "adapter_model.safetensors")


def test_an_adapter_is_trained_on_from_where_it_is(
    base: Path, ladders: list[Ladder], tmp_path: Path, dying: Any
) -> None:
    dying()
    fit(ladders, str(base), settings(lora=LORA), tmp_path / "first", seed=1)
    start = tmp_path / "first" / "adapter"
    facts = fit(ladders, str(start), settings(), tmp_path / "second", seed=1)
    before, after = adapter_weights(tmp_path / "first"), adapter_weights(tmp_path / "second")
    assert facts["trained_weights"] == sum(v.numel() for v in before.values())
    assert before.keys() == after.keys()
    assert not any(torch.equal(before[name], after[name]) for name in before)
    # the reference is the model as loaded: at the start nothing has moved away from it
    assert log(tmp_path / "second")[0]["preference"] == pytest.approx(0.6931, abs=1e-3)
    assert log(tmp_path / "second")[0]["best_logprob"] > log(tmp_path / "first")[0]["best_logprob"]
    assert LocalModel.load(str(tmp_path / "second" / "adapter"), device="cpu").model.peft_config


def test_an_adapter_trained_on_resumes_to_the_same_bytes(
    base: Path, ladders: list[Ladder], tmp_path: Path, dying: Any
) -> None:
    fit(ladders, str(base), settings(lora=LORA, epochs=1), tmp_path / "first", seed=1)
    start = str(tmp_path / "first" / "adapter")
    with pytest.raises(Killed):
        fit(ladders, start, settings(), tmp_path / "cut", seed=1)
    dying()
    for name in ("whole", "cut"):
        fit(ladders, start, settings(), tmp_path / name, seed=1)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_a_second_adapter_is_refused_with_a_way_to_merge(
    base: Path, ladders: list[Ladder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = settings(lora=LORA, epochs=1)
    fit(ladders, str(base), short, tmp_path / "first", seed=1)
    with pytest.raises(InputError, match=r"align\.lora: .* is an adapter already") as refused:
        fit(ladders, str(tmp_path / "first" / "adapter"), short, tmp_path / "second")
    monkeypatch.chdir(tmp_path)
    exec(str(refused.value).split("`")[1])
    fit(ladders, "merged", short, tmp_path / "second")
    assert (tmp_path / "second" / "adapter").is_dir()


def test_a_lora_target_that_the_model_lacks_is_named(base: Path, ladders: list[Ladder], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"align\.lora\.target: .* no linear layer 'qproj'; did you mean 'q_proj'\?"):
        fit(ladders, str(base), settings(lora={"target": ["qproj"]}), tmp_path)

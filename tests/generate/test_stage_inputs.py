"""What the generate stage depends on: the records it fine-tunes on, the model, how it trains; and what not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seelevel.errors import InputError
from seelevel.pipeline import Run
from seelevel.recipe import load_recipe

pytestmark = pytest.mark.unit


def prints(out: Path, *overrides: str) -> dict[str, str]:
    run = Run(load_recipe("world-amp-ig", overrides), out)
    run.plan()
    return {folder.name: fingerprint for folder, fingerprint in run._fingerprints.items()}


def changed(out: Path, before: dict[str, str], *overrides: str) -> set[str]:
    after = prints(out, *overrides)
    return {name for name in ("data", "finetune", "generate") if before[name] != after[name]}


def test_training_settings_are_inputs_of_ladders_not_of_records(tmp_path: Path) -> None:
    before = prints(tmp_path)
    assert changed(tmp_path, before) == set()
    assert changed(tmp_path, before, "generate.finetune.epochs=3") == {"generate"}
    assert changed(tmp_path, before, "generate.levels=5") == {"generate"}
    assert changed(tmp_path, before, "generate.model=world:xs") == {"generate"}
    assert changed(tmp_path, before, "generate.finetune.limit=90") == {"finetune", "generate"}
    assert changed(tmp_path, before, "align.epochs=3") == set()


def test_a_changed_file_of_records_is_fine_tuned_on_again(tmp_path: Path) -> None:
    records = tmp_path / "records.json"
    records.write_text(json.dumps([{"id": "a", "conversations": []}]))
    named = f"generate.finetune.prompts={records}"
    before = prints(tmp_path, named)
    records.write_text(json.dumps([{"id": "b", "conversations": []}]))
    assert changed(tmp_path, before, named) == {"finetune", "generate"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("generate.finetune.prompts=nowhere.json", "generate.finetune.prompts: nowhere.json does not exist"),
        ("generate.finetune.prompts=world:test", "generate.finetune.prompts: world:test is unknown; .*world:finetune"),
        ("generate.finetune.images=nowhere", "generate.finetune.images: nowhere does not exist"),
        ("generate.model=world:huge", "world:huge"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_runs(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Run(load_recipe("world-amp-ig", [override]), tmp_path / "run").plan()
    assert not (tmp_path / "run").exists()


def test_the_parser_is_an_input_of_perturbation(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        Run(load_recipe("world-amp-perturb", ["generate.parser=nowhere"]), tmp_path).plan()

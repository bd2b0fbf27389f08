"""What a card may say: licences that somebody named, no folders of this machine, and text that breaks no table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from seelevel.errors import InputError
from seelevel.export import export, finished_run
from seelevel.export.cards import (
    Exported,
    _licence,
    _on_hub,
    _recipe_text,
    _render,
    _without_places,
    _world_data,
    model_card,
)
from seelevel.export.data import Data
from seelevel.export.weights import _parts
from seelevel.recipe import Recipe, load_recipe, shipped_recipes
from seelevel.report.reading import read_run
from seelevel.report.settings import ReportSettings
from tests.report.make_control import add_control
from tests.report.make_run import make_run as report_run

pytestmark = pytest.mark.unit


def recipe(*changes: str) -> Recipe:
    return load_recipe("world-quick", list(changes))


@pytest.mark.parametrize(
    ("card", "found"),
    [
        ("---\nlicense: mit\ntags: [a]\n---\n# A", {"license": "mit"}),
        ("---\nlicense: other\nlicense_name: gemma\n---\n", {"license": "other", "license_name": "gemma"}),
        ("---\nlicense: [\n---\n", {}),
        ("---\ntags: [a]\n---\nlicense: mit", {}),
        ("# A model\nlicense: mit", {}),
        (None, {}),
    ],
)
def test_a_licence_is_the_one_that_the_bases_card_names(
    tmp_path: Path, card: str | None, found: dict[str, str]
) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card, encoding="utf-8")
    assert _licence("you/model", tmp_path) == found


def test_the_worlds_licence_is_known_only_if_all_is_the_worlds() -> None:
    assert _world_data(recipe())
    assert not _world_data(recipe("data.prompts=mine.json"))
    assert not _world_data(recipe("generate.experts=[world:m, you/model]"))


def test_only_a_name_of_the_hub_is_a_base_model(tmp_path: Path) -> None:
    assert _on_hub("you/model")
    assert not any(map(_on_hub, ("world:s", str(tmp_path), "/gone/model", "./model")))


def test_a_card_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    prompts = tmp_path / "secret" / "prompts.json"
    text = f"Prompts {prompts}, model /gone/place/model, run {tmp_path / 'run'}."
    shown = _without_places(text, recipe(f"data.prompts={prompts}", "align.model=/gone/place/model"), tmp_path / "run")
    assert shown == "Prompts prompts.json, model model, run run."


@pytest.mark.parametrize("name", [name for name in shipped_recipes() if name.startswith("world-")])
def test_the_recipe_of_a_card_is_the_runs_without_trackers(tmp_path: Path, name: str) -> None:
    whole = load_recipe(name)
    tracked = load_recipe(name, ["align.report_to=trackio", "align.report_every=5"])
    (tmp_path / "card.yaml").write_text(_recipe_text(tracked), encoding="utf-8")
    assert load_recipe(str(tmp_path / "card.yaml")) == whole.model_copy(update={"report": ReportSettings()})


def test_text_of_a_model_breaks_no_table_and_no_block() -> None:
    values = {"title": "t", "files": {"trl": "a", "llamafactory": "b", "swift": "c"}, "facts": [], "checked": []}
    words = {"prompts": "a|b\nc", "asked": "a", "better": "b", "worse": f"{'c ' * 44}``` d", "licence": ""}
    data = Data(1, 2, 1, 1, dict.fromkeys(values["files"], 1), {"expert a|b": 2}, {2: 1})
    card = _render("data_card.md.j2", {"tags": ["a: b"]}, data=data, **values, **words)
    assert card.startswith("---\ntags:\n- 'a: b'\n---\n\n# ")
    assert "| Prompts | a\\|b c |\n" in card and "expert a\\|b: 2" in card
    assert len(re.findall("^ {0,3}```", card, re.M)) == 2


def test_weights_go_into_files_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seelevel.export.weights.SHARD_BYTES", 10)
    assert _parts({"a": 4, "b": 6, "c": 1, "d": 20, "e": 2}) == [["a", "b"], ["c"], ["d"], ["e"]]


def test_a_number_format_for_an_adapter_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave out --dtype"):
        export(tmp_path, adapter=True, dtype="float16")


def test_a_stage_that_lost_its_manifest_is_named(tmp_path: Path) -> None:
    written = yaml.safe_dump(recipe().model_dump(mode="json"))
    (tmp_path / "recipe.yaml").write_text(written, encoding="utf-8")
    with pytest.raises(InputError, match="is not finished \\(data is not run\\); finish it first: seelevel run "):
        finished_run(tmp_path)


def test_a_card_has_the_figures_against_the_control(tmp_path: Path) -> None:
    run = read_run(add_control(report_run(tmp_path / "run", 4)))
    asked = {"lora": {"r": 4}, "control": True, "model": "world:s"}
    whole = load_recipe("world-quick", [f"align.{key}={value}" for key, value in asked.items()])
    text = model_card(Exported(run, whole, tmp_path, None, None, None))
    assert "Against the control (SFT on the best response of the same ladders), the aligned model is better in" in text
    assert "| control | from the control | verdict on that |" in text
    [row] = [line for line in text.splitlines() if line.startswith("| CHAIRs ↓")]
    assert row.endswith("| 20.0% (17.0% to 23.0%) | +4.2 points (+2.2 to +6.2) | **worse** |")
    assert "### What is worse than the control" in text
    assert "- CHAIRs: 24.2%, the control 20.0%; +4.2 points (+2.2 to +6.2)." in text
    plain = read_run(report_run(tmp_path / "plain", 4))
    assert "control" not in model_card(Exported(plain, recipe("align.lora={r: 4}"), tmp_path, None, None, None)).lower()

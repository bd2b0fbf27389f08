"""A run folder of the version before the typed notes, made with its code. Pictures and weights are left out."""

import shutil
from pathlib import Path

import pytest

from seelevel import load_ladders
from seelevel.recipe import load_recipe
from seelevel.report import ReportSettings
from seelevel.report.page import write_page
from seelevel.stages import settings_digest
from seelevel.store import read_manifest

pytestmark = pytest.mark.unit
OLD = Path(__file__).parent / "data" / "run_before_types"
NAMES = [f"prompts-0000{n}" for n in range(6)]
CHECKERS = ["judge", "judge", "autocheck", "judge", "autocheck", "autocheck"]


@pytest.fixture
def checked():
    return {ladder.id: ladder for ladder in load_ladders(OLD / "check")}


def test_old_check_notes_become_types(checked):
    assert [checked[name].check.checker for name in NAMES] == [
        "judge",
        "judge",
        "autocheck",
        "judge",
        *["autocheck"] * 2,
    ]
    assert [bool(checked[name].check.unchecked) for name in NAMES] == [True, False, False, True, False, False]
    assert not any("check" in ladder.notes for ladder in checked.values())


def test_old_lists_of_places_and_reasons_go_to_their_responses(checked):
    judged, measured = checked["prompts-00001"], checked["prompts-00002"]
    assert [r.check.place_before for r in judged.responses] == [0, 2, 1] and judged.reordered
    assert [r.scores.get("rating") for r in judged.responses] == [r.check.rating for r in judged.responses]
    assert [r.check.coverage.acc for r in measured.responses] == [r.scores["acc"] for r in measured.responses]
    chunk = measured.responses[1].check.coverage.chunks[0]
    assert measured.responses[1].text[chunk.start : chunk.end] == chunk.text


def test_an_old_override_by_text_names_its_response(checked):
    ladder = checked["prompts-00003"]
    (override,) = ladder.overrides
    place = [response.id for response in ladder.responses].index(override.response)
    assert ladder.responses[place].origin["model"] == "world:xs"
    assert (override.who, override.to, override.replaces) == ("Ada", 0, 2)


def test_old_rounds_and_feedback_notes_become_types():
    ladders = {ladder.id: ladder for ladder in load_ladders(OLD / "feedback")}
    second = ladders["prompts-00000#1"]
    assert (second.interaction, second.round_of.number) == ("prompts-00000", 1)
    assert second.ratings_before == {"helpfulness": 3, "honesty": 2}
    note = ladders["prompts-00000"].feedback
    assert note.answers == 2 and note.ratings[0] == second.ratings_before
    assert [entry.reason for entry in note.unscored] == ["it rates nothing"]


def test_an_old_shard_written_again_keeps_its_types(checked, tmp_path):
    from seelevel.formats.parquet import write_shard

    write_shard(tmp_path / "new.parquet", checked.values())
    again = {ladder.id: ladder for ladder in load_ladders(tmp_path / "new.parquet")}
    assert all(again[name].check == checked[name].check for name in NAMES)
    assert all(again[name].overrides == checked[name].overrides for name in NAMES)
    pairs = zip(again.values(), checked.values(), strict=True)
    assert all([r.check for r in new.responses] == [r.check for r in old.responses] for new, old in pairs)


def test_an_old_run_has_its_page(tmp_path):
    shutil.copytree(OLD, tmp_path / "run")
    page = write_page(tmp_path / "run", ReportSettings()).read_text()
    assert "level 2 set to 0 by Ada" in page and "covers" in page and "CHAIRi" in page


def test_an_old_stage_counts_as_made_under_the_same_settings():
    recipe = load_recipe(str(OLD / "recipe.yaml"))
    manifest = read_manifest(OLD / "generate")
    assert manifest is not None and manifest["settings"] == settings_digest(recipe, "generate")

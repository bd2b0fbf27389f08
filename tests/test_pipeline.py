"""A run folder that lost something makes it again."""

import json

import pytest

from seelevel import __version__, align, check, evaluate
from seelevel.errors import InputError
from seelevel.facts import AlignFacts, CheckFacts, EvaluateFacts
from seelevel.pipeline import Run
from seelevel.progress import say
from seelevel.recipe import load_recipe
from seelevel.run_log import read_log
from seelevel.stages import settings_digest
from seelevel.store import StageFolder, write_json

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("damage", [None, b"", b"{", b"[]"])
def test_figures_that_are_lost_or_garbled_are_made_again(tmp_path, monkeypatch, damage):
    made = []

    def figures(stage, settings, data, models, judge, root, seed, training):
        made.append(stage.path)
        write_json(root / "metrics.json", {"base": {}})
        return EvaluateFacts(questions={"chair": 3})

    monkeypatch.setattr(evaluate, "run", figures)
    run = Run(load_recipe("world-quick", ["evaluate.limit=1"]), tmp_path)
    for stage, part in (("align", "model"), ("check", None)):
        folder = StageFolder(tmp_path / stage, "one")
        folder.begin()
        if part is not None:
            (folder.path / part).mkdir()
        folder.finish()
    run.evaluate()
    run.evaluate()
    assert len(made) == 1
    (tmp_path / "metrics.json").unlink()
    if damage is not None:
        (tmp_path / "metrics.json").write_bytes(damage)
    run.evaluate()
    assert len(made) == 2
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"base": {}}
    manifest = json.loads((tmp_path / "evaluate" / "manifest.json").read_text())
    assert EvaluateFacts.read(manifest) == EvaluateFacts(questions={"chair": 3}, aligned="one")
    assert manifest["words"] == run.recipe.evaluate.words


def test_a_stage_alone_takes_what_was_made_under_its_recipes_settings_and_nothing_else(tmp_path, monkeypatch):
    """Otherwise recipe.yaml and the report would tell of settings that no ladder has seen."""
    monkeypatch.setattr(align, "run", lambda *arguments: AlignFacts(steps=3))
    before = Run(load_recipe("world-quick"), tmp_path)
    for name in ("data", "generate", "check"):
        folder = StageFolder(tmp_path / name, "x")
        folder.begin()
        folder.finish(settings=settings_digest(before.recipe, "generate" if name == "data" else name))
    before.alone("align")
    Run(load_recipe("world-quick", ["align.learning_rate=0.01"]), tmp_path).alone("align")
    written = (tmp_path / "recipe.yaml").read_bytes()
    for other, stage in (
        ("seed=1", "generate"),
        ("data.limit=5", "generate"),
        ("check.threshold=0.5", "check"),
    ):
        with pytest.raises(InputError, match=f"{stage} was made under other settings"):
            Run(load_recipe("world-quick", [other]), tmp_path).alone("align")
    assert (tmp_path / "recipe.yaml").read_bytes() == written
    (tmp_path / "check" / "manifest.json").unlink()
    with pytest.raises(InputError, match="check is not finished; run `seelevel check`"):
        before.alone("align")


def test_every_command_on_a_run_is_a_section_of_its_log(tmp_path, monkeypatch):
    def trained(*arguments):
        say("align: halfway")
        raise InputError("no ladder fits")

    monkeypatch.setattr(align, "run", trained)
    run = Run(load_recipe("world-quick"), tmp_path)
    for name in ("data", "generate", "check"):
        folder = StageFolder(tmp_path / name, "x")
        folder.begin()
        folder.finish(settings=settings_digest(run.recipe, "generate" if name == "data" else name))
    with pytest.raises(InputError, match="no ladder fits"):
        run.alone("align")
    run.alone("report")
    assert run.plan()["align"]  # a dry run logs nothing
    first, *rest = [line.text for line in read_log(tmp_path)]
    assert first.startswith(f"== seelevel {__version__} align: recipe world-quick, seed 0, settings ")
    assert rest == ["align: halfway", "stopped: no ladder fits", first.replace("align:", "report:"), "ended"]


def test_a_report_on_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="typo holds no run to report on"):
        Run(load_recipe("world-quick"), tmp_path / "typo").alone("report")
    assert not (tmp_path / "typo").exists()


def test_the_check_heeds_a_runs_own_overrides_and_is_made_again_with_them(tmp_path, monkeypatch):
    heeded = []

    def checked(source, stage, settings, *more):
        heeded.append(settings.overrides)
        return CheckFacts(ladders=1, reordered=0, unchecked=0, split_texts=0)

    monkeypatch.setattr(check, "run", checked)
    run = Run(load_recipe("world-quick"), tmp_path)
    folder = StageFolder(tmp_path / "generate", "one")
    folder.begin()
    folder.finish()
    file = tmp_path / "overrides.jsonl"
    run.check()
    run.check()
    assert heeded == [None]
    for text in ('{"ladder": "a"}\n', '{"ladder": "b"}\n'):
        file.write_text(text)
        run.check()
        run.check()
    assert heeded == [None, str(file), str(file)]
    named = Run(load_recipe("world-quick", [f"check.overrides={tmp_path / 'other.jsonl'}"]), tmp_path)
    (tmp_path / "other.jsonl").write_text("")
    named.check()
    assert heeded[-1] == str(tmp_path / "other.jsonl")

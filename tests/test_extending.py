"""The page docs/extending.md, done from outside the package: its code is written to a folder, and its recipes are run.

A block after `<!-- file: … -->` is a file of the module `mine`; one after `<!-- recipe: … -->` is a part of a recipe.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image as Pictures

from seelevel import fingerprints
from seelevel.errors import InputError
from seelevel.formats.parquet import read_ladders
from seelevel.naming import SHIPPED
from seelevel.pipeline import Run
from seelevel.recipe import load_recipe
from seelevel.registry import choose
from tests.test_cli import call, refused

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- (file|recipe): (\S+) -->\n```\w+\n(.*?)^```", re.M | re.S)
BLOCKS = {(kind, name): text for kind, name, text in BLOCK.findall(PAGE)}
ANSWERS = ["The cup in the picture is red.", "A red cup.", "Red."]


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder: the page's module `mine` on sys.path, two records with pictures, and questions."""
    for (kind, name), text in BLOCKS.items():
        if kind == "file":
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
    rows = []
    for folder in (tmp_path, tmp_path / "questions" / "images"):
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(2):
            Pictures.new("RGB", (32, 32), (100 * number, 0, 0)).save(folder / f"{number}.png")
    for number in range(2):
        rows.append({"image": f"{number}.png", "question": "What is in the picture?", "answers": ANSWERS})
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "questions" / "length").mkdir()
    asked = [{"id": n, "image": f"{n}.png", "text": "What is in the picture?"} for n in range(2)]
    (tmp_path / "questions" / "length" / "questions.jsonl").write_text("".join(json.dumps(q) + "\n" for q in asked))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    yield tmp_path
    forget()


def forget() -> None:
    """Forget the modules called `mine` and their sources, as a new process would."""
    for name in [name for name in sys.modules if name.split(".")[0] == "mine"]:
        del sys.modules[name]
    for cached in (fingerprints.source_file, fingerprints.imports_of, fingerprints._code_of):
        cached.cache_clear()


def recipe(folder: Path, *parts: str) -> Path:
    """A recipe file: world-quick's, trained for a moment, with parts of the page."""
    whole: dict[str, Any] = load_recipe("world-quick").model_dump(mode="json")
    whole |= {"check": None, "evaluate": {"benchmarks": ["chair"], "data": "world:dev", "limit": 2}}
    for part in ("format", *parts):
        whole |= yaml.safe_load(BLOCKS["recipe", part])
    path = folder / "my.yaml"
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    return path


def run_stages(path: Path, *stages: str) -> Path:
    job = Run(load_recipe(str(path)), path.parent / "run")
    for stage in stages:
        job.alone(stage)
    return job.out


def test_the_page_names_the_files_that_exist() -> None:
    root = Path(__file__).parents[1] / "src" / "seelevel"
    named = set(re.findall(r"`((?:\w+/)*\w+\.(?:py|css|html\.j2))`", PAGE))
    assert len(named) > 20
    assert [name for name in named if not any((top / name).exists() for top in (root, root.parents[1]))] == []


@pytest.mark.unit
def test_a_format_from_outside_gives_ladders(outside: Path) -> None:
    out = run_stages(recipe(outside), "generate")
    ladders = read_ladders(out / "generate", out)
    assert [[r.text for r in ladder.responses] for ladder in ladders] == [ANSWERS, ANSWERS]
    assert json.loads((out / "data" / "manifest.json").read_text())["format"] == "mine.table:parse"


@pytest.mark.unit
def test_a_bad_record_of_an_outside_format_is_set_aside(outside: Path) -> None:
    rows = (outside / "answers.jsonl").read_text().splitlines()
    (outside / "answers.jsonl").write_text("\n".join([*rows, json.dumps({"image": "0.png", "question": "?"})]))
    path = recipe(outside)
    with pytest.raises(InputError, match=r"1 of 3 records .*answers"):
        run_stages(path, "generate")


@pytest.mark.unit
def test_a_checker_from_outside_sets_the_levels(outside: Path) -> None:
    path = recipe(outside, "checker")
    assert load_recipe(str(path)).stages[:2] == ("generate", "check")
    out = run_stages(path, "generate", "check")
    for ladder in read_ladders(out / "check", out):  # lengths of 7, 3 and 1 words are 3, 1 and 0 steps of 2
        assert [(r.text, r.level) for r in ladder.responses] == [(ANSWERS[2], 0), (ANSWERS[1], 1), (ANSWERS[0], 2)]
        assert ladder.check is not None and ladder.check.checker == "shortest"
        assert [r.check and r.check.place_before for r in ladder.responses] == [2, 1, 0]


@pytest.mark.unit
def test_the_report_shows_a_check_from_outside(outside: Path) -> None:
    out = run_stages(recipe(outside, "checker"), "generate", "check", "report")
    assert "mine.shortest:Shortest, step 2" in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.unit
def test_a_judge_from_outside_is_asked_for_the_order(outside: Path) -> None:
    out = run_stages(recipe(outside, "judge"), "generate", "check")
    for ladder in read_ladders(out / "check", out):
        assert [(r.text, r.level) for r in ladder.responses] == [(ANSWERS[2], 0), (ANSWERS[0], 1), (ANSWERS[1], 1)]
        assert ladder.check is not None and ladder.check.judge == "strict"


def test_a_scorer_from_outside_measures_both_models(outside: Path) -> None:
    path = recipe(outside, "scorer")
    quick = ["align.epochs=1", "align.ladders_per_step=2", "align.cache=false"]
    job = Run(load_recipe(str(path), quick), outside / "run")
    for stage in ("generate", "align", "evaluate", "report"):
        job.alone(stage)
    metrics = json.loads((job.out / "metrics.json").read_text())
    asked = [json.loads(line) for line in (job.out / "evaluate" / "base" / "length.jsonl").read_text().splitlines()]
    mean = sum(len(row["answer"].split()) for row in asked) / len(asked)
    assert metrics["base"]["words_per_answer"]["value"] == pytest.approx(mean)
    assert "words_per_answer" in metrics["differences"]
    assert "words per answer" in (job.out / "report.html").read_text(encoding="utf-8")


def test_an_objective_from_outside_is_trained_with(outside: Path) -> None:
    path = recipe(outside, "objective")
    job = Run(load_recipe(str(path), ["align.cache=false"]), outside / "run")
    for stage in ("generate", "align"):
        job.alone(stage)
    steps = [json.loads(line) for line in (job.out / "align" / "log.jsonl").read_text().splitlines()]
    assert steps[0]["loss"] == pytest.approx(2.0, abs=0.01)  # r is 0 before training, so each pair costs the margin


def test_changed_code_outside_runs_its_stage_again(outside: Path) -> None:
    path, file = recipe(outside, "checker"), outside / "mine" / "shortest.py"
    run_stages(path, "generate", "check")

    def stale() -> list[str]:
        forget()
        return [name for name, runs in Run(load_recipe(str(path)), outside / "run").plan().items() if runs]

    before = stale()
    assert "check" not in before and "generate" not in before
    file.write_text(f"# A comment changes nothing.\n{file.read_text()}")
    assert stale() == before
    file.write_text(file.read_text().replace("// self.step", "// self.step // 1"))
    assert sorted(stale()) == sorted([*before, "check"])


@pytest.mark.unit
def test_code_that_outside_code_imports_counts_too(outside: Path) -> None:
    (outside / "mine" / "__init__.py").write_text("")
    (outside / "mine" / "words.py").write_text("def count(text): return len(text.split())\n")
    (outside / "mine" / "uses.py").write_text("from . import words\nfrom mine.shortest import Shortest\n")
    assert {"mine.words", "mine.shortest"} <= fingerprints.imports_of("mine.uses")
    before = fingerprints.source_fingerprint("mine.uses")
    (outside / "mine" / "words.py").write_text("def count(text): return len(text)\n")
    forget()
    assert fingerprints.source_fingerprint("mine.uses") != before


@pytest.mark.unit
@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ("check.checker=mine.gone:Shortest", ["check.checker", "mine.gone", "PYTHONPATH"]),
        ("check.checker=mine.shortest:Shortes", ["check.checker", "did you mean 'Shortest'"]),
        ("check.checker=shortest", ["check.checker", "'shortest' is unknown"]),
        ("check.checker=autochek", ["check.checker", "did you mean 'autocheck'"]),
        ("data.format=mine.table:read", ["data.format", "module mine.table has no read"]),
        ("data.format=llva", ["data.format", "did you mean 'llava'"]),
        ("check.judge=mine.gone:Strict", [f"one of {SHIPPED}", "mine.gone", "PYTHONPATH"]),
        ('check={"checker": "judge", "judge": "world:oracle", "options": {"step": 2}}', ["check.options", "judge"]),
    ],
)
def test_a_wrong_name_ends_before_anything_runs(outside: Path, change: str, parts: list[str]) -> None:
    with pytest.raises(InputError) as refusal:
        Run(load_recipe(str(recipe(outside, "checker")), [change]), outside / "out").everything()
    assert [part for part in parts if part not in str(refusal.value)] == []
    assert not (outside / "out").exists()


@pytest.mark.unit
def test_the_command_finds_outside_code_on_pythonpath(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("run", recipe(outside, "checker"), "--out", outside / "out", "--dry-run")
    assert "mine.shortest" in refused(*arguments, cwd=outside)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(outside), os.environ.get("PYTHONPATH", "")]))
    code, text, errors = call(*arguments, cwd=outside)
    assert code == 0, errors
    assert "check" in text


@pytest.mark.unit
def test_a_checker_without_a_note_is_named(outside: Path) -> None:
    file = outside / "mine" / "shortest.py"
    file.write_text(
        file.read_text().replace("ladder.ordered(responses, CheckNote", "ladder.ordered(responses) or (None")
    )
    with pytest.raises(InputError, match=r"check\.checker .*CheckNote"):
        run_stages(recipe(outside, "checker"), "generate", "check")


@pytest.mark.unit
def test_an_error_inside_outside_code_keeps_its_traceback(outside: Path) -> None:
    (outside / "mine" / "broken.py").write_text("ITEMS = {}['missing']\n")
    with pytest.raises(KeyError, match="missing"):
        choose("checker", "mine.broken:Checker", {})

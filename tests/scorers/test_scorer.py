"""Scorers: the names of a recipe, the words of every figure, and a scorer from outside the package."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import seelevel.models
from seelevel import evaluate, report
from seelevel.errors import InputError
from seelevel.models.base import Completion, ModelRef, Prompt, Sampling
from seelevel.report.settings import ReportSettings
from seelevel.scorers import SCORERS, find_scorer, find_scorers
from seelevel.scorers.settings import EvaluateSettings
from seelevel.store import StageFolder
from tests.formats.made import picture
from tests.scorers.measured import measures_by_name

pytestmark = pytest.mark.unit

MINE = """
from seelevel.scorers.files import read_entries
from seelevel.scorers.intervals import Measure, ratio
from seelevel.scorers.questions import Benchmark, Question, find_image
from seelevel.scorers.scorer import Scorer
from seelevel.scorers.views import right_or_wrong
from seelevel.scorers.words import Metric


def benchmark(data, settings):
    entries = read_entries(data / "polite" / "questions.jsonl")[: settings.limit]
    questions = [
        Question(entry.text(("id",), "id"), find_image(data, entry), (entry.text(("text",), "question"),), {})
        for entry in entries
    ]

    def items(answers, context):
        polite = ["please" in answer.texts[0] for answer in answers]
        return [{"right": p, "cluster": q.image} for q, p in zip(questions, polite)]

    measure = Measure("polite_share", lambda item: (float(item["right"]), 1), ratio)
    other = Measure("polite_other", lambda item: (float(not item["right"]), 1), ratio)
    return Benchmark("polite", questions, 16, items, [measure, other])


METRIC = Metric("Politeness", "answers that say please", "higher", headline=True)
SCORER = Scorer("polite", benchmark, {"polite_share": METRIC}, views=(right_or_wrong("Polite answers"),))
TAKEN, ESCAPING = Scorer("chair", benchmark, {}), Scorer("../polite", benchmark, {})
NOTHING = 3
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module outside the package, as a user writes one; returns its scorer's name."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "my_scorer.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path / "outside")
    monkeypatch.delitem(sys.modules, "my_scorer", raising=False)
    return "my_scorer:SCORER"


class Speaker:
    def __init__(self, text: str) -> None:
        self.name, self.text = "speaker", text

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        return [Completion(self.text, 3, True) for _ in prompts]


def test_every_figure_of_the_packages_scorers_has_words() -> None:
    measures = measures_by_name()
    assert measures.keys() == SCORERS.keys()
    for name, scorer in zip(SCORERS, find_scorers(SCORERS), strict=True):
        assert scorer.name == name
        assert [m.name for m in measures[name] if scorer.words(m.name) is None] == []
        assert scorer.metrics.keys() <= {m.name for m in measures[name]}


def test_a_scorer_has_no_words_for_the_figures_of_others() -> None:
    names = {name: set(find_scorer(name).metrics) for name in SCORERS}
    for name in SCORERS:
        others = set().union(*(figures for other, figures in names.items() if other != name))
        assert [figure for figure in others if find_scorer(name).words(figure) is not None] == []


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("chairs", ["chairs", "chair"]),
        ("no_such_module:SCORER", ["no_such_module"]),
        ("my_scorer:MISSING", ["my_scorer", "MISSING"]),
        ("my_scorer:NOTHING", ["my_scorer:NOTHING", "Scorer"]),
        ("my_scorer:TAKEN", ["my_scorer:TAKEN", "'chair'"]),
        ("my_scorer:ESCAPING", ["my_scorer:ESCAPING", "'../polite'"]),
    ],
)
def test_a_name_that_leads_to_no_scorer_is_refused(mine: str, name: str, parts: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        find_scorer(name)
    assert all(part in str(refused.value) for part in parts)


def test_two_scorers_of_one_name_are_refused(mine: str) -> None:
    with pytest.raises(InputError, match="polite"):
        find_scorers(["chair", mine, mine])


def test_a_scorer_from_outside_is_run_and_reported_with_its_words(
    tmp_path: Path, mine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = []
    for n in range(6):
        picture(tmp_path / "data" / "images", f"{n}.png", n)
        lines.append(json.dumps({"id": n, "image": f"{n}.png", "text": "What is there?"}))
    (tmp_path / "data" / "polite").mkdir()
    (tmp_path / "data" / "polite" / "questions.jsonl").write_text("\n".join(lines))
    speakers = {"base": Speaker("A cup."), "aligned": Speaker("A cup, please.")}
    monkeypatch.setattr(seelevel.models, "load_model", lambda path: speakers[path])
    root = tmp_path / "run"
    stage = StageFolder(root / "evaluate", "0" * 16)
    stage.begin()
    settings = EvaluateSettings(data=str(tmp_path / "data"), benchmarks=[mine])
    models = {side: ModelRef(side, side) for side in speakers}
    evaluate.run(stage, settings, tmp_path / "data", models, None, root, seed=0)
    stage.finish()
    page = report.run(root, ReportSettings()).read_text(encoding="utf-8")
    assert "Politeness rose from 0.0% to 100.0%" in page
    assert "answers that say please" in page and 'class="verdict better"' in page
    assert "Polite answers" in page and "6 got better" in page
    assert "polite other" in page  # a figure without words is shown by its name

    sys.path.remove(str(tmp_path / "outside"))
    monkeypatch.delitem(sys.modules, "my_scorer")
    page = report.run(root, ReportSettings()).read_text(encoding="utf-8")
    assert "polite share" in page and 'class="verdict better"' not in page

"""Snapshots of a training in a run: evaluated as sides of their own, compared, reported, and forecast."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from seelevel.compare.sides import open_run
from seelevel.errors import InputError
from seelevel.evaluate import _chains
from seelevel.forecast import estimate
from seelevel.json_text import loads
from seelevel.naming import Names
from seelevel.pipeline import Run
from seelevel.recipe import Recipe, load_recipe
from seelevel.report import ReportSettings
from seelevel.report.by_round import rows_by_step
from seelevel.report.figures import comparisons, headline
from seelevel.report.page import render
from seelevel.report.reading import read_run
from seelevel.scorers import SCORERS, find_scorer
from seelevel.store import write_json
from tests.test_rounds import figure

KEYS = ["align.snapshots=2", "evaluate.snapshots=true", "data.limit=16", "evaluate.limit=4", "align.ladders_per_step=4"]
KEYS += ["align.epochs=1", "evaluate.benchmarks=[chair]"]


def recipe(*changes: str) -> Recipe:
    return load_recipe("world-quick", [*KEYS, *changes])


@pytest.mark.unit
class TestParts:
    def test_each_side_is_compared_with_the_one_before_it(self) -> None:
        assert _chains(["base", "aligned", "control"]) == {}
        assert _chains(["base", "step-2", "step-10", "aligned"]) == {
            "differences_by_step": {"step-2": "base", "step-10": "step-2", "aligned": "step-10"}
        }
        assert _chains(["base", "round-1", "step-2", "aligned", "control"]) == {
            "differences_by_round": {"round-1": "base", "aligned": "round-1"},
            "differences_by_step": {"step-2": "round-1", "aligned": "step-2"},
        }

    def test_snapshots_come_in_the_order_of_their_steps(self, tmp_path: Path) -> None:
        for step in (10, 9, 100, "9-copy"):
            (tmp_path / "align" / "snapshots" / f"step-{step}").mkdir(parents=True)
        names = Names(recipe(), tmp_path)
        assert [*names.snapshots()] == ["step-9", "step-10", "step-100"]
        assert names.snapshots()["step-9"].path == str(tmp_path / "align" / "snapshots" / "step-9")

    def test_snapshots_that_are_not_kept_cannot_be_evaluated(self) -> None:
        with pytest.raises(InputError, match=r"align keeps none; set align\.snapshots"):
            recipe("align.snapshots=0")

    def test_the_forecast_counts_snapshots_and_their_disk(self, tmp_path: Path) -> None:
        one = estimate(Run(recipe("align.snapshots=0", "evaluate.snapshots=false"), tmp_path))
        cost = estimate(Run(recipe(), tmp_path))
        (tokens,), (before,) = ([r.tokens for r in c.rows if r.stage == "evaluate"] for c in (cost, one))
        assert tokens == pytest.approx(before * 4 / 2)
        (line,) = [note for note in cost.notes if "snapshots" in note]
        assert line.startswith("align keeps 2 snapshots of ") and not any("snapshots" in note for note in one.notes)

    def test_the_report_shows_the_figures_by_step(self, tmp_path: Path) -> None:
        metrics = {
            "base": {"chair_i": figure(0.3)},
            "step-5": {"chair_i": figure(0.2)},
            "aligned": {"chair_i": figure(0.195)},
            "differences": {"chair_i": figure(-0.105)},
            "differences_by_step": {"step-5": {"chair_i": figure(-0.1)}, "aligned": {"chair_i": figure(-0.005)}},
        }
        [row] = rows_by_step(metrics, headline(comparisons(metrics, [find_scorer(name) for name in SCORERS])), 9)
        assert [step.verdict for step in row.steps] == ["better", "unclear"]
        for words in ("model, base: 30.0%", "model, step 5: 20.0%", "model, step 9: 19.5%"):
            assert words in row.plot
        write_json(tmp_path / "metrics.json", metrics)
        page = render(read_run(tmp_path), ReportSettings())
        assert '<h3 id="by-step">' in page and "Step 5" in page and 'id="by-round"' not in page


@pytest.mark.slow
def test_a_run_evaluates_its_snapshots_and_compares_them(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [str(Path(sys.executable).with_name("seelevel"))]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}

    def start(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *map(str, arguments)], env=environment, capture_output=True, text=True)

    keys = [word for key in KEYS for word in ("--set", key)]
    done = start("run", "world-quick", *keys, "--out", out)
    assert done.returncode == 0, done.stderr
    steps = sorted(path.name for path in (out / "align" / "snapshots").iterdir())
    metrics = loads((out / "metrics.json").read_text())
    assert steps and all(metrics[step].keys() == metrics["aligned"].keys() for step in steps)
    assert [*metrics["differences_by_step"]] == sorted([*steps, "aligned"])
    assert open_run("A", f"{out}:{steps[0]}").model == steps[0]
    compared = start("compare", f"{out}:{steps[0]}", out)
    assert compared.returncode == 0, compared.stderr
    assert (
        "By step" in (out / "report.html").read_text()
        and "every pair is more likely" in (out / "report.html").read_text()
    )
    again = start("run", "world-quick", *keys, "--out", out)
    assert again.returncode == 0 and "evaluate: unchanged" in again.stderr

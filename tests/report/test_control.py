"""A run with a control: its column, the differences from it, and what the page says about them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from seelevel import report
from seelevel.report.figures import against_control, comparisons
from seelevel.report.reading import read_run
from seelevel.report.settings import ReportSettings
from seelevel.store import MANIFEST, write_json

from .make_control import FIGURES, add_control
from .make_feedback import FIGURES as FEEDBACK
from .make_feedback import add_feedback
from .make_run import METRICS, figure, make_run
from .shipped import SHIPPED
from .test_page import Page

pytestmark = pytest.mark.unit
WITH_CONTROL = {**METRICS, **FIGURES}


def page(root: Path) -> Page:
    return Page(report.run(root, ReportSettings()).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return page(add_control(make_run(tmp_path_factory.mktemp("run"))))


def test_the_verdict_against_the_control_is_of_the_difference_from_it() -> None:
    found = {c.name: c for c in comparisons(WITH_CONTROL, SHIPPED)}
    verdicts = {name: (c.verdict, c.control and c.control.verdict) for name, c in found.items()}
    assert verdicts["chair_i"] == ("better", "better")
    assert verdicts["chair_s"] == ("better", "worse")
    assert verdicts["capability_accuracy"] == ("worse", "unclear")
    assert all(c.control is None for c in comparisons(METRICS, SHIPPED))


def test_the_page_says_what_is_better_and_worse_than_the_control(shown: Page) -> None:
    sentence = against_control(comparisons(WITH_CONTROL, SHIPPED))
    assert sentence in shown.text
    assert sentence.startswith("Against the control (SFT on the best response of the same ladders), the aligned model")
    assert "is better in CHAIRi (12.9%, control 17.1%)" in sentence
    assert "worse in CHAIRs (24.2%, control 20.0%)" in sentence
    assert re.search(r"not clearly different in [^;]*Capability \(68\.1%, control 69\.0%\)", sentence)


def test_a_run_without_a_control_has_no_word_of_it(tmp_path: Path) -> None:
    assert against_control(comparisons(METRICS, SHIPPED)) == ""
    assert "control" not in page(make_run(tmp_path / "run", 4)).text.lower()


def test_the_control_has_a_column_a_plot_and_a_row_of_costs(shown: Page) -> None:
    assert "Base, control and aligned" in shown.text and "Base against aligned" not in shown.text
    assert "CHAIRi, control: 17.1% (15.1% to 19.1%)" in shown.text
    assert "Aligned − control" in shown.text and "CHAIRs: +4.2 points (+2.2 to +6.2), worse" in shown.text
    assert "Control Aligned Difference From the control Reading" in shown.text
    assert "Control SFT on the best response of the same ladders: sft" in shown.text
    assert "The control took 63 steps on 20 ladders. SFT also learns from ladders without a pair." in shown.text
    assert "control 10.0 s" in shown.text
    assert "control mrhal: 2 of 3" in shown.text


def test_examples_show_the_controls_answer(shown: Page) -> None:
    # its answers are as bad as the base's in item 0, and as good in item 2 alone
    assert "Beside the control's answers, 1 of 3 are better, 0 are worse and 2 are as good." in shown.text
    assert sum(attrs.get("class") == "control" for attrs in shown.named("div")) > 0


def test_a_control_of_another_alignment_is_stale_and_so_are_its_figures(tmp_path: Path) -> None:
    root = add_control(make_run(tmp_path / "run", 4))
    manifest = json.loads((root / "align" / MANIFEST).read_text())
    write_json(root / "align" / MANIFEST, {**manifest, "fingerprint": "1" * 16})
    run = read_run(root)
    assert run.control is not None and run.control.stale and run.stages["evaluate"].stale
    text = page(root).text
    assert "control of an alignment that has been trained again since" in text
    assert "17.1%" not in text and "Against the control" not in text


def test_figures_of_a_control_trained_again_are_hidden(tmp_path: Path) -> None:
    root = add_control(make_run(tmp_path / "run", 4))
    manifest = json.loads((root / "control" / MANIFEST).read_text())
    write_json(root / "control" / MANIFEST, {**manifest, "fingerprint": "d" * 16})
    assert read_run(root).stages["evaluate"].stale and read_run(root).metrics is None


def test_a_control_that_is_wanted_and_not_trained_is_named(tmp_path: Path) -> None:
    root = add_control(make_run(tmp_path / "run", 4))
    (root / "control" / MANIFEST).unlink()
    evaluated = json.loads((root / "evaluate" / MANIFEST).read_text())
    write_json(root / "evaluate" / MANIFEST, {**evaluated, "control": None})
    write_json(root / "metrics.json", METRICS)
    text = page(root).text
    assert "control begun, not finished" in text and "fell from 21.3% to 12.9%" in text


def test_rounds_of_feedback_have_the_control_too(tmp_path: Path) -> None:
    root = add_feedback(add_control(make_run(tmp_path / "run", 4)))
    metrics = {**METRICS, **{side: {**METRICS[side], **FEEDBACK[side]} for side in FEEDBACK}, **FIGURES}
    metrics["control"] = {**metrics["control"], **FEEDBACK["base"], "quality_round_1": figure(3.1, 0.1, 95)}
    write_json(root / "metrics.json", metrics)
    text = page(root).text
    assert "Quality, control model" in text and "feedback, answer 1: 3.10" in text


def test_a_figure_at_chance_in_the_control_is_not_judged() -> None:
    found = json.loads(json.dumps(WITH_CONTROL))
    found["control"]["pope_accuracy"] = figure(0.51, 0.02)
    found["differences_from_control"]["pope_f1"] = figure(0.3, 0.02)
    [pope] = [c for c in comparisons(found, SHIPPED) if c.name == "pope_f1"]
    assert pope.verdict == "unclear" and pope.control is not None and pope.control.verdict == "chance"
    assert "POPE F1" not in against_control(comparisons(found, SHIPPED))

"""Verdicts are honest: better or worse only if the interval excludes 0, in both directions."""

import copy
from typing import Any

import pytest

from seelevel.report.figures import comparisons, headline, outcome, say_change, say_value

from .make_run import METRICS, figure
from .shipped import SHIPPED

pytestmark = pytest.mark.unit
SIDES = ("base", "aligned", "differences")


def metrics(name: str, value: float, low: float | None, high: float | None) -> dict[str, Any]:
    """Metrics of one name whose paired difference is as given; base .2."""
    base = {"value": 0.2, "low": 0.1, "high": 0.3, "n": 10}
    moved = {**base, "value": 0.2 + value}
    return {
        "base": {name: base},
        "aligned": {name: moved},
        "differences": {name: {"value": value, "low": low, "high": high, "n": 10}},
    }


def sentence(found: dict[str, Any]) -> str:
    return outcome(comparisons(found, SHIPPED)).replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("name", "value", "low", "high", "verdict"),
    [
        ("chair_i", -0.1, -0.12, -0.08, "better"),
        ("chair_i", 0.1, 0.08, 0.12, "worse"),
        ("chair_i", -0.1, -0.2, 0.0, "unclear"),
        ("chair_i", -0.1, -0.2, 0.001, "unclear"),
        ("chair_recall", 0.1, 0.08, 0.12, "better"),
        ("chair_recall", -0.1, -0.12, -0.08, "worse"),
        ("capability_accuracy", -0.1, -0.12, 0.02, "unclear"),
        ("capability_accuracy", -0.1, None, None, None),
        ("pope_yes", -0.1, -0.12, -0.08, "changed"),
        ("pope_random_f1", -0.1, -0.12, -0.08, "worse"),
        ("never_heard_of", -0.1, -0.12, -0.08, "changed"),
    ],
)
def test_a_verdict_needs_an_interval_without_0_and_a_direction(
    name: str, value: float, low: float | None, high: float | None, verdict: str | None
) -> None:
    assert comparisons(metrics(name, value, low, high), SHIPPED)[0].verdict == verdict


def test_the_outcome_names_changes_losses_and_unclear_figures() -> None:
    assert sentence(METRICS) == (
        "CHAIRi, the share of named objects that are not in the picture, fell from 21.3% to 12.9%, CHAIRs fell from "
        "38.5% to 24.2% and MRHal score (dialogues) rose from 3.24 to 3.55; Capability fell from 70.3% to 68.1%, which "
        "is worse; no clear change in CHAIR recall (81.2% → 81.6%) and POPE F1 (86.1% → 87.2%)."
    )


def test_the_outcome_names_no_change_if_every_interval_contains_0() -> None:
    found = copy.deepcopy(METRICS)
    for change in found["differences"].values():
        change["low"], change["high"] = -abs(change["value"]) - 0.01, abs(change["value"]) + 0.01
    said = sentence(found)
    assert said.startswith("No clear change in CHAIRi (21.3% → 12.9%)")
    assert not any(word in said for word in ("fell", "rose", "better", "worse"))


def test_the_outcome_names_what_has_no_interval() -> None:
    assert sentence(metrics("chair_i", -0.1, None, None)) == (
        "No interval, and so no verdict, for CHAIRi (20.0% → 10.0%)."
    )


def test_a_run_with_one_evaluated_side_names_it() -> None:
    alone = {"base": METRICS["base"], "aligned": {}, "differences": {}}
    assert sentence(alone).startswith("Only the base model has been evaluated: CHAIRi 21.3%, CHAIRs 38.5%")


def test_undefined_figures_are_left_out() -> None:
    nothing = {"value": None, "low": None, "high": None, "n": 0}
    found = metrics("chair_i", -0.1, -0.12, -0.08)
    found["base"]["mrhal_score_c"] = found["aligned"]["mrhal_score_c"] = nothing
    assert [c.name for c in comparisons(found, SHIPPED)] == ["chair_i"]


def test_rates_are_percent_and_changes_carry_a_true_minus_sign() -> None:
    assert say_value(0.2131, "rate") == "21.3%"
    assert say_value(4.071, "score") == "4.07"
    assert say_change(-0.084, "rate", unit=True) == "\N{MINUS SIGN}8.4 points"
    assert say_change(0.31, "score") == "+0.31"
    assert say_change(-0.0004, "rate") == "0.0"


def pope(accuracy: float, reach: float = 0.02, **more: float) -> dict[str, Any]:
    """A run whose F1 rose clearly, from a base model with this accuracy."""
    base = {"pope_accuracy": figure(accuracy, reach), "pope_f1": figure(0.6, 0.02)}
    base |= {name: figure(value, 0.01) for name, value in more.items()}
    rise = {"pope_accuracy": figure(0.1, 0.02), "pope_f1": figure(0.1, 0.02)}
    aligned = {"pope_accuracy": figure(accuracy + 0.1, reach), "pope_f1": figure(0.7, 0.02)}
    return {"base": base, "aligned": aligned, "differences": rise}


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (pope(0.51), "chance"),
        (pope(0.49), "chance"),
        (pope(0.60), "better"),
        (pope(0.40), "better"),  # its answers hold information, turned round
        (pope(0.60, pope_chance=0.61), "chance"),  # the sets are not balanced
        (pope(0.51, pope_chance=0.3), "better"),
        (pope(0.51, reach=0.0), "better"),
    ],
)
def test_pope_is_judged_only_if_the_base_is_not_at_chance(found: dict[str, Any], verdict: str) -> None:
    rows = {c.name: c for c in comparisons(found, SHIPPED)}
    assert (rows["pope_f1"].verdict, rows["pope_accuracy"].verdict) == (verdict, verdict)
    assert [c.name for c in headline(list(rows.values()))] == ([] if verdict == "chance" else ["pope_f1"])


def test_each_question_set_is_judged_by_its_own_base() -> None:
    found = metrics("pope_random_f1", 0.1, 0.08, 0.12)
    found["base"] |= {"pope_random_accuracy": figure(0.5, 0.02), "pope_accuracy": figure(0.8, 0.02)}
    rows = {c.name: c for c in comparisons(found, SHIPPED)}
    assert rows["pope_random_f1"].verdict == "chance"


def test_at_chance_the_outcome_names_no_improvement() -> None:
    assert "POPE" in sentence({side: {**METRICS[side], **pope(0.8)[side]} for side in SIDES})
    assert "POPE" not in sentence({side: {**METRICS[side], **pope(0.5)[side]} for side in SIDES})
    alone = sentence(pope(0.5))
    assert "at chance" in alone and not any(word in alone for word in ("rose", "fell", "better", "worse"))

"""Agreement of checkers, worked out by hand, and from the command line on the world."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from seelevel.check.audit import Order, agreement, audit, order_of, table
from seelevel.cli import app
from seelevel.errors import InputError
from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.levels import kendall_tau_b
from seelevel.notes import CheckNote


@pytest.mark.unit
def test_tau_b_of_orders_with_ties_worked_out_by_hand() -> None:
    # Of 6 pairs a ties (1, 2) and b ties (2, 3); the other 4 are ordered alike: 4 / √(5 · 5).
    assert kendall_tau_b([0, 1, 1, 2], [0, 1, 2, 2]) == 0.8
    # a ties (0, 1), b nothing; 4 pairs are alike, (1, 2) is reversed: 3 / √(5 · 6).
    assert kendall_tau_b([0, 0, 1, 2], [0, 2, 1, 3]) == pytest.approx(3 / 30**0.5)
    assert kendall_tau_b([0, 1, 2], [2, 1, 0]) == -1
    assert kendall_tau_b([0, 0, 0], [0, 1, 2]) is None
    assert kendall_tau_b([0], [0]) is None


@pytest.mark.unit
def test_tau_b_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    orders = [[0, 0, 1, 2, 2, 3], [3, 1, 1, 0, 2, 2], [5, 4, 3, 3, 1, 0], [0, 1, 0, 1, 0, 1]]
    for a in orders:
        for b in orders:
            assert kendall_tau_b(a, b) == pytest.approx(stats.kendalltau(a, b).statistic)


@pytest.mark.unit
def test_agreement_is_a_mean_over_ladders_both_have_ordered() -> None:
    a = [Order("1", (0, 1, 2), (0, 1, 2)), Order("2", (0, 1, 2), (0, 0, 1)), Order("3", (0, 1), None)]
    b = [Order("1", (0, 1, 2), (1, 0, 2)), Order("2", (0, 1, 2), (0, 0, 0)), Order("3", (0, 1), (0, 1))]
    figures = agreement(a, b)
    # Ladder 1: 2 of 3 pairs alike, 1 reversed. Ladder 2 has no τ_b, for b ties all; ladder 3 is unchecked.
    assert (figures["tau_b"]["value"], figures["tau_b"]["n"]) == (pytest.approx(1 / 3), 1)
    assert (figures["same_best"]["value"], figures["same_best"]["n"]) == (0, 2)


@pytest.mark.unit
def test_a_checkers_turns_and_circles_are_counted_against_the_order_before() -> None:
    orders = [
        Order("1", (0, 1, 2), (1, 0, 2), triples=1, circles=1),
        Order("2", (0, 1, 2), (0, 1, 1), triples=3, circles=0),
        Order("3", (0, 0), (1, 0)),  # a tie before, which cannot be turned
        Order("4", (0, 1), None),
    ]
    report = audit({"a": orders, "b": orders})
    counts = report["checkers"]["a"]
    assert (report["ladders"], counts["checked"], counts["unchecked"]) == (4, 3, 1)
    assert (counts["turned_ladders"]["value"], counts["turned_ladders"]["n"]) == (1 / 2, 2)
    assert counts["turned_pairs"]["value"] == 1 / 6
    assert counts["tied_pairs"]["value"] == 1 / 7
    assert (counts["triples"], counts["circles"], counts["contradiction_rate"]) == (4, 1, 1 / 4)
    assert [row["of"] for row in report["agreement"]] == [["a", "b"], ["a", "before"], ["b", "before"]]
    assert "1 of 4" in table(report)
    with pytest.raises(InputError, match="no ladder"):
        audit({"a": [], "b": []})


@pytest.mark.unit
def test_the_standard_response_is_left_out_and_equal_texts_are_told_apart() -> None:
    texts = ["standard", "same", "same", "other"]
    kinds = [{"kind": "standard"}, {}, {}, {}]
    responses = [
        Response([Message(role="assistant", content=text)], level, origin)
        for level, (text, origin) in enumerate(zip(texts, kinds, strict=True))
    ]
    given = Ladder("a", [Image("a.png")], [Message(role="user", content="<image>")], responses)
    levels = [0, 2, 2, 1]
    checked = given.ordered(
        [replace(r, level=level) for r, level in zip(responses, levels, strict=True)], CheckNote("x", (0, 1, 2, 3))
    )
    assert order_of(given, checked) == Order("a", (1, 2, 3), (2, 2, 1))
    assert order_of(given, given.left_unchecked(CheckNote("x", (0, 1, 2, 3), "no"))).levels is None


RECIPE = """
name: audited
data: {prompts: world:prompts, limit: 4}
generate: {experts: [world:xs, world:s], sampling: {max_new_tokens: 16}}
check: {encoder: world:clip}
align: {model: world:xs}
evaluate: {data: world:dev, judge: world:oracle, limit: 2}
"""


def test_the_command_compares_checkers_and_leaves_the_run_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(RECIPE)
    audits = ["--audit", "autocheck", "--audit", "{checker: judge, judge: world:oracle, judge_mode: pairwise}"]
    with pytest.raises(InputError, match="run `seelevel generate`"):
        app(["check", str(recipe), "--out", str(out), *audits], standalone_mode=False)
    app(["generate", str(recipe), "--out", str(out)], standalone_mode=False)
    capsys.readouterr()
    app(["check", str(recipe), "--out", str(out), *audits, "--audit", "autocheck"], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["agreement", "τ_b"]
    report = json.loads((out / "audit.json").read_text())
    assert list(report["checkers"]) == ["autocheck", "judge", "autocheck 2"]
    same = next(row for row in report["agreement"] if row["of"] == ["autocheck", "autocheck 2"])
    assert same["tau_b"]["value"] == 1 and same["tau_b"]["n"] > 0 and same["same_best"]["value"] == 1
    assert report["checkers"]["judge"]["settings"] == "the order of the judge world:oracle, pairwise"
    assert not (out / "check").exists()


@pytest.mark.unit
@pytest.mark.parametrize(
    ("audits", "message"),
    [
        (["autocheck"], "two checkers or more"),
        (["autocheck", "{checker: objects}"], "--audit {checker: objects}: .*check.annotations is missing"),
    ],
)
def test_one_checker_or_incomplete_settings_are_refused(tmp_path: Path, audits: list[str], message: str) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    given = [part for audit in audits for part in ("--audit", audit)]
    with pytest.raises(InputError, match=message):
        app(["check", str(tmp_path / "recipe.yaml"), *given], standalone_mode=False)

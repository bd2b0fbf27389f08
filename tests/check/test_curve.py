"""The threshold's curve, on the ladder of test_autocheck worked out by hand."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from spacy.language import Language

from seelevel.check.autocheck import AutoCheck
from seelevel.check.curve import FIGURES, GRID, curve, plot, rechecked, show_curve
from seelevel.cli import app
from seelevel.errors import InputError
from seelevel.formats.parquet import save_ladders
from seelevel.ladder import Ladder
from tests.check.test_autocheck import Table, ladder, words  # noqa: F401 - a fixture

pytestmark = pytest.mark.unit


@pytest.fixture
def checked(words: Language) -> list[Ladder]:  # noqa: F811
    # Similarities of 'mug.': chunks .8 .6 0, sentences .6 .8, score .58333; of 'lamp.': 0 0 1 and 0 1, score .41667.
    ladders = [ladder("cup dog. lamp.", "mug.", "lamp."), replace(ladder("Yes.", "mug."), id="unchecked")]
    return list(AutoCheck(Table(), 0.9, words)(ladders))


def test_each_threshold_is_judged_as_the_check_would(checked: list[Ladder]) -> None:
    low, middle, high = curve(rechecked(checked), [0.5, 0.75, 0.9])
    # .5: Acc 5/6 and 5/12. .75: 5/12 both, the score decides. .9: 0 and 5/12, so 'lamp.' comes first.
    assert low == pytest.approx(
        {"threshold": 0.5, "acc": 5 / 8, "undecided": 0, "tied": 0, "reordered": 0, "agreement": 1}, abs=1e-5
    )
    assert middle == pytest.approx(
        {"threshold": 0.75, "acc": 5 / 12, "undecided": 1, "tied": 0, "reordered": 0, "agreement": 1}, abs=1e-5
    )
    assert high == pytest.approx(
        {"threshold": 0.9, "acc": 5 / 24, "undecided": 0, "tied": 0, "reordered": 1, "agreement": 0}, abs=1e-5
    )
    assert checked[0].reordered


def test_a_known_order_may_come_from_other_ladders(checked: list[Ladder]) -> None:
    standard, mug, lamp = ladder("cup dog. lamp.", "mug.", "lamp.").responses
    known = replace(checked[0], responses=[standard, replace(lamp, level=1), replace(mug, level=2)])
    rows = curve(rechecked(checked, {known.id: known}), [0.75, 0.9])
    assert [row["agreement"] for row in rows] == [0, 1]


def test_equal_responses_tie_and_count_half(words: Language) -> None:  # noqa: F811
    checked = AutoCheck(Table(), 0.9, words)([ladder("cup dog.", "mug.", "mug.")])
    (row,) = curve(rechecked(checked), [0.75])
    assert (row["undecided"], row["tied"], row["agreement"]) == (1, 1, 0.5)


def test_a_response_without_chunks_is_covered_by_no_threshold(words: Language) -> None:  # noqa: F811
    checked = AutoCheck(Table(), 0.9, words)([ladder("cup dog.", "Nothing there.")])
    (row,) = curve(rechecked(checked), [-1])
    assert row["acc"] == 0
    assert row["agreement"] is None


def test_ladders_without_reasons_or_known_order_are_refused(checked: list[Ladder]) -> None:
    with pytest.raises(InputError, match="none of 1 ladders carries autocheck's reasons"):
        rechecked([ladder("cup dog.", "mug.")])
    with pytest.raises(InputError, match="ladder one: response 1 is not in the known order"):
        rechecked(checked, {"one": replace(ladder("cup dog.", "mug.", "cup."))})


def test_the_command_reads_reasons_and_draws(checked: list[Ladder], tmp_path: Path) -> None:
    save_ladders(checked, tmp_path / "checked.parquet")
    found = show_curve(tmp_path / "checked.parquet", None, None, None, 10, tmp_path / "curve.svg")
    assert found["settings"]["threshold"] == 0.9
    assert (found["settings"]["ladders"], found["settings"]["unchecked"]) == (1, 1)
    assert found["curve"] == curve(rechecked(checked))
    assert json.loads(json.dumps(found)) == found
    assert (tmp_path / "curve.svg").read_text().count("<path") > 5
    with pytest.raises(InputError, match=r"curve\.txt: the plot cannot be written"):
        plot(found["curve"], 0.9, tmp_path / "curve.txt")


def test_the_commands_table_has_a_line_a_threshold(
    checked: list[Ladder], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_ladders(checked, tmp_path / "checked.parquet")
    app(["threshold", str(tmp_path / "checked.parquet")], standalone_mode=False)
    head, *rows, last = capsys.readouterr().out.splitlines()
    assert head.split() == ["threshold", *FIGURES]
    assert [float(row.split()[0]) for row in rows] == list(GRID)
    assert last == "threshold in force: 0.9; 1 ladders"
    with pytest.raises(InputError, match=r"out/generate does not exist"):
        app(["threshold", "world-quick", "--out", str(tmp_path / "out")], standalone_mode=False)

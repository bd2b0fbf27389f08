"""The tables' bookkeeping; the trainings themselves take hours and are run by `make reproduce`."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.reproduce.experiments import AGAINST, COMPARED, EXPERIMENTS, HEAVIER, ORDERS, SOURCES, TABLES
from benchmarks.reproduce.page import (
    COLUMNS,
    JUDGED_BY,
    Results,
    _comparisons,
    _matrix,
    _summary,
    page_text,
    paper_orders,
)
from benchmarks.reproduce.runs import TEXT_MEASURES, ladders, repetition, settings_of
from seelevel.formats import parquet
from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.pipeline import Run
from seelevel.scorers.intervals import Measure, ratio
from seelevel.store import StageFolder

pytestmark = pytest.mark.unit
PAGE = Path(__file__).parents[2] / "docs" / "reproduction.md"


def test_every_row_of_every_table_is_an_experiment_with_a_source_and_an_order():
    for table in TABLES:
        for row in table.rows:
            experiment = EXPERIMENTS[row.experiment]
            assert experiment.source in SOURCES
            assert experiment.order in ORDERS


def test_repetition_counts_repeated_four_grams():
    # a b c d | b c d a | c d a b | d a b c | a b c d: the fifth repeats the first
    assert repetition("a b c d a b c d") == {"words": 8, "grams": 5, "repeated": 1}
    assert repetition("too short") == {"words": 2, "grams": 0, "repeated": 0}
    assert TEXT_MEASURES[0].name == "repetition"


def ladder(number: int, levels: int) -> Ladder:
    responses = [Response([Message(role="assistant", content=f"answer {k}")], k, {}) for k in range(levels)]
    return Ladder(f"l{number}", [Image("a.png")], [Message(role="user", content="<image>\nWhat?")], responses)


def test_every_experiment_trains_for_equally_many_steps():
    some = [ladder(n, 1 + n % 2) for n in range(10)]  # five have a pair, all ten have a best response
    paired = settings_of(EXPERIMENTS["mdpo"], some)
    best = settings_of(EXPERIMENTS["sft"], some)
    assert paired.epochs * 5 == best.epochs * 10


def results_of(wrong: dict[str, list[float]], names: Sequence[str]) -> Results:
    """Results of one seed: per experiment one answer to each picture, with the same figure in every measure."""
    measures = [Measure(name, lambda item: (item["wrong"], 1), ratio) for name in names]
    items = {
        name: {"chair": [{"wrong": w, "cluster": str(n)} for n, w in enumerate(answers)]}
        for name, answers in wrong.items()
    }
    return Results(items, {name: [0] for name in wrong}, {"chair": measures})


def test_an_order_appears_only_if_the_paired_interval_excludes_zero():
    bad, good = [1.0] * 40, [0.0] * 40
    # The paper: K = 4 (3.17), 5 (2.96), 3 (2.88), 2 (2.69). Less is better by CHAIRi, more by MRHal's score.
    results = results_of({"k2": bad, "k3": bad, "mdpo": good, "k5": good}, list(JUDGED_BY))
    orders = paper_orders(results, TABLES[0])
    assert orders.ranked == ["K = 4", "K = 5", "K = 3", "K = 2"]
    assert _matrix(orders)[2:] == [
        "| better \\ worse | K = 5 | K = 3 | K = 2 |",
        "| --- | --- | --- | --- |",
        "| K = 4 | · · | ✓ ✗ | ✓ ✗ |",
        "| K = 5 |  | ✓ ✗ | ✓ ✗ |",
        "| K = 3 |  |  | · · |",
        "",
    ]
    assert _summary([orders])[-2] == "| Levels | 6 | 4 | 0 | 2 | 0 | 4 | 2 |"


def test_a_table_without_a_decided_order_has_no_matrix():
    same = [1.0, 0.0] * 20
    assert _matrix(paper_orders(results_of(dict.fromkeys(("mdpo", "ig"), same), list(JUDGED_BY)), TABLES[3])) == []


def test_a_comparison_is_the_paired_difference_and_its_relative_size():
    names = [name for name in COLUMNS if name not in ("repetition", "words")]
    table = _comparisons(results_of({"base": [0.5] * 40, HEAVIER: [0.3] * 40}, names))[4:]
    assert len(table) == 4  # header, line, one row, blank: experiments without results are left out
    assert table[2].startswith(f"| {HEAVIER} − base | -0.2000 [-0.2000, -0.2000] |")
    assert table[2].endswith("| -40% / -40% |")
    one_picture = _comparisons(results_of({"base": [0.5], HEAVIER: [0.3]}, names))
    assert any(line.startswith(f"| {HEAVIER} − base | -0.2000 [–] |") for line in one_picture)
    assert {*COMPARED, *AGAINST.values()} <= {"base", *EXPERIMENTS}


def words(text: str) -> str:
    """A page without figures, marks and the matrices, which depend on figures."""
    text = re.sub(r"The paper's orders, by .*\n\n(\|.*\n)+\n?", "", text)
    return re.sub(r"[-+]?\d[\d.]*%?( \[[^]]*\])?|–", "#", text).rstrip()


def test_the_page_in_the_docs_has_the_words_of_the_benchmark():
    wrong = {name: [0.5, 0.25] for name in ("base", *EXPERIMENTS)}
    text = page_text(results_of(wrong, list(COLUMNS)), "test", [0, 1, 2])
    assert words(text) == words(PAGE.read_text("utf-8"))


def test_ladders_in_another_order_keep_the_answers_and_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = tmp_path / "ladders" / "samples-checked-0"
    (made / "images").mkdir(parents=True)
    (made / "images" / "one.png").touch()
    for stage in ("inputs", "data", "generate"):
        StageFolder(made / stage, "0").begin()
        StageFolder(made / stage, "0").finish()
    monkeypatch.setattr(Run, "alone", lambda self, stage: self.out / stage)
    monkeypatch.setattr(parquet, "read_ladders", lambda *_: [])
    ladders(tmp_path, "samples", "f1", 0)
    assert (tmp_path / "ladders" / "samples-f1-0" / "images" / "one.png").is_file()

"""The tables' bookkeeping; the trainings themselves take hours and are run by `make reproduce`."""

import pytest

from benchmarks.reproduce.experiments import AGAINST, COMPARED, EXPERIMENTS, ORDERS, SOURCES, TABLES
from benchmarks.reproduce.page import JUDGED_BY, Results, _comparisons, _trends
from benchmarks.reproduce.runs import TEXT_MEASURES, repetition, settings_of
from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.scorers.intervals import Measure, ratio

pytestmark = pytest.mark.unit


def test_every_row_of_every_table_is_an_experiment_with_a_source_and_an_order():
    for table in TABLES:
        for row in table.rows:
            experiment = EXPERIMENTS[row.experiment]
            assert experiment.source in SOURCES
            assert experiment.order in ORDERS


def test_repetition_counts_four_grams_that_were_said_before():
    # a b c d | b c d a | c d a b | d a b c | a b c d: the fifth repeats the first
    assert repetition("a b c d a b c d") == {"words": 8, "grams": 5, "repeated": 1}
    assert repetition("too short") == {"words": 2, "grams": 0, "repeated": 0}
    assert TEXT_MEASURES[0].name == "repetition"


def ladder(number: int, levels: int) -> Ladder:
    said = [Response([Message(role="assistant", content=f"answer {k}")], k, {}) for k in range(levels)]
    return Ladder(f"l{number}", [Image("a.png")], [Message(role="user", content="<image>\nWhat?")], said)


def test_every_experiment_trains_for_equally_many_steps_whatever_counts():
    some = [ladder(n, 1 + n % 2) for n in range(10)]  # five have a pair, all ten have a best response
    paired = settings_of(EXPERIMENTS["mdpo"], some)
    best = settings_of(EXPERIMENTS["sft"], some)
    assert paired.epochs * 5 == best.epochs * 10


def test_a_trend_is_claimed_only_where_the_paired_interval_leaves_zero():
    rate = [Measure(name, lambda item: (item["wrong"], 1), ratio) for name in JUDGED_BY]  # less is better, more is

    def items(wrong):
        return {"chair": [{"wrong": w, "cluster": str(n)} for n, w in enumerate(wrong)]}

    names = {"k2": 2.69, "k3": 2.88, "mdpo": 3.17, "k5": 2.96}
    bad, good = [1] * 40, [0] * 40
    by_name = {"k2": bad, "k3": bad, "mdpo": good, "k5": good}
    results = Results({n: items(by_name[n]) for n in names}, {n: [0] for n in names}, {"chair": rate})
    lines = _trends(results, TABLES[0])
    assert lines[0] == "Of the paper's 6 orders, by CHAIRi ↓:"
    assert lines[2].startswith("- 4 appear: ")
    assert lines[3] == "- 0 are reversed."
    assert lines[4] == "- 2 cannot be told apart: K = 3 over K = 2; K = 4 over K = 5."
    assert lines[6:9] == ["Of the paper's 6 orders, by MRHal score ↑:", "", "- 0 appear."]
    assert lines[9].startswith("- 4 are reversed: ")


def test_what_preferences_changed_is_the_paired_difference_and_its_share_of_what_was():
    names = ("chair_i", "chair_s", "chair_recall", "pope_f1", "mrhal_score_c", "capability_accuracy")
    rate = [Measure(name, lambda item: (item["wrong"], 1), ratio) for name in names]
    items = {
        n: {"chair": [{"wrong": w, "cluster": str(c)} for c in range(40)]} for n, w in (("base", 0.5), ("ours", 0.3))
    }
    lines = _comparisons(Results(items, {"base": [0], "ours": [0]}, {"chair": rate}))
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 3  # what has not been run is left out
    assert table[2].startswith("| ours less base | -0.2000 [-0.2000, -0.2000] |")
    assert table[2].endswith("| -40% / -40% |")
    one = {n: {"chair": found["chair"][:1]} for n, found in items.items()}  # one picture: no interval
    lines = _comparisons(Results(one, {"base": [0], "ours": [0]}, {"chair": rate}))
    assert any(line.startswith("| ours less base | -0.2000 [–] |") for line in lines)
    assert {*COMPARED, *AGAINST.values()} <= {"base", *EXPERIMENTS}

"""The measurements of scale: costs from sizes and times, the judge's limits, and a small run beside its forecast."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("simpy", reason="seelevel[bench] is not installed")

from benchmarks import scale_check, scale_measure, scale_predict
from benchmarks.scale_check import Case
from benchmarks.scale_server import Limited, verdict
from seelevel.check.judge_prompts import LISTWISE
from seelevel.judge.replies import parse_ratings
from seelevel.templates import compiled, rendered

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.mark.unit
def test_a_shard_and_a_prompt_have_their_costs_from_two_sizes() -> None:
    times = {"wall": 99.0, "seconds": 60.0, "start": 10.0, "jobs": [[(128, 30.0), (128, 14.8), (32, 5.2)]]}
    costs = scale_measure._costs(times, 288)
    assert (costs["load"], costs["prompt"], costs["shard"]) == pytest.approx((10, 0.1, 2.0))
    assert costs["rest"] == pytest.approx((60 - 10 - 50) / 288)


@pytest.mark.unit
def test_medians_are_taken_of_every_number() -> None:
    runs = [{"a": {"b": 1.0}, "c": 5.0}, {"a": {"b": 3.0}, "c": 4.0}, {"a": {"b": 2.0}, "c": 9.0}]
    assert scale_measure.medians(runs) == {"a": {"b": 2.0}, "c": 5.0}


@pytest.mark.unit
def test_what_a_ladder_costs_is_the_slope_of_the_largest_runs() -> None:
    rows = [{"what": "read", "ladders": n, "seconds": 3 + 0.01 * n} for n in (1000, 10_000, 50_000)]
    assert scale_predict.per_ladder([*rows, {"what": "prepare", "ladders": 200, "seconds": 8}]) == pytest.approx(
        {"read": 0.01, "prepare": 0.04}
    )


@pytest.mark.unit
def test_the_judge_refuses_what_is_too_much_until_the_next_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("benchmarks.scale_server.time.monotonic", lambda: now[0])
    server = Limited(0.0, 2)
    server.counts.began = 1000.0
    assert [server.wait(), server.wait(), server.wait()] == [0, 0, 60]
    now[0] = 1050.0
    assert server.wait() == 10
    now[0] = 1060.0
    assert server.wait() == 0


@pytest.mark.unit
def test_the_judges_ratings_are_as_many_as_the_answers() -> None:
    answer = [{"question": "What is there?", "reference": "", "answer": "A dog."}]
    asked = rendered(compiled(LISTWISE), pictures=0, image_content=[], rounds=1, answers=[answer] * 5)
    assert len(parse_ratings(verdict(asked), 5, 10)) == 5


@pytest.mark.unit
@pytest.mark.parametrize("case", [case for cases in scale_check.CASES.values() for case in cases], ids=lambda c: c.name)
def test_each_case_can_be_predicted(case: Case) -> None:
    outcome = scale_check.predicted(case, {}, {"question": 1e-4, "asking": 0.0})
    assert outcome.seconds > 0 and outcome.deaths == len(case.kills)


@pytest.mark.unit
def test_the_worker_in_place_of_a_killed_one_takes_its_time_to_start() -> None:
    case = Case("answers", 64, 16, 1, kills=(1.0,))
    quick, slow = (scale_check.predicted(case, {}, {"worker": start}).seconds for start in (0.0, 2.0))
    assert slow == pytest.approx(quick + 2.0)


@pytest.mark.unit
def test_questions_take_the_cheaper_of_one_by_one_and_many_at_once() -> None:
    ray = {"question": 3e-3, "asking": 1e-3, "crowded": 2e-3, "crowded_asking": 4e-3}
    slow, fast = (scale_predict._ray({"ray": ray}, which) for which in (0, 1))
    assert (slow["question"], slow["asking"]) == (3e-3, 1e-3)
    assert (fast["question"], fast["asking"]) == (2e-3, 1e-3)


def test_a_real_run_takes_at_least_what_its_judge_needs() -> None:
    case = Case("calls", 12, 6, 0, limits=(3, 0.3, 1e9))
    assert scale_check.predicted(case, {}, {}).seconds == pytest.approx(4 * 0.3)
    assert scale_check.run(case)["seconds"] >= 4 * 0.3


@pytest.mark.unit
def test_the_figures_that_the_simulator_starts_from_are_all_there() -> None:
    measured = json.loads((RESULTS / "scale-sim.json").read_text("utf-8"))
    assert {"machine", "load", "day"} <= set(measured["settings"])
    assert measured["calls"]["seconds"] > 0
    assert {"generate", "check", "check, judge", "feedback, judge"} <= set(measured["stages"])
    each = scale_predict.per_ladder(measured["single"])
    assert {"write", "count", "read", "report", "prepare"} <= set(each)
    assert 0 < scale_predict.received(measured["single"]) < each["prepare"]

"""The simulator of scale: exact where there is a formula, and nothing is lost or done twice where there is none."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

pytest.importorskip("simpy", reason="seelevel[bench] is not installed")

from benchmarks.scale_parts import Judge, Outcome, Stage, Workers
from benchmarks.scale_sim import simulate

pytestmark = pytest.mark.unit
PLAIN = Stage(prompts=1280, size=128, prompt=0.25, shard=1.0, load=8.0)


@pytest.mark.parametrize("count", [1, 3, 10, 16])
def test_equal_shards_take_as_many_turns_as_workers_need(count: int) -> None:
    seconds = simulate(PLAIN, Workers(count, start=2.0)).seconds
    assert seconds == pytest.approx(2 + 8 + math.ceil(10 / count) * (1 + 128 * 0.25))


def test_the_last_shard_may_be_smaller() -> None:
    assert Stage(prompts=300, size=128).shards == [128, 128, 44]
    assert simulate(replace(PLAIN, prompts=300), Workers(3)).seconds == pytest.approx(8 + 33)


def test_the_first_process_adds_its_parts() -> None:
    stage = Stage(prompts=1280, before=30.0, serial=0.5, driver=4.0)
    assert simulate(stage, Workers(100)).seconds == pytest.approx(30 + 10 * 4 + 640)


def test_a_shared_disk_serves_one_after_the_other() -> None:
    assert simulate(Stage(prompts=1280, megabytes=2.0), Workers(10, disk=128.0)).seconds == pytest.approx(20)


def test_workers_share_processors() -> None:
    alone = simulate(replace(PLAIN, load=0.0), Workers(2)).seconds
    assert simulate(replace(PLAIN, load=0.0), Workers(4, cores=2)).seconds == pytest.approx(alone, rel=0.01)


@pytest.mark.parametrize(("at_once", "turns"), [(8, 2 * 16), (100, 2 * 2), (500, 2)])
def test_a_shard_waits_for_its_last_reply(at_once: int, turns: int) -> None:
    """Two shards of 128 calls, one worker whose threads are the limit."""
    assert simulate(Stage(prompts=256, calls=1), Workers(), Judge(at_once, latency=3.0)).seconds == turns * 3.0


def test_calls_at_once_hold_over_all_workers() -> None:
    outcome = simulate(Stage(prompts=640, calls=1), Workers(5), Judge(10, latency=2.0, state=1e-5))
    assert outcome.calls["answered"] == 640
    assert 128 <= outcome.seconds < 128 * 1.05  # a worker looks for a free place each 20 ms


def test_a_limit_per_minute_ends_in_the_minute_that_it_allows() -> None:
    outcome = simulate(Stage(prompts=640, calls=1), Workers(), Judge(8, latency=0.01, per_minute=200))
    assert 180 <= outcome.seconds < 185  # 200 in each of three minutes, and the rest in the fourth
    assert outcome.calls["refused"] > 0


def test_a_killed_workers_shard_is_done_again_from_its_beginning() -> None:
    outcome = simulate(replace(PLAIN, prompts=128), Workers(1, start=2.0, kills=(20.0,)))
    assert outcome.seconds == pytest.approx(20 + 2 + 8 + 33)
    assert (outcome.began[0], outcome.done[0], outcome.deaths) == (2, 1, 1)


def test_replies_of_a_killed_worker_are_kept() -> None:
    outcome = simulate(Stage(prompts=128, calls=1), Workers(1, kills=(9.0,)), Judge(8, latency=2.0))
    assert outcome.calls["lost"] == 8  # those in flight
    assert outcome.seconds == pytest.approx(9 + (128 - 4 * 8) / 8 * 2)


def test_a_shard_that_kills_its_workers_stops_the_run() -> None:
    outcome = simulate(replace(PLAIN, prompts=128), Workers(1, kills=(10.0, 20.0, 30.0, 40.0, 50.0)))
    assert outcome.stopped and not outcome.done


def lower_bound(stage: Stage, workers: Workers, judge: Judge) -> float:
    """No schedule is faster: all work of each resource, if it never waits."""
    computing = (stage.prompts * stage.prompt + len(stage.shards) * stage.shard) / workers.count
    calling = stage.prompts * stage.calls * judge.latency / judge.at_once
    return max(computing, calling, len(stage.shards) * stage.driver, stage.prompts * stage.megabytes / workers.disk)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("state", [0.0, 1e-4])
def test_whoever_dies_each_prompt_is_done_once_and_no_resource_is_used_too_much(seed: int, state: float) -> None:
    stage = Stage(prompts=1000, size=64, prompt=0.1, spread=1.0, shard=0.5, load=3, driver=0.1, megabytes=0.1, calls=1)
    workers = Workers(1 if not state else 4, start=1.0, failures=30, per_machine=2, machine_failures=10, disk=50.0)
    workers = replace(workers, notice=2.0, back=5.0, kills=(15.0, 25.0))
    judge = Judge(6, latency=0.2, spread=0.5, state=state, per_minute=2000)
    outcome = simulate(stage, workers, judge, seed)
    assert outcome.deaths >= 2 and not outcome.stopped
    assert dict(outcome.done) == dict.fromkeys(range(16), 1)
    assert outcome.calls["answered"] == 1000
    assert outcome.calls["lost"] <= 6 * outcome.deaths
    assert sum(outcome.began.values()) <= 16 + outcome.deaths
    assert all(outcome.share(name) <= 1 + 1e-9 for name in outcome.busy)
    assert outcome.seconds >= 0.8 * lower_bound(stage, workers, judge)  # its times are drawn
    assert outcome == simulate(stage, workers, judge, seed)


def test_without_failures_the_busiest_resource_is_a_lower_bound() -> None:
    judge = Judge(4, latency=0.5)
    stages = (replace(PLAIN, calls=1), replace(PLAIN, driver=50.0), replace(PLAIN, megabytes=1.0), PLAIN)
    for stage in stages:
        outcome: Outcome = simulate(stage, Workers(1, disk=2.0), judge)
        assert outcome.seconds >= max(lower_bound(stage, Workers(1, disk=2.0), judge), outcome.busy[outcome.busiest])


def test_workers_that_look_for_a_free_place_leave_the_limits_free() -> None:
    """Their pauses grow with their number, so that replies do not wait for their questions."""
    stage, judge = Stage(prompts=512, size=32, calls=1), Judge(8, latency=1.0, state=1e-3)
    few, many = (simulate(stage, Workers(count), judge) for count in (1, 16))
    assert many.share("limits") < 0.2
    assert many.seconds < few.seconds * 1.1


def test_the_beginning_of_a_run_is_the_same_run() -> None:
    stage, judge = Stage(prompts=640, calls=1), Judge(8, latency=2.0, spread=0.5)
    begin, whole = (simulate(stage, Workers(), judge, until=until) for until in (40.0, None))
    assert begin.seconds == 40 and 0 < begin.calls["answered"] < whole.calls["answered"] == 640
    assert 0.5 < begin.share("judge") <= 1

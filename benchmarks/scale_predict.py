"""What the simulator of scale predicts for a million prompts, K = 8, on 1, 8 and 64 GPUs.

    python -m benchmarks.scale_predict        # Markdown tables; reads benchmarks/results/scale-sim.json

Everything here is predicted. The costs of this package's own code were measured (`benchmarks.scale_measure`); what a
GPU, a disk and a judge can do is assumed, as a range, and stated in `ASSUMED`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.scale_parts import Judge, Outcome, Stage, Workers
from benchmarks.scale_sim import simulate

PROMPTS, K, GPUS = 1_000_000, 8, (1, 8, 64)
MEASURED = Path(__file__).parent / "results" / "scale-sim.json"
WINDOW = 300.0
"""Simulated seconds of a stage with a judge, of which the first third does not count. The rate of the others is taken
for the whole stage: it soon repeats itself."""
ASSUMED = {
    "tokens per second of a GPU": (3_281, 6_562),
    "tokens per answer": 100,
    "training, seconds per ladder and GPU": (0.239, 0.112),
    "auto-check, seconds per ladder and GPU": (0.098, 0.046),
    "loading a 7B model, seconds": 60.0,
    "megabytes per prompt": 0.2,
    "disk, megabytes per second": 1_000.0,
    "deaths of a worker per hour": 1 / 24,
    "losses of a machine of 8 GPUs per hour": 1 / 720,
    "judge, seconds per call": 2.0,
    "judge, calls at once": 32,
    "starting a worker, seconds": 10.0,
    "first process, seconds per shard": 0.005,
    "question to the limits, seconds": (1e-3, 2e-4),
}
"""Ranges are (slow, fast). Tokens: Mistral-7B in vLLM 0.5.4 on an H100, 320 requests (Lambda, vllm-benchmark,
benchmark_v0.md), and twice that, as the same page says of 0.6.0. Training: LLaVA-1.5-7B's shape with LoRA on an H200,
0.194 s at K = 5 (benchmarks/results/gpu.md), times 1,248/1,011 tokens; fast: the same tokens at 45% MFU, an aim that
nobody has measured. The auto-check: 229 s for 1,000 ladders of K = 5 on 2 cores (benchmarks/results/check.md), for
K = 8, with 8 or 16 cores per GPU. The last three, of Ray, are used only if nobody has measured them."""


@dataclass(frozen=True)
class Row:
    """A predicted stage: hours for (slow, fast) assumptions, and what is busiest in the fast case. gpus: None
    where their number has no effect."""

    stage: str
    gpus: int | None
    hours: tuple[float, float]
    busiest: str
    share: float


def main() -> None:
    measured = json.loads(MEASURED.read_text("utf-8"))
    print("| stage | GPUs | predicted hours | busiest | of the time |\n| --- | --- | --- | --- | --- |")
    for row in rows(measured):
        slow, fast = row.hours
        hours = f"{fast:.1f} to {slow:.1f}" if f"{slow:.1f}" != f"{fast:.1f}" else f"{slow:.1f}"
        print(f"| {row.stage} | {row.gpus or '–'} | {hours} | {row.busiest} | {row.share:.0%} |")


def rows(measured: Mapping[str, Any]) -> Iterator[Row]:
    each = per_ladder(measured["single"])
    for gpus in GPUS:
        yield _pair("generate", gpus, [generate(measured, each, gpus, n) for n in (0, 1)])
    for gpus in GPUS:
        yield _pair("check, auto-check", gpus, [autocheck(measured, each, gpus, n) for n in (0, 1)])
    calls = int(ASSUMED["judge, calls at once"])
    yield _judged(f"check, a judge, {calls} calls at once, one process", measured, each, None, 0, calls)
    for workers in (2, 8, 64):
        name = f"check, a judge, {calls} calls at once, {workers} workers of Ray"
        yield _judged(name, measured, each, None, workers, calls)
    for gpus in GPUS:
        name = f"check, a judge on each GPU with {calls} calls at once, Ray"
        yield _judged(name, measured, each, gpus, gpus, calls * gpus)
    for gpus in GPUS:
        yield align(each, received(measured["single"]), gpus)
    yield Row("report", None, (each["report"] * PROMPTS / 3600,) * 2, "first process", 1.0)


def per_ladder(single: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds per ladder of what one process does, from the two largest numbers of ladders measured (or the only
    one)."""
    costs = {}
    for what in {row["what"] for row in single}:
        points = sorted((row["ladders"], row["seconds"]) for row in single if row["what"] == what)
        (less, quick), (more, slow) = points[-2:] if len(points) > 1 else ((0, 0.0), points[0])
        costs[what] = (slow - quick) / (more - less)
    return costs


def received(single: list[dict[str, Any]]) -> float:
    """Seconds in which a process takes over a ladder that another one has prepared."""
    return next(float(row["received"]) / row["ladders"] for row in single if row["what"] == "prepare")


def _pair(stage: str, gpus: int | None, outcomes: list[Outcome]) -> Row:
    slow, fast = outcomes
    return Row(stage, gpus, (slow.seconds / 3600, fast.seconds / 3600), fast.busiest, fast.share(fast.busiest))


def _ray(measured: Mapping[str, Any], which: int = 1) -> dict[str, float]:
    """What Ray's processes take, measured or assumed. Slow: questions one by one; fast: the cheaper of those and of
    many at once."""
    question = _range("question to the limits, seconds", which)
    assumed = {
        "worker": ASSUMED["starting a worker, seconds"],
        "driver": ASSUMED["first process, seconds per shard"],
        "question": question,
        "asking": question,
    }
    ray = {**assumed, **measured.get("ray", {})}
    if which and "crowded" in ray:
        ray["question"] = min(ray["question"], ray["crowded"])
        ray["asking"] = min(ray["asking"], ray["crowded_asking"])
    return ray


def _workers(measured: Mapping[str, Any], count: int) -> Workers:
    return Workers(
        count,
        start=_ray(measured)["worker"],
        failures=ASSUMED["deaths of a worker per hour"],
        machine_failures=ASSUMED["losses of a machine of 8 GPUs per hour"],
        disk=ASSUMED["disk, megabytes per second"],
    )


def _range(name: str, which: int) -> float:
    value = ASSUMED[name]
    assert isinstance(value, tuple)
    return float(value[which])


def generate(measured: Mapping[str, Any], each: Mapping[str, float], gpus: int, which: int) -> Outcome:
    """One model that gives K samples per prompt. The first process puts the ladders together."""
    seconds = K * ASSUMED["tokens per answer"] / _range("tokens per second of a GPU", which)
    stage = Stage(
        PROMPTS,
        prompt=seconds,
        spread=0.3,
        load=ASSUMED["loading a 7B model, seconds"],
        driver=_ray(measured)["driver"],
        serial=each["read"] + each["write"] + each["count"],
        megabytes=ASSUMED["megabytes per prompt"],
    )
    return simulate(stage, _workers(measured, gpus))


def autocheck(measured: Mapping[str, Any], each: Mapping[str, float], gpus: int, which: int) -> Outcome:
    """The processors beside the GPUs. The first process counts at the end."""
    stage = Stage(
        PROMPTS,
        prompt=_range("auto-check, seconds per ladder and GPU", which) + each["read"] + each["write"],
        load=20.0,
        driver=_ray(measured)["driver"],
        serial=each["count"],
        megabytes=2 * each.get("megabytes", 0.01),
    )
    return simulate(stage, _workers(measured, gpus))


def _judged(
    name: str, measured: Mapping[str, Any], each: Mapping[str, float], gpus: int | None, workers: int, calls: int
) -> Row:
    """One call per ladder. `workers`: of Ray; 0 for this process alone."""
    return _pair(name, gpus, [judged(measured, each, workers, calls, which) for which in (0, 1)])


def judged(measured: Mapping[str, Any], each: Mapping[str, float], workers: int, calls: int, which: int) -> Outcome:
    """The rate of a window without its first third, for all prompts."""
    judge = Judge(calls, ASSUMED["judge, seconds per call"], spread=0.5, client=measured["calls"]["seconds"])
    if workers:
        ray = _ray(measured, which)
        judge = replace(judge, state=ray["question"], poll=ray["asking"])
    stage = Stage(PROMPTS, calls=1, driver=_ray(measured)["driver"] if workers else 0.0)
    run = partial(simulate, stage, replace(_workers(measured, max(workers, 1)), start=0.0), judge)
    begin, outcome = run(until=WINDOW / 3), run(until=WINDOW)
    scale = PROMPTS / (outcome.calls["answered"] - begin.calls["answered"])
    outcome.seconds = (WINDOW - begin.seconds) * scale
    outcome.busy = Counter({name: (busy - begin.busy[name]) * scale for name, busy in outcome.busy.items()})
    outcome.seconds += each["count"] * PROMPTS
    return outcome


def align(each: Mapping[str, float], taken_over: float, gpus: int) -> Row:
    """One epoch. Before the first step every process reads all ladders, prepares its share of them, and takes the
    others' over, in so many seconds each."""
    alone = (each["read"] + each["prepare"] / gpus + taken_over * (1 - 1 / gpus)) * PROMPTS
    slow, fast = (alone + PROMPTS * _range("training, seconds per ladder and GPU", which) / gpus for which in (0, 1))
    busiest = "before the first step" if alone > fast - alone else "GPUs"
    return Row("align, one epoch", gpus, (slow / 3600, fast / 3600), busiest, max(alone, fast - alone) / fast)


if __name__ == "__main__":
    main()

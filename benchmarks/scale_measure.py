"""What the parts of a run cost on this machine: the figures that the simulator of scale starts from.

    python -m benchmarks.scale_measure --json > measured.txt     # about six minutes

- *stages*: world-quick on 288 prompts (shards of 128, 128 and 32), then its check and its feedback by a judge that
  answers at once. The first shard warms up; the others give the cost of a shard and of a prompt.
- *single*: what one process does with all ladders, for 1,000, 10,000 and 50,000 ladders of K = 8: the counts of
  `check`, the ladders that `align` reads, the report; and preparing ladders for LLaVA-1.5's processor.
- *calls*: what a process computes per call of a judge that answers at once, its ladder's part included.
- *ray*: starting workers, the first process's work per shard, and questions to the process that holds the limits of
  servers, by one thread and by sixteen at once (*crowded*).

Every part is a process. Seconds of computing are the processor's, which other work on the machine changes little;
`wall` stands beside them. The last thing printed is one JSON object, {"settings": …, "stages": …, …}.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import scale_single
from benchmarks.scale_server import serving
from benchmarks.scale_single import Clock
from seelevel.report.costs import machine

PROMPTS = 288
PARTS = ("stages", "single", "calls", "ray")
COUNTS = (1_000, 10_000, 50_000)
MADE = ["generate.experts=[world:m, world:s]", "align.epochs=1", "evaluate.limit=30"]


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    options = _options(arguments)
    report: dict[str, Any] = {
        "settings": {
            "machine": machine(),
            "load": round(os.getloadavg()[0], 2),
            "repeats": options.repeats,
            "day": time.strftime("%Y-%m-%d"),
        }
    }
    with tempfile.TemporaryDirectory(prefix="scale-") as work:
        if "stages" in options.parts:
            runs = [measure_stages(Path(work) / f"run-{n}", options.prompts) for n in range(options.repeats)]
            report["stages"] = medians(runs)
        if "single" in options.parts:
            report["single"] = [row for count in options.counts for row in measure_single(Path(work), count)]
        if "calls" in options.parts:
            with serving() as address:
                report["calls"] = medians([_child("calls", address) for _ in range(options.repeats)])
        if "ray" in options.parts:
            report["ray"] = medians([_child("ray") for _ in range(options.repeats)])
    print(json.dumps(report) if options.json else json.dumps(report, indent=1))
    return report


def medians(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The same nested mapping with the median of each number."""
    return {
        key: medians([run[key] for run in runs])
        if isinstance(value, dict)
        else statistics.median(run[key] for run in runs)
        for key, value in runs[0].items()
    }


def _child(*told: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.scale_measure", *map(str, told)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(result.stderr)
    last = result.stdout.splitlines()[-1]
    print(last, file=sys.stderr, flush=True)  # what is measured so far
    measured: dict[str, Any] = json.loads(last)
    return measured


# --- the stages -------------------------------------------------------------------------------------------------------


def measure_stages(out: Path, prompts: int) -> dict[str, Any]:
    """Costs by stage: `load`, `shard`, `prompt`, and `rest` per prompt, what the first process does besides."""
    with serving() as address:
        stages = _child("stages", prompts, out, address)
    return {name: _costs(stage, prompts) for name, stage in stages.items()}


def _costs(stage: dict[str, Any], prompts: int) -> dict[str, float]:
    jobs, rest = stage["jobs"], stage["seconds"] - stage["start"]
    costs = {"wall": stage["wall"], "seconds": stage["seconds"], "load": stage["start"], "shard": 0.0, "prompt": 0.0}
    for model in jobs:  # a call of the engine each
        rest -= sum(seconds for _, seconds in model)
        if len(model) > 2:
            (large, slow), (small, quick) = model[-2:]
            each = max((slow - quick) / (large - small), 0.0)
            costs["prompt"] += each
            costs["shard"] += max(quick - each * small, 0.0)
    if jobs and not costs["prompt"]:  # questions of benchmarks, in few shards
        work = [shard for model in jobs for shard in model]
        costs["prompt"] = sum(seconds for _, seconds in work) / sum(size for size, _ in work)
    return {**costs, "rest": max(rest, 0.0) / prompts}


def _stages(prompts: int, out: Path, address: str) -> dict[str, Any]:
    """Run the stages under an engine that keeps the time; by stage, its times, and (size, seconds) of each shard."""
    import seelevel.engine as engine
    from seelevel.formats.tables import rows_in
    from seelevel.pipeline import Run
    from seelevel.recipe import load_recipe

    seen: list[dict[str, Any]] = []

    def each(jobs: Sequence[Any], start: Callable[[], Any], done: Callable[[Any, Any], Any]) -> None:
        begun = Clock()
        work = start()
        times: dict[str, Any] = {"start": begun.read()["seconds"], "jobs": []}
        for job in jobs:
            clock = Clock()
            result = work(job)
            size = rows_in(job) if isinstance(job, Path) else len(job[2])
            times["jobs"].append((size, clock.read()["seconds"]))
            done(job, result)
        seen.append(times)

    engine.CURRENT.set(each)
    given = [f"data.limit={prompts}", *MADE]
    judge = f"{address}#judge"
    judged = [f"check={{checker: judge, judge: '{judge}'}}", "api.cache=false"]
    rated = [f"feedback={{judge: '{judge}', ladders: ratings}}", "check=null", "api.cache=false"]
    stages: dict[str, Any] = {}
    plan = [("data", []), *((name, []) for name in ("generate", "check", "align", "evaluate", "report"))]
    for name, more in [*plan, ("check", judged), ("feedback", rated)]:
        run = Run(load_recipe("world-quick", [*given, *more]), out)
        seen.clear()
        clock = Clock()
        run.data() if name == "data" else run.alone(name)
        title = f"{name}, judge" if more else name
        started = sum(times["start"] for times in seen)
        stages[title] = {**clock.read(), "start": started, "jobs": [times["jobs"] for times in seen]}
    return stages


# --- what one process does with all ladders ---------------------------------------------------------------------------


def measure_single(work: Path, count: int) -> Iterator[dict[str, Any]]:
    folder = work / f"ladders-{count}"
    yield _child("write", folder, count)
    for what in ("count", "read", "report") + ("prepare",) * (count <= COUNTS[0]):
        yield _child(what, folder, count)


# --- a judge's calls --------------------------------------------------------------------------------------------------


def _calls(address: str) -> dict[str, Any]:
    """Per call, from `check` over 64 and over 192 ladders of three answers, each asked about once."""
    from benchmarks.scale_check import Case, write_prompts
    from seelevel import check
    from seelevel.models.base import ApiSettings, ModelRef
    from seelevel.store import StageFolder

    times = []
    with tempfile.TemporaryDirectory(prefix="scale-") as work:
        for number, prompts in enumerate((64, 64, 192)):  # the first one warms up
            folder = Path(work) / str(number)
            source = write_prompts(folder, Case("calls", prompts, 64, 0))
            stage = StageFolder(folder / "stage", "scale")
            stage.begin()
            judge = ModelRef("judge", f"{address}#judge", ApiSettings(cache=str(folder / "cache")))
            clock = Clock()
            check.run(source, stage, check.CheckSettings(checker="judge", judge="judge"), None, folder, judge)
            times.append(clock.read())
    return {name: (times[2][name] - times[1][name]) / 128 for name in times[0]}


# --- Ray --------------------------------------------------------------------------------------------------------------


def _ray() -> dict[str, Any]:
    """Starting a cluster and a worker, the first process per shard, and questions to the limits."""
    import seelevel.engine as engine
    from seelevel.engine.settings import EngineSettings

    ready: list[float] = []
    with engine.engine_of(EngineSettings(name="ray", workers=1)):
        clock = Clock()
        engine.each_job(["a"], _begin, lambda *_: ready.append(clock.read()["wall"]))
        again = Clock()
        engine.each_job(["a"], _begin, lambda *_: ready.append(again.read()["wall"]))
        before, asked = processes(), [(500, 1)] * 4
        driver = Clock()
        ends: list[float] = []
        engine.each_job(list(range(300)), _begin, lambda *_: ends.append(driver.read()["seconds"]))
        walls = Clock()
        answers: list[Any] = []
        engine.each_job(asked, _asking, lambda _, times: answers.append(times))
        wall = walls.read()["wall"]
        between, crowd = processes(), [(100, 16)] * 2
        engine.each_job(crowd, _asking, lambda _, times: answers.append(times))
        after = processes()
    states, crowded = "ray::SharedStates", answers[-len(crowd) :]
    del answers[-len(crowd) :]
    return {
        "cluster": ready[0] - ready[1],
        "worker": ready[1],
        "driver": (ends[-1] - ends[50]) / (len(ends) - 51),
        "question": (between[states] - before.get(states, 0.0)) / sum(count for count, _ in asked),
        "asking": statistics.median(seconds for seconds, _ in answers),
        "question_wall": statistics.median(wall for _, wall in answers),
        "crowded": (after[states] - between[states]) / sum(count * threads for count, threads in crowd),
        "crowded_asking": statistics.median(seconds for seconds, _ in crowded),
        "crowded_wall": statistics.median(wall for _, wall in crowded),
        "wall": wall,
    }


def _begin() -> Callable[[Any], None]:
    import seelevel.check
    import seelevel.generate  # noqa: F401  as a worker of a run does

    return _nothing


def _nothing(job: Any) -> None:
    pass


def _asking() -> Callable[[tuple[int, int]], tuple[float, float]]:
    """Processor and wall seconds of this worker per question to the limits: so many by each of so many threads."""
    from functools import partial

    from seelevel.engine.shared import shared
    from seelevel.models.server.replicas import Lanes

    make = partial(Lanes, 1, 0)

    def ask(count: int) -> None:
        for _ in range(count):
            assert shared("lanes", make, "take") is None

    def work(job: tuple[int, int]) -> tuple[float, float]:
        count, threads = job
        ask(1)
        with ThreadPoolExecutor(threads) as pool:
            clock = Clock()
            list(pool.map(ask, [count] * threads))
            times = clock.read()
        return times["seconds"] / (count * threads), times["wall"] / (count * threads)

    return work


def processes() -> dict[str, float]:
    """Processor seconds of Ray's processes by their titles."""
    import psutil

    used: dict[str, float] = {}
    for child in psutil.Process().children(recursive=True):
        try:
            title = " ".join(child.cmdline())[:40].split(".")[0].split()[0]
            times = child.cpu_times()
        except (psutil.Error, IndexError):
            continue
        used[title] = used.get(title, 0.0) + times.user + times.system
    return used


CHILDREN: dict[str, Callable[..., dict[str, Any]]] = {
    "stages": lambda prompts, out, address: _stages(int(prompts), Path(out), address),
    "write": lambda run, count: scale_single.write(Path(run), int(count)),
    "count": lambda run, count: scale_single.facts(Path(run), int(count)),
    "read": lambda run, count: scale_single.read(Path(run), int(count)),
    "report": lambda run, count: scale_single.page(Path(run), int(count)),
    "prepare": lambda run, count: scale_single.tokens(Path(run), int(count)),
    "calls": _calls,
    "ray": _ray,
}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--prompts", type=int, default=PROMPTS)
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="the JSON on one line")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in CHILDREN:
        print(json.dumps(CHILDREN[sys.argv[1]](*sys.argv[2:])))
    else:
        main()

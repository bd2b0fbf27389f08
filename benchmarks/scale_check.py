"""Whether the simulator of scale is right: predicted against measured times of real runs.

    python -m benchmarks.scale_check --json          # about twenty minutes
    python -m benchmarks.scale_check --cases answers # those of one kind

A case is a real stage through the real code: `generate` by a model that sleeps (*answers*), and `check` by a judge
server with a latency and limits (*calls*), in this process or by Ray's workers, some of which are killed. Most of the
time is sleep, so that other work on the machine changes little. The first case of a kind, with one worker, is the only
one that the simulator takes a figure from, besides what Ray's processes take, which `scale_measure` measured. Runs on
Ray are repeated, and their median is compared. The time is that from the beginning of the first shard to the end of the
last; of *calls* that between the first request and the last reply, as the server saw them. The last thing printed is
one JSON object, {"settings": …, "results": […]}.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.scale_measure import medians
from benchmarks.scale_parts import Judge, Outcome, Stage, Workers
from benchmarks.scale_server import counts, serving
from benchmarks.scale_sim import simulate
from seelevel.report.costs import machine

SECONDS = 0.15
"""What the sleeping model takes per prompt."""
MEASURED = Path(__file__).parent / "results" / "scale-sim.json"


@dataclass(frozen=True)
class Case:
    """A run. kind: *answers* or *calls*. workers: of Ray; 0 works in this process. kills: seconds after the first shard
    begins. limits: of the judge: calls at once, latency, requests per minute."""

    kind: str
    prompts: int
    size: int
    workers: int
    kills: tuple[float, ...] = ()
    limits: tuple[int, float, float] = (8, 5.0, 1e9)

    @property
    def name(self) -> str:
        where = f"{self.workers} worker{'s' * (self.workers > 1)}" if self.workers else "this process"
        text = f"{self.prompts} prompts in shards of {self.size}, {where}"
        if self.kind == "calls":
            at_once, latency, per_minute = self.limits
            text += f", {at_once} calls at once of {latency:g} s"
            text += f", {per_minute:g} per minute" if per_minute < 1e9 else ""
        return text + "".join(f", one killed after {moment:g} s" for moment in self.kills)


CASES = {
    "answers": [
        Case("answers", 256, 64, 1),
        Case("answers", 512, 64, 2),
        Case("answers", 510, 30, 3),
        Case("answers", 512, 64, 2, kills=(15.0, 40.0)),
    ],
    "calls": [
        Case("calls", 64, 32, 0),
        Case("calls", 96, 24, 0, limits=(12, 5.0, 1e9)),
        Case("calls", 60, 20, 0),
        Case("calls", 96, 32, 0, limits=(8, 0.5, 40)),
        Case("calls", 64, 16, 2),
        Case("calls", 64, 16, 2, kills=(12.0,)),
    ],
}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    options = _options(arguments)
    ray = json.loads(MEASURED.read_text("utf-8"))["ray"]
    results = []
    for kind in options.cases:
        extra: dict[str, float] = {}
        for number, case in enumerate(CASES[kind]):
            runs = [run(case) for _ in range(options.repeats if case.workers else 1)]
            measured = medians(runs)
            if number == 0:
                extra = calibrated(case, measured)
            outcome = predicted(case, extra, ray)
            row = {
                "kind": kind,
                "case": case.name,
                "calibration": number == 0,
                "measured": measured["seconds"],
                "runs": [one["seconds"] for one in runs],
                "predicted": outcome.seconds,
                "error": outcome.seconds / measured["seconds"] - 1,
                "load": os.getloadavg()[0],
                "deaths": len(case.kills),
            }
            results.append(row)
            print(
                f"{row['case']:90}{row['measured']:8.1f} s {row['predicted']:8.1f} s {row['error']:+7.1%}", flush=True
            )
    report = {"settings": {"machine": machine(), "day": time.strftime("%Y-%m-%d")}, "results": results}
    print(json.dumps(report) if options.json else json.dumps(report, indent=1))
    return report


def calibrated(case: Case, measured: dict[str, float]) -> dict[str, float]:
    """What the first run of a kind says: seconds per shard, or per call."""
    ideal = predicted(case, {}, {}).seconds
    stage = Stage(case.prompts, case.size)
    if case.kind == "answers":
        return {"shard": max(measured["seconds"] - ideal, 0.0) / len(stage.shards)}
    waves = sum(-(-size // case.limits[0]) for size in stage.shards)
    return {"latency": max(measured["seconds"] - ideal, 0.0) / waves}


def predicted(case: Case, extra: dict[str, float], ray: dict[str, float]) -> Outcome:
    """The simulator's time of a run. ray: what Ray's processes take, as `scale_measure` says."""
    start = ray.get("worker", 0.0)  # also of the worker in place of one that was killed
    workers = Workers(max(case.workers, 1), start=start, kills=tuple(start + moment for moment in case.kills))
    stage = Stage(case.prompts, case.size, driver=ray.get("driver", 0.0) if case.workers else 0.0)
    if case.kind == "answers":
        outcome = simulate(replace(stage, prompt=SECONDS, shard=extra.get("shard", 0.0)), workers)
    else:
        at_once, latency, per_minute = case.limits
        judge = Judge(at_once, latency + extra.get("latency", 0.0), per_minute=per_minute)
        if case.workers:
            judge = replace(judge, state=ray.get("question", 0.0), poll=ray.get("asking", 0.0))
        outcome = simulate(replace(stage, calls=1), workers, judge)
    return replace(outcome, seconds=outcome.seconds - start)


# --- the real runs ----------------------------------------------------------------------------------------------------


def run(case: Case) -> dict[str, float]:
    """Seconds of a run, and until its first shard began."""
    with tempfile.TemporaryDirectory(prefix="scale-") as work, _judge(case) as address:
        folder = Path(work)
        told = ["run", json.dumps(vars(case)), str(folder), address]
        environment = {**os.environ, "SEELEVEL_CACHE": str(folder / "cache")}
        began = time.time()
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.scale_check", *told],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        _, complaints = process.communicate()
        if process.returncode:
            raise SystemExit(complaints)
        if address:
            served = counts(address)
            assert served.answered == case.prompts or case.kills, (served, case)
            return {"seconds": served.ended - served.began, "start": 0.0, "refused": served.refused}
        moments = [float(line) for line in (folder / "cache" / "moments.txt").read_text("utf-8").split()]
        return {"seconds": max(moments) - min(moments), "start": min(moments) - began}


@contextmanager
def _judge(case: Case) -> Iterator[str]:
    if case.kind == "answers":
        yield ""
        return
    _, latency, per_minute = case.limits
    with serving(latency, per_minute) as address:
        yield address


def note_moment() -> None:
    """Add this moment to the file that the run's times are read from."""
    path = Path(os.environ["SEELEVEL_CACHE"]) / "moments.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{time.time()}\n")


class Sleeper:
    """A model that takes its time and says the same each time."""

    name, batch_size = "sleeper", 16

    def describe(self) -> str:
        return "sleeper"

    def generate(self, prompts: Sequence[Any], sampling: Any) -> list[Any]:
        from seelevel.models.base import Completion

        note_moment()
        time.sleep(SECONDS * len(prompts))
        note_moment()
        return [Completion("So it is.", 4, True) for _ in prompts]


def _run(case: Case, folder: Path, address: str) -> None:
    """The stage in this process, under the case's engine."""
    from seelevel import check, generate
    from seelevel.engine import engine_of
    from seelevel.engine.settings import EngineSettings
    from seelevel.generate.settings import ExpertsSettings
    from seelevel.models.base import ApiSettings, ModelRef, Sampling
    from seelevel.store import StageFolder

    source = write_prompts(folder, case)
    stage = StageFolder(folder / "stage", "scale")
    stage.begin()
    settings = EngineSettings(name="ray", workers=case.workers, cpus=0.25) if case.workers else EngineSettings()
    if case.kills:
        threading.Thread(target=_kill, args=(case, folder, address), daemon=True).start()
    with engine_of(settings):
        if address:
            judge = ModelRef("judge", f"{address}#judge", ApiSettings(concurrency=case.limits[0]))
            check.run(source, stage, check.CheckSettings(checker="judge", judge="judge"), None, folder, judge)
        else:
            model = ModelRef("sleeper", "benchmarks.scale_check:Sleeper")
            experts = ExpertsSettings(experts=["sleeper"], sampling=Sampling(max_new_tokens=10))
            generate.run(source, stage, experts, [model], folder, 0)


def write_prompts(folder: Path, case: Case) -> Path:
    """The ladders of a case, in shards."""
    from seelevel.formats.parquet import write_shard
    from seelevel.ladder import Ladder, Response

    answers = ["So it is.", "So it may be.", "It is not."] if case.kind == "calls" else ["So it is."]
    responses = [
        Response([{"role": "assistant", "content": text}], level, {"kind": "expert", "model": f"m{level}"})
        for level, text in enumerate(answers)
    ]
    count = 0
    for number, size in enumerate(Stage(case.prompts, case.size).shards):
        rows = [
            Ladder(f"l{count + n}", [], [{"role": "user", "content": f"Say {count + n}."}], responses)
            for n in range(size)
        ]
        write_shard(folder / "data" / f"shard-{number:05d}.parquet", rows)
        count += size
    return folder / "data"


def _kill(case: Case, folder: Path, address: str) -> None:
    """Kill the worker that has run longest, so many seconds after the first shard began."""
    began = None
    while began is None:
        time.sleep(0.1)
        if address:
            began = time.time() if counts(address).busiest else None
        elif (path := folder / "cache" / "moments.txt").exists():
            began = float(path.read_text("utf-8").split()[0])
    for moment in case.kills:
        time.sleep(max(began + moment - time.time(), 0.0))
        os.kill(min(_workers(), key=lambda pid: Path(f"/proc/{pid}").stat().st_ctime), signal.SIGKILL)


def _workers() -> list[int]:
    """Processes of this run's Ray in which a worker is."""
    import psutil

    return [p.pid for p in psutil.Process().children(recursive=True) if "ray::Worker" in " ".join(p.cmdline())]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="the JSON on one line")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        told = json.loads(sys.argv[2])
        _run(
            Case(**{**told, "kills": tuple(told["kills"]), "limits": tuple(told["limits"])}),
            Path(sys.argv[3]),
            sys.argv[4],
        )
    else:
        main()

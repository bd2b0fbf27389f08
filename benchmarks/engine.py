"""What the engines cost: 100,000 prompts of which a model answers each with four samples at once.

    python -m benchmarks.engine --json

Prompts without pictures lie in shards, as the stage `data` writes them. `generate` asks an instant model for four
samples of each, with `engine: local` and `engine: ray`, each in a process of its own. Of each: wall and processor
milliseconds per prompt, with the workers' from their start, and the memory of the first process (without its
workers) as its prompts are answered. The last thing printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

SAMPLES = 4
LOOKS = (0.1, 0.5, 1.0)
"""Shares of the prompts after which memory is read."""


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run both engines and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=100_000)
    parser.add_argument("--engines", nargs="+", choices=("local", "ray"), default=("local", "ray"))
    parser.add_argument("--json", action="store_true", help="the JSON on one line")
    options = parser.parse_args(arguments)
    results = []
    with tempfile.TemporaryDirectory(prefix="engine-") as folder:
        _command("write", folder, str(options.prompts))
        for engine in options.engines:
            results.append(json.loads(_command("measure", folder, engine).splitlines()[-1]))
            print({key: value for key, value in results[-1].items() if key != "memory"}, flush=True)
    settings = {"cores": len(os.sched_getaffinity(0)), "memory": psutil.virtual_memory().total}
    settings |= {"python": platform.python_version(), "load": round(os.getloadavg()[0], 2)}
    report = {"settings": settings, "results": results}
    print(json.dumps(report) if options.json else json.dumps(report, indent=1))
    return report


def _command(*told: str) -> str:
    begin = [sys.executable, "-m", "benchmarks.engine"]
    return subprocess.run([*begin, *told], check=True, stdout=subprocess.PIPE, text=True).stdout


def write(folder: Path, prompts: int) -> None:
    """Shards of prompts with a standard answer."""
    from seelevel.formats.parquet import write_shard
    from seelevel.ladder import Ladder, Response
    from seelevel.store import batched

    ladders = (
        Ladder(
            f"p{n}",
            [],
            [{"role": "user", "content": f"What is in the room of number {n}, and who has put it there?"}],
            [
                Response(
                    [{"role": "assistant", "content": "A table, and two chairs beside it."}], 0, {"kind": "standard"}
                )
            ],
        )
        for n in range(prompts)
    )
    for number, batch in enumerate(batched(ladders)):
        write_shard(folder / "data" / f"shard-{number:05d}.parquet", batch)


class Instant:
    """A model that answers at once, with a text that depends on prompt, sample and seed."""

    name = "instant"
    batch_size = 1

    def describe(self) -> str:
        return self.name

    def generate(self, prompts: Sequence[Any], sampling: Any) -> list[Any]:
        from seelevel.models.base import Completion

        place = Path(os.environ["SEELEVEL_CACHE"]) / "seconds"  # a worker's time is lost with it
        place.mkdir(parents=True, exist_ok=True)
        (place / str(os.getpid())).write_text(str(time.process_time()))
        return [
            Completion(f"{p.messages[-1]['content'][:30]} The answer of number {p.sample}, {sampling.seed}.", 12, True)
            for p in prompts
        ]


def measure(folder: Path, engine: str) -> None:
    """Answer all prompts and print what it cost as JSON."""
    os.environ["SEELEVEL_CACHE"] = str(folder / f"cache-{engine}")
    import seelevel.progress
    from seelevel.engine import engine_of
    from seelevel.engine.settings import EngineSettings
    from seelevel.formats.tables import rows_in
    from seelevel.generate import run
    from seelevel.generate.settings import SamplesSettings
    from seelevel.models.base import ModelRef
    from seelevel.store import StageFolder, shards

    prompts = sum(map(rows_in, shards(folder / "data")))
    me, memory, answered = psutil.Process(), dict[str, int](), 0
    advance = seelevel.progress.Progress.advance

    def advanced(bar: Any, count: int = 1) -> None:
        nonlocal answered
        answered += count
        for share in LOOKS:
            if answered >= share * prompts and f"{share:.0%}" not in memory:
                memory[f"{share:.0%}"] = me.memory_info().rss
                if engine == "ray":
                    memory[f"store {share:.0%}"] = _store_bytes()
        advance(bar, count)

    seelevel.progress.Progress.advance = advanced  # type: ignore[method-assign]
    stage = StageFolder(folder / engine, "f")
    stage.begin()
    settings = SamplesSettings(model="instant", n=SAMPLES)
    with engine_of(EngineSettings(name=engine)):  # type: ignore[arg-type]
        if engine == "ray":
            from seelevel.engine import each_job

            each_job([1], _nothing, lambda *_: None)  # the cluster starts
        start, before = time.perf_counter(), _processor_seconds()
        run(folder / "data", stage, settings, [ModelRef("instant", "benchmarks.engine:Instant")], folder, 0)
        seconds, used = time.perf_counter() - start, _processor_seconds() - before
    result = {"engine": engine, "prompts": prompts, "seconds": seconds, "processor_seconds": used, "memory": memory}
    result |= {"ms": 1000 * seconds / prompts, "processor_ms": 1000 * used / prompts, "end_bytes": me.memory_info().rss}
    print(json.dumps(result))


def _nothing() -> Any:
    return lambda job: None


def _processor_seconds() -> float:
    """Of this process and of all workers, from their start."""
    places = (Path(os.environ["SEELEVEL_CACHE"]) / "seconds").glob("*")
    return time.process_time() + sum(float(p.read_text()) for p in places if p.name != str(os.getpid()))


def _store_bytes() -> int:
    """What lies in Ray's object store."""
    import ray

    total, free = (
        what.get("object_store_memory", 0.0) for what in (ray.cluster_resources(), ray.available_resources())
    )
    return int(total - free)


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["measure"]:
        measure(Path(sys.argv[2]), sys.argv[3])
    else:
        main()

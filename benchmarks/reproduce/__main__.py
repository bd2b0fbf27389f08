"""`python -m benchmarks.reproduce`: every experiment with every seed, one process per core.

A stopped command continues when it is run again. The end writes docs/reproduction.md with its plots.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.reproduce.experiments import EXPERIMENTS
from benchmarks.reproduce.runs import evaluation, ladders, score_base, source_seed, train

ROOT = Path(__file__).parents[2]


def main() -> None:
    arguments = options("benchmarks.reproduce", __doc__, EXPERIMENTS, JOBS)
    if arguments is None:
        return
    if not arguments.page:
        chosen = [EXPERIMENTS[name] for name in arguments.only]
        made = {(e.source, e.order, source_seed(e.source, seed)) for e in chosen for seed in arguments.seeds}
        # The initial order is read from the run that also checks.
        made = {(source, "checked" if order == "initial" else order, seed) for source, order, seed in made}
        every(arguments, [["ladders", source, order, str(seed)] for source, order, seed in sorted(made)])
        jobs = [["train", experiment.name, str(seed)] for seed in arguments.seeds for experiment in chosen]
        evaluation(arguments.out, arguments.split)
        every(arguments, [["base"], *jobs])
    from benchmarks.reproduce.page import write_page

    print(write_page(arguments.out, arguments.split, arguments.seeds, ROOT / "docs"))


JOBS: dict[str, Callable[..., object]] = {
    "ladders": lambda out, split, source, order, seed: ladders(out, source, order, int(seed)),
    "base": lambda out, split: score_base(out, split),
    "train": lambda out, split, name, seed: train(out, EXPERIMENTS[name], int(seed), split),
}
"""What a process of its own does: `JOBS[kind](out, split, *rest)`."""


def options(
    module: str, description: str, names: Iterable[str], jobs: dict[str, Callable[..., object]]
) -> argparse.Namespace | None:
    """The options of a command that runs jobs in processes of their own; None if this process was one of these."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / module.rpartition(".")[2])
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=[*names], default=[*names], metavar="NAME")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes of one thread each")
    parser.add_argument("--page", action="store_true", help="only write the page, from finished runs")
    parser.add_argument("--job", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.job:
        return arguments
    from seelevel.world.models.optimizer import keep_memory

    keep_memory()
    kind, *rest = arguments.job
    jobs[kind](arguments.out, arguments.split, *rest)
    return None


def every(arguments: argparse.Namespace, jobs: list[list[str]], module: str = "benchmarks.reproduce") -> None:
    """Run jobs of a module side by side; raises SystemExit naming those that failed, when all others are done."""
    logs = arguments.out / "logs"
    logs.mkdir(parents=True, exist_ok=True)

    def run(job: list[str]) -> str:
        name = "-".join(job).replace(" ", "").replace(">", "").replace("/", "")
        print(f"{name} …", flush=True)
        command = [sys.executable, "-m", module, "--out", str(arguments.out)]
        command += ["--split", arguments.split, "--job", *job]
        # One thread each: threads of several processes on the same cores wait for each other at every operator.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        with (logs / f"{name}.log").open("w") as log:
            done = subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        return f"{name}: see {logs / name}.log" if done.returncode else ""

    with ThreadPoolExecutor(arguments.jobs) as pool:
        failed = [line for line in pool.map(run, jobs) if line]
    if failed:
        raise SystemExit("failed:\n" + "\n".join(failed))


if __name__ == "__main__":
    main()

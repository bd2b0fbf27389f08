"""A model that answers at once, or after a pause that a file asks for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from seelevel.fingerprints import digest
from seelevel.formats.parquet import write_shard
from seelevel.ladder import Ladder, Response
from seelevel.models.base import Completion, Prompt, Sampling


class Instant:
    """Its answer depends on the prompt and the seed alone. Each call notes its process in the folder $CALLS."""

    name = "instant"
    batch_size = 1

    def describe(self) -> str:
        return "instant: answers at once"

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        if folder := os.environ.get("SEELEVEL_CACHE"):
            place = Path(folder)
            (place / "calls").mkdir(parents=True, exist_ok=True)
            (place / "calls" / f"{os.getpid()}-{time.monotonic_ns()}").touch()
            if (place / "pause").exists():
                time.sleep(float((place / "pause").read_text()))
        return [Completion(f"answer {digest(p.messages, sampling.seed)[:12]}", 4, True) for p in prompts]


def write_prompts(folder: Path, shards: int, each: int) -> Path:
    """Prompts without pictures and with a standard answer, as the stage `data` leaves them."""
    for number in range(shards):
        rows = [
            Ladder(
                f"{number}-{n}",
                [],
                [{"role": "user", "content": f"Say {n} of {number}."}],
                [Response([{"role": "assistant", "content": "So it is."}], 0, {"kind": "standard"})],
            )
            for n in range(each)
        ]
        write_shard(folder / f"shard-{number:05d}.parquet", rows)
    return folder


def last_dies_once(folder: Path) -> Callable[[], Callable[[str], None]]:
    """Starts work whose job `last` waits until no other job is left, and kills its process the first time."""

    def work(job: str) -> None:
        if job == "last" and not (folder / "died").exists():
            while not (folder / "first").exists():
                time.sleep(0.05)
            time.sleep(0.5)  # the other worker is idle now
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        (folder / job).touch()

    return lambda: work


def notes_its_machine(folder: Path) -> Callable[[], Callable[[int], None]]:
    """Starts work that names its machine in a folder, and that lasts until three have, or a minute."""

    def work(job: int) -> None:
        import ray

        (folder / f"machine-{ray.get_runtime_context().get_node_id()}").touch()
        until = time.monotonic() + 60
        while len(list(folder.glob("machine-*"))) < 3 and time.monotonic() < until:
            time.sleep(0.1)

    return lambda: work


def outlasts_the_other_worker(folder: Path) -> Callable[[], Callable[[str], bool]]:
    """Starts work whose job `long` returns whether the process of the job `short` has ended within half a minute."""

    def work(job: str) -> bool:
        if job == "short":
            (folder / "short").write_text(str(os.getpid()))
            return True
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if (folder / "short").exists() and not Path("/proc", (folder / "short").read_text() or "self").exists():
                return True
            time.sleep(0.05)
        return False

    return lambda: work

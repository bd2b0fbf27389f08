"""Workers and machines of a Ray cluster that are killed in mid-run: nothing is lost, no reply is paid for twice."""

from __future__ import annotations

import json
import random
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from seelevel import feedback, generate
from seelevel.engine import engine_of
from seelevel.engine.settings import EngineSettings
from seelevel.feedback import FeedbackSettings
from seelevel.generate.settings import ExpertsSettings
from seelevel.models.base import ApiSettings, ModelRef, Sampling
from seelevel.store import StageFolder, shards
from tests.engine.instant import write_prompts
from tests.models.faulty_server import FaultyServer, answer_to, serving

ray = pytest.importorskip("ray", reason="seelevel[ray] is not installed")
SHARDS, EACH = 40, 3
AT_ONCE = 2
KILLED = ["raylet"] * 3 + ["worker"] * 5 + ["any worker"] * 2
RATINGS = {"helpfulness": 3, "honesty": 4, "harmlessness": None}
VERDICT = json.dumps({**RATINGS, "critique": "Short.", "refinement": "More."})


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three raylets with two processors each, beside the driver's with none."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(3):
        made.add_node(num_cpus=2)
    # Linux ends a machine with the thread that has added it, so this thread has to live on.
    with ThreadPoolExecutor(1) as made.adding:
        yield made
        ray.shutdown()
        made.shutdown()


class Killer:
    """Kills a process at ten calls to the server, drawn at random, while the call waits for its reply: the worker that
    asks, its raylet with all its workers, or any worker. A machine is added for each raylet, as an autoscaler would."""

    def __init__(self, cluster: Any, calls: int, seed: int) -> None:
        draw = random.Random(seed)
        kinds = draw.sample(KILLED, len(KILLED))
        self.plan = dict(zip(sorted(draw.sample(range(1, calls), len(kinds))), kinds, strict=True))
        self.cluster, self.draw, self.calls = cluster, draw, 0
        self.killed: list[str] = []
        self.lock, self.machines = threading.Lock(), list[Future[None]]()

    def watch(self, here: int, there: int) -> None:
        """A call came to this port from that one."""
        with self.lock:
            self.calls += 1
            kind = self.plan.get(self.calls)
            if kind is not None:
                ends = {(c.laddr.port, c.raddr.port): c.pid for c in psutil.net_connections("tcp4") if c.raddr}
                self.kill(kind, ends[there, here])

    def kill(self, kind: str, asking: int) -> None:
        worker = psutil.Process(asking)
        if kind == "any worker":
            worker = self.draw.choice(self.workers())
        victim = psutil.Process(worker.ppid()) if kind == "raylet" else worker
        victim.send_signal(signal.SIGKILL)
        self.killed.append(kind)
        if kind == "raylet":
            self.machines.append(self.cluster.adding.submit(self.replace, victim.pid))

    def workers(self) -> list[psutil.Process]:
        """The workers of this cluster, also those that have not begun, if their machines are there."""
        machines = [psutil.Process(pid) for pid in self.raylets() if psutil.pid_exists(pid)]
        return [p for machine in machines for p in machine.children() if "ray::Worker" in " ".join(p.cmdline())]

    def raylets(self) -> dict[int, Any]:
        """The machines by the process of their raylet."""
        return {node.all_processes["raylet"][0].process.pid: node for node in list(self.cluster.worker_nodes)}

    def replace(self, raylet: int) -> None:
        self.cluster.remove_node(self.raylets()[raylet], allow_graceful=False)
        self.cluster.add_node(num_cpus=2)


def answered(source: Path, folder: Path, model: ModelRef) -> dict[str, bytes]:
    settings = ExpertsSettings(experts=["served"], sampling=Sampling(max_new_tokens=10))
    stage = StageFolder(folder, "f")
    stage.begin()
    generate.run(source, stage, settings, [model], source.parent, 0)
    return {path.name: path.read_bytes() for path in shards(folder)}


def judged(source: Path, folder: Path, model: ModelRef) -> dict[str, bytes]:
    stage = StageFolder(folder, "f")
    stage.begin()
    feedback.run(source, stage, FeedbackSettings(judge="served"), model, None, source.parent, 0)
    return {path.name: path.read_bytes() for path in shards(folder)}


@pytest.mark.slow
@pytest.mark.parametrize(("run", "says"), [(answered, answer_to), (judged, lambda _: VERDICT)], ids=["models", "judge"])
def test_whoever_dies_nothing_is_lost_and_no_reply_is_paid_for_twice(
    cluster: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run: Callable[[Path, Path, ModelRef], dict[str, bytes]],
    says: Callable[[str], str],
) -> None:
    """Three machines and seven more workers are killed, and at least eight of the ten at work."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ray._private.utils.set_sigterm_handler", lambda handler: None)  # only the main thread may
    source = write_prompts(tmp_path / "data", SHARDS, EACH)

    def ladders(server: FaultyServer, name: str) -> dict[str, bytes]:
        """The run's shards. The server's port is part of its name, so the replies are asked for once per server."""
        server.says = says
        return run(source, tmp_path / name, ModelRef("served", f"{server.address}#m", ApiSettings(concurrency=AT_ONCE)))

    killer = Killer(cluster, SHARDS * EACH, seed=len(run.__name__))
    with serving() as server, engine_of(EngineSettings(name="ray", address=cluster.address)):
        server.watch = killer.watch
        there = ladders(server, "ray")
        assert server.busiest <= AT_ONCE  # over all workers
    for machine in killer.machines:
        machine.result()
    assert sorted(killer.killed) == sorted(KILLED)
    # Each death loses the calls in flight at most.
    assert SHARDS * EACH <= sum(server.answered.values()) <= SHARDS * EACH + AT_ONCE * len(KILLED)
    assert "a worker has died; its shard is given to another one" in capsys.readouterr().err
    with serving() as server:
        here = ladders(server, "local")
    assert there == here

"""Shards on a Ray cluster: workers that may die, and nothing is lost.

Ray starts the workers and notices their deaths. Which worker gets which shard, and that a shard is given to another one
if its worker dies, is decided here: Ray's own repeats would not know what is written already. Only paths and settings
travel; pictures and texts are read where they are worked on.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from seelevel import __version__
from seelevel.engine import shared as sharing
from seelevel.engine.base import J, R, Work
from seelevel.engine.settings import EngineSettings
from seelevel.errors import FAILURES, InputError, WorkerLostError
from seelevel.progress import hush_bitsandbytes, say, waiting_for

FAILED_STARTS = 20
"""So many workers may die in a row before they begin: some may be killed, but a broken installation kills them all."""
DEATHS = 5
"""So many workers may die over one shard."""
CONNECT_SECONDS = 10.0
"""Seconds until a cluster at `host:port` counts as out of reach."""
PASSED_ON = ("HF_HUB_OFFLINE", "OMP_NUM_THREADS", "SEELEVEL_CACHE", "ATEN_CPU_CAPABILITY")
"""Variables of this process that the workers get. Keys are not among them: Ray would show them."""


class Worker:
    """The part that runs in a worker's process."""

    def __init__(self, name: str, home: Any, start: Callable[[], Any]) -> None:
        self._start = start
        self._work: Any = None
        hush_bitsandbytes()
        sharing.live_in(Remote(name, home))

    def ready(self, version: str, folder: str, paths: Sequence[str]) -> str:
        """Where the worker is. Raises `InputError` if its machine lacks this version or the folder that the command
        runs in. paths: where the command finds modules; the worker looks there too."""
        place = socket.gethostname()
        if version != __version__:
            raise InputError(f"{place} has seelevel {__version__}, not {version}; install the same on all machines")
        if not Path(folder).is_dir():
            raise InputError(f"{place} does not see {folder}; put the run folder on a disk that all machines share")
        os.chdir(folder)  # relative paths of the recipe
        sys.path += [path for path in paths if path not in sys.path]
        return place

    def do(self, job: Any) -> Any:
        if self._work is None:
            self._work = self._start()
        return self._work(job)


class SharedStates(sharing.Here):
    """The states of all workers, as an actor."""

    def all(self) -> dict[str, sharing.State]:
        return self.states


class Remote:
    """The way to the states from one process."""

    def __init__(self, name: str, home: Any) -> None:
        self.name, self._home = name, home

    def call(self, key: str, make: Callable[[], sharing.State], method: str, *values: Any) -> Any:
        return _result(self._home.call.remote(key, make, method, *values))


class Cluster:
    """The engine on Ray, as a context. The cluster is joined with the first job."""

    def __init__(self, settings: EngineSettings) -> None:
        try:
            import ray
        except ImportError as error:
            raise InputError("engine ray needs one more package: pip install 'seelevel[ray]'") from error
        self.settings, self._ray = settings, ray
        self._started_ray, self._count = False, 0
        self._home: Any = None  # the actor with the shared states, once the cluster is joined

    def __enter__(self) -> Self:
        return self

    def _join(self) -> None:
        """Join the cluster, or start one on this machine; once."""
        if self._home is not None:
            return
        ray = self._ray
        if not ray.is_initialized():
            self._start_ray(self.settings.address)
            self._started_ray = True
        node = ray.get_runtime_context().get_node_id()
        near = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
        options = {"num_cpus": 0, "scheduling_strategy": near, "max_concurrency": 1}
        self._home = ray.remote(SharedStates).options(**options).remote()
        sharing.live_in(Remote("", self._home))

    def _start_ray(self, address: str | None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
        here = {"_node_ip_address": "127.0.0.1", "include_dashboard": False}
        on_term = signal.getsignal(signal.SIGTERM)
        try:
            if address is not None and (match := re.fullmatch(r"(.+):(\d+)", address)):
                socket.create_connection((match[1], int(match[2])), CONNECT_SECONDS).close()  # Ray itself waits minutes
            self._ray.init(address=address, logging_level="warning", **({} if address else here))
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"engine.address: the Ray cluster {address} cannot be reached ({_cause(error)}); "
                "start it with `ray start --head`, set RAY_AUTH_MODE=token if it has a token, or leave address out"
            ) from error
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, on_term)  # Ray sets its own

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._home is None:
            return
        sharing.live_in(None)
        try:
            sharing.adopt(_result(self._home.all.remote()))
        finally:
            self._ray.kill(self._home)
            if self._started_ray:
                self._ray.shutdown()

    def each(self, jobs: Sequence[J], start: Callable[[], Work[J, R]], done: Callable[[J, R], Any]) -> None:
        """As `seelevel.engine.each_job`. Raises `WorkerLostError`, and our own errors as the work raises them."""
        if not jobs:
            return
        self._join()
        pool = _Pool(self, start, jobs)
        with waiting_for(lambda: f"{pool.working} workers on the cluster"):
            try:
                pool.run(done)
            finally:
                pool.close()

    def worker(self, start: Any) -> tuple[str, Any]:
        """A new worker and its name; it begins when there is room for it."""
        self._count += 1
        name = f"worker {self._count}"
        passed = {key: os.environ[key] for key in PASSED_ON if key in os.environ}
        actor = (
            self._ray.remote(Worker)
            .options(
                num_cpus=self.settings.cpus,
                num_gpus=self.settings.gpus,
                runtime_env={"env_vars": passed} if passed else None,
            )
            .remote(name, self._home, start)
        )
        return name, actor

    def forget(self, name: str) -> None:
        _result(self._home.forget.remote(name))

    def room(self) -> int:
        """How many workers the cluster has room for, at least one."""
        resources = self._ray.cluster_resources()
        limits = [
            int(resources.get(kind, 0) / share)
            for kind, share in (("CPU", self.settings.cpus), ("GPU", self.settings.gpus))
            if share
        ]
        return max(min(limits), 1)


class _Pool:
    """The workers of one call of `each`."""

    def __init__(self, cluster: Cluster, start: Any, jobs: Sequence[Any]) -> None:
        self.cluster, self.ray = cluster, cluster._ray
        self.waiting, self.deaths = deque(jobs), Counter[int]()
        self.failed_starts = 0  # in a row
        self.start = self.ray.put(start)
        self.actors: dict[str, Any] = {}
        # By reference: the worker, and its job in a list; [] while it starts. An idle worker has no reference.
        self.running: dict[Any, tuple[str, list[Any]]] = {}
        self.numbers = {id(job): n for n, job in enumerate(jobs)}

    @property
    def working(self) -> int:
        return sum(bool(job) for _, job in self.running.values())

    def run(self, done: Callable[[Any, Any], Any]) -> None:
        self._assign()
        while self.waiting or self.working:
            ready, _ = self.ray.wait(list(self.running), num_returns=1, timeout=5.0)
            for reference in ready:
                name, job = self.running.pop(reference)
                try:
                    result = _result(reference)
                except (self.ray.exceptions.RayActorError, self.ray.exceptions.WorkerCrashedError) as error:
                    self._died(name, job, error)
                    continue
                if job:
                    done(job[0], result)
                else:
                    self.failed_starts = 0
            self._assign()

    def _assign(self) -> None:
        """Give the jobs that wait to idle workers, and start workers for the rest, as far as there is room or as many
        as the settings say: those that have no room yet make a cluster grow. End the others: it may shrink then."""
        busy = {name for name, _ in self.running.values()}
        for name in [name for name in self.actors if name not in busy][: len(self.waiting)]:
            job = self.waiting.popleft()
            self.running[self.actors[name].do.remote(job)] = (name, [job])
        most = min(self.cluster.settings.workers or self.cluster.room(), len(self.waiting) + self.working)
        while len(self.actors) < most:
            name, actor = self.cluster.worker(self.start)
            self.actors[name] = actor
            self.running[actor.ready.remote(__version__, str(Path.cwd()), sys.path)] = (name, [])
        at_work = {name for name, job in self.running.values() if job}
        spare = max(len(self.actors) - len(self.waiting) - len(at_work), 0)
        for name in [name for name in reversed(self.actors) if name not in at_work][:spare]:
            self.ray.kill(self.actors.pop(name))
            self.running = {reference: given for reference, given in self.running.items() if given[0] != name}

    def _died(self, name: str, job: list[Any], error: BaseException) -> None:
        self.ray.kill(self.actors.pop(name))  # it may only be out of reach, and must not go on
        self.cluster.forget(name)
        if not job:
            say(f"a worker has died before it began; another one is started ({_cause(error)})")
            self.failed_starts += 1
            if self.failed_starts >= FAILED_STARTS:
                raise WorkerLostError(
                    f"{FAILED_STARTS} workers died before they began ({_cause(error)}); "
                    "look whether all machines have seelevel"
                ) from error
            return
        say(f"a worker has died; its shard is given to another one ({_cause(error)})")
        for lost in job:
            number = self.numbers[id(lost)]
            self.deaths[number] += 1
            if self.deaths[number] >= DEATHS:
                raise WorkerLostError(
                    f"{DEATHS} workers died over one shard ({_cause(error)}); give a worker more memory, or set "
                    "engine: local to see the error"
                ) from error
            self.waiting.appendleft(lost)

    def close(self) -> None:
        for actor in self.actors.values():
            self.ray.kill(actor)


def _cause(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]


def _result(reference: Any) -> Any:
    """The result of a remote call; an error of this package as it was raised there."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, (InputError, *FAILURES)):
            raise cause from None
        raise

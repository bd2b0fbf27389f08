"""What the simulator of scale is told, and what it answers. All times are seconds, unless a name says otherwise."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Stage:
    """What a stage does. prompt: seconds of a worker per prompt. spread: their standard deviation, in shares of the
    mean. shard: of a worker per shard, such as reading and writing it. load: before a worker's first shard. driver: of
    the first process per shard. serial: of the first process per prompt, at the end. before: of the first process, at
    the beginning. megabytes: read and written on the shared disk per prompt. calls: of a judge per prompt."""

    prompts: int
    size: int = 128
    prompt: float = 0.0
    spread: float = 0.0
    shard: float = 0.0
    load: float = 0.0
    driver: float = 0.0
    serial: float = 0.0
    before: float = 0.0
    megabytes: float = 0.0
    calls: int = 0

    @property
    def shards(self) -> list[int]:
        """The number of prompts in each shard."""
        whole, rest = divmod(self.prompts, self.size)
        return [self.size] * whole + [rest] * bool(rest)


@dataclass(frozen=True)
class Workers:
    """start: seconds until a worker is ready. failures: of a worker, and of a machine, per hour. notice: seconds until
    a lost machine is noticed. back: until it is back. kills: moments at which the longest-running worker is killed.
    disk: megabytes per second that all share. cores: processors that the workers share; None: each has its own."""

    count: int = 1
    start: float = 0.0
    failures: float = 0.0
    per_machine: int = 8
    machine_failures: float = 0.0
    notice: float = 30.0
    back: float = 600.0
    kills: tuple[float, ...] = ()
    disk: float = math.inf
    cores: int | None = None


@dataclass(frozen=True)
class Judge:
    """A server. at_once: calls over all workers (`api.concurrency`). latency, spread: of a reply. client: seconds of a
    worker's processor per call. per_minute: requests that it takes; more get status 429 with a Retry-After. state:
    seconds of the process that holds the limits, per question to it; 0 without Ray, where a worker's threads are the
    limit. poll: seconds of a worker's processor per such question. budget: replies to record the costs of."""

    at_once: int = 8
    latency: float = 1.0
    spread: float = 0.0
    client: float = 0.0
    per_minute: float = math.inf
    retry_after: float = 1.0
    refusal: float = 0.01
    state: float = 0.0
    poll: float = 0.0


@dataclass
class Outcome:
    """seconds: until the stage is done. busy: seconds of work of each resource, divided by how many there are. done:
    how often each shard was finished. began: how often each was begun. calls: replies by kind. stopped: a shard has
    killed too many workers, and the run ended."""

    seconds: float = 0.0
    busy: Counter[str] = field(default_factory=Counter)
    done: Counter[int] = field(default_factory=Counter)
    began: Counter[int] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    deaths: int = 0
    stopped: bool = False

    @property
    def busiest(self) -> str:
        return max(self.busy, key=lambda name: self.busy[name])

    def share(self, name: str) -> float:
        """How much of the time a resource was at work."""
        return self.busy[name] / self.seconds if self.seconds else 0.0

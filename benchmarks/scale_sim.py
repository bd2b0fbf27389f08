"""A simulator of the data path: shards, workers that die, a judge with limits, the first process, a shared disk.

    python -m benchmarks.scale_measure --json        # the figures of this machine, which the simulator reads
    python -m benchmarks.scale_check --json          # predicted against measured runs
    python -m benchmarks.scale_predict               # 1M prompts on 1, 8 and 64 GPUs

It does what `seelevel.engine.cluster` and `seelevel.models.server` do. Shards are given out in their order, one to a
worker; the shard of a worker that dies goes back to the front; the first process handles one finished shard at a time.
Within a shard a judge is asked by the worker's threads, and the next shard begins when all replies are there. Which
call may be sent is decided by the real `Lanes`, on the simulated clock. Replies are kept, so a shard that is given out
again asks only for the rest. All times are seconds.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

import simpy

from benchmarks.scale_parts import Judge, Outcome, Stage, Workers
from seelevel.engine.cluster import DEATHS
from seelevel.models.server.client import FIRST_WAIT, LONGEST_WAIT
from seelevel.models.server.replicas import Lanes

Steps = Generator[Any, Any, None]


def simulate(
    stage: Stage, workers: Workers, judge: Judge | None = None, seed: int = 0, until: float | None = None
) -> Outcome:
    """One run of a stage; with `until`, its first so many seconds."""
    return _Simulation(stage, workers, judge, random.Random(seed)).run(until)


class _Server:
    """The judge: how many requests of the current minute it has taken."""

    def __init__(self, judge: Judge) -> None:
        self.judge, self.minute, self.taken = judge, -1, 0

    def refused(self, now: float) -> float | None:
        """None, or for how many seconds a call has to wait."""
        minute = int(now // 60)
        if minute > self.minute:
            self.minute, self.taken = minute, 0
        if self.taken >= self.judge.per_minute:
            return max(self.judge.retry_after, (minute + 1) * 60 - now)
        self.taken += 1
        return None


class _Client:
    """A worker's threads that call the judge: one computes at a time, and one looks for a place at a time."""

    def __init__(self, env: simpy.Environment) -> None:
        self.computing, self.asking = simpy.Resource(env), simpy.Resource(env)


class _Simulation:
    def __init__(self, stage: Stage, workers: Workers, judge: Judge | None, draw: random.Random) -> None:
        self.stage, self.workers, self.judge, self.draw = stage, workers, judge, draw
        self.env = simpy.Environment()
        self.sizes, self.out = stage.shards, Outcome()
        self.waiting = simpy.PriorityStore(self.env)
        self.driver, self.disk, self.state = (simpy.Resource(self.env) for _ in range(3))
        self.cores = simpy.Resource(self.env, workers.cores) if workers.cores else None
        self.finished = self.env.event()
        self.asked: Counter[int] = Counter()  # replies that are kept, by shard
        self.deaths: Counter[int] = Counter()
        self.living: dict[str, tuple[simpy.Process, int]] = {}  # and their places
        self.names = 0
        if judge is not None:
            self.server, self.lanes = _Server(judge), Lanes(1, judge.at_once, lambda: self.env.now)

    def run(self, until: float | None) -> Outcome:
        self.env.process(self._whole())
        self.env.run(self.finished if until is None else until)
        busy = Counter(self.out.busy)  # a copy: work in progress is still counted when its generator is dropped
        busy["workers"] /= max(self.workers.count, 1)
        if self.judge is not None:
            busy["judge"] /= self.judge.at_once
        return replace(self.out, seconds=self.env.now, busy=busy)

    def _whole(self) -> Steps:
        yield from self._work(self.stage.before, "first process")
        for number in range(len(self.sizes)):
            self.waiting.put(number)
        for place in range(min(self.workers.count, len(self.sizes))):
            self._engage(place)
        for machine in range(-(-self.workers.count // self.workers.per_machine)):
            if self.workers.machine_failures:
                self.env.process(self._machine(machine))
        for moment in self.workers.kills:
            self.env.process(self._kill_at(moment))

    def _end(self) -> Steps:
        yield from self._work(self.stage.serial * self.stage.prompts, "first process")
        if not self.finished.triggered:
            self.finished.succeed()

    def _work(self, seconds: float, name: str) -> Steps:
        began = self.env.now
        try:
            yield self.env.timeout(seconds)
        finally:  # also if its worker dies meanwhile
            self.out.busy[name] += self.env.now - began

    def _in_turn(self, resource: simpy.Resource, seconds: float, name: str) -> Steps:
        """Work that waits until the resource is free."""
        if seconds:
            with resource.request() as turn:
                yield turn
                yield from self._work(seconds, name)

    def _by_client(self, client: _Client, seconds: float) -> Steps:
        """Work of one of a worker's threads."""
        if seconds:
            with client.computing.request() as turn:
                yield turn
                yield from self._processor(seconds)

    # --- workers ----------------------------------------------------------------------------------------------------

    def _engage(self, place: int, after: float = 0.0) -> None:
        self.names += 1
        name = f"worker {self.names}"
        self.living[name] = (self.env.process(self._worker(name, place, after)), place)
        if self.workers.failures:
            self.env.process(self._fate(name))

    def _worker(self, name: str, place: int, after: float) -> Steps:
        holding: list[int] = []
        try:
            yield self.env.timeout(after + self.workers.start)
            loaded = False
            while True:
                take = self.waiting.get()
                try:
                    number = yield take
                except simpy.Interrupt:
                    take.cancel()
                    raise
                holding.append(number)
                self.out.began[number] += 1
                if not loaded:
                    yield from self._processor(self.stage.load)
                    loaded = True
                yield from self._shard(name, number)
                holding.clear()
                yield self.env.process(self._noted(number))  # which outlives the worker
        except simpy.Interrupt as death:
            self._died(name, place, holding, float(death.cause or 0.0))

    def _noted(self, number: int) -> Steps:
        """The first process notes a finished shard; then its worker gets another one."""
        yield from self._in_turn(self.driver, self.stage.driver, "first process")
        self.out.done[number] += 1
        if len(self.out.done) == len(self.sizes):
            self.env.process(self._end())

    def _died(self, name: str, place: int, holding: Sequence[int], after: float) -> None:
        self.out.deaths += 1
        self.living.pop(name, None)
        if self.judge is not None:
            self.lanes.forget(name)
        for number in holding:
            self.deaths[number] += 1
            if self.deaths[number] >= DEATHS:
                self.out.stopped = True
                if not self.finished.triggered:
                    self.finished.succeed()
            self.waiting.put(number)
        self._engage(place, after)

    def _fate(self, name: str) -> Steps:
        yield self.env.timeout(self.draw.expovariate(self.workers.failures / 3600))
        self._kill(name, 0.0)

    def _kill(self, name: str, after: float) -> None:
        process, _ = self.living.pop(name, (None, 0))
        if process is not None and process.is_alive:
            process.interrupt(after)

    def _machine(self, machine: int) -> Steps:
        """All workers of a machine are lost together, and start again when it is back."""
        while True:
            yield self.env.timeout(self.draw.expovariate(self.workers.machine_failures / 3600))
            for name, (_, place) in list(self.living.items()):
                if place // self.workers.per_machine == machine:
                    self._kill(name, self.workers.notice + self.workers.back)

    def _kill_at(self, moment: float) -> Steps:
        yield self.env.timeout(moment)
        if self.living:
            self._kill(next(iter(self.living)), 0.0)

    # --- a shard ----------------------------------------------------------------------------------------------------

    def _shard(self, name: str, number: int) -> Steps:
        count = self.sizes[number]
        yield from self._in_turn(self.disk, count * self.stage.megabytes / self.workers.disk, "disk")
        yield from self._processor(self.stage.shard + self._drawn(self.stage.prompt, self.stage.spread, count))
        missing = count * self.stage.calls - self.asked[number]
        if self.judge is None or not missing:
            return
        todo, client = [missing], _Client(self.env)
        threads = [
            self.env.process(self._thread(name, number, todo, client)) for _ in range(min(self.judge.at_once, missing))
        ]
        try:
            yield self.env.all_of(threads)
        except simpy.Interrupt:
            for thread in threads:
                if thread.is_alive:
                    thread.interrupt()
            raise

    def _drawn(self, mean: float, spread: float, count: int) -> float:
        """The sum of so many times: gamma distributed, which a sum of exponential ones is."""
        if not (mean and spread):
            return mean * count
        shape = count / spread**2
        return self.draw.gammavariate(shape, mean * count / shape)

    def _processor(self, seconds: float) -> Steps:
        if self.cores is None:
            yield from self._work(seconds, "workers")
        else:
            yield from self._sliced(seconds)

    def _sliced(self, seconds: float, slice_: float = 0.05) -> Steps:
        """Work on processors that others want too: in turns, a slice each."""
        assert self.cores is not None
        while seconds > 1e-12:
            now = min(slice_, seconds)
            yield from self._in_turn(self.cores, now, "workers")
            seconds -= now

    # --- the judge --------------------------------------------------------------------------------------------------

    def _thread(self, name: str, number: int, todo: list[int], client: _Client) -> Steps:
        try:
            while todo[0] > 0:
                todo[0] -= 1
                yield from self._call(name, client)
                self.asked[number] += 1
                self.out.calls["answered"] += 1
        except simpy.Interrupt:
            self.out.calls["lost"] += 1

    def _call(self, name: str, client: _Client) -> Steps:
        """One call until it has its reply, as `ApiModel._ask` makes it."""
        assert self.judge is not None
        judge, attempt = self.judge, 0
        while True:
            if judge.state:
                yield from self._place(name, client)
                yield from self._told(client)  # the budget is asked
            yield from self._by_client(client, judge.client)
            wait = self.server.refused(self.env.now)
            seconds = judge.refusal if wait is not None else self._drawn(judge.latency, judge.spread, 1)
            yield from self._work(seconds, "judge")
            if judge.state:
                yield from self._told(client)  # its cost is recorded
                yield from self._told(client)
                self.lanes.give_back(name, 0, wait is not None, wait or 0.0)
            if wait is None:
                return
            self.out.calls["refused"] += 1
            attempt += 1
            longest = min(FIRST_WAIT * 2 ** (attempt - 1), LONGEST_WAIT)
            yield self.env.timeout(max(wait, self.draw.uniform(0, longest)))

    def _place(self, name: str, client: _Client) -> Steps:
        with client.asking.request() as turn:  # one thread looks for all that wait
            yield turn
            while True:
                yield from self._told(client)
                answer = self.lanes.take(name)
                if answer.server is not None:
                    return
                yield self.env.timeout(answer.pause)

    def _told(self, client: _Client) -> Steps:
        """A question to the process that holds the limits."""
        assert self.judge is not None
        yield from self._by_client(client, self.judge.poll)
        self.out.calls["questions"] += 1
        yield from self._in_turn(self.state, self.judge.state, "limits")

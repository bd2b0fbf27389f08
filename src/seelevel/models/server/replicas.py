"""Several servers of one model: a call goes to the one with the fewest calls in flight, and past those that fail."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from seelevel.engine.shared import is_alone, shared
from seelevel.models.base import ApiSettings, Completion
from seelevel.models.server.faults import asked_wait_of, may_succeed
from seelevel.models.server.names import key_variable
from seelevel.models.server.secret import Secret
from seelevel.progress import say

FAILS = 3
"""After so many failures in a row a server rests, and then gets one call at a time until it answers."""
FIRST_REST, LONGEST_REST = 1.0, 60.0
"""Seconds of the first rest; each further one is twice as long, up to the longest."""
LOOK_AGAIN = 0.02
"""Seconds between two looks for a free server, over all workers that wait for one."""


class StoppedError(Exception):
    """The run ends; this call was not sent."""


@dataclass
class Lane:
    """The state of one server. busy: calls in flight, by worker; failures: in a row; awake: when it gets calls again,
    in seconds of the clock."""

    busy: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    awake: float = 0.0


class Turn(NamedTuple):
    """The number of the server for a call; None while no server may be asked, and after how many seconds to look
    again."""

    server: int | None
    pause: float = 0.0


class Lanes:
    """Which server a call goes to. All workers share it (`seelevel.engine.shared`). at_once: calls, per server."""

    def __init__(self, count: int, at_once: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.lanes, self.at_once, self.clock = [Lane() for _ in range(count)], at_once, clock
        self.waiting = set[str]()

    def take(self, caller: str) -> Turn:
        """A place for a call. The more workers wait for one, the longer each pauses, so that their questions are not
        what keeps the servers waiting."""
        free = [(lane.busy.total(), lane.failures, n) for n, lane in enumerate(self.lanes) if self._is_free(lane)]
        if not free:
            self.waiting.add(caller)
            return Turn(None, LOOK_AGAIN * len(self.waiting))
        self.waiting.discard(caller)
        number = min(free)[-1]
        self.lanes[number].busy[caller] += 1
        return Turn(number)

    def give_back(self, caller: str, number: int, failed: bool, rest: float) -> str:
        """A call has ended. `rest`: seconds that the server asks for. Returns what to tell the user of the
        server, or an empty text."""
        lane = self.lanes[number]
        lane.busy[caller] -= 1
        before = lane.failures
        if not failed:
            lane.failures = 0
            return "answers again" if before >= FAILS else ""
        lane.failures += 1
        if lane.failures >= FAILS:
            rest = max(rest, min(FIRST_REST * 2 ** (lane.failures - FAILS), LONGEST_REST))
        lane.awake = max(lane.awake, self.clock() + rest)
        return "fails; it is tried again after a growing pause" if lane.failures == FAILS else ""

    def forget(self, caller: str) -> None:
        """The calls of a worker that has died are over."""
        self.waiting.discard(caller)
        for lane in self.lanes:
            del lane.busy[caller]

    def _is_free(self, lane: Lane) -> bool:
        most = 1 if lane.failures >= FAILS else self.at_once
        return lane.busy.total() < most and lane.awake <= self.clock()


@dataclass(frozen=True)
class Replica:
    """One server: its address, its key, and the client that calls it."""

    address: str
    secret: Secret
    client: Any


class Replicas:
    """All servers of a model, the named one first."""

    def __init__(self, addresses: Sequence[str], settings: ApiSettings) -> None:
        import openai

        from seelevel.models.server.connection import BoundedClient

        self.all = list[Replica]()
        for address in dict.fromkeys(addresses):
            secret = Secret(key_variable(settings, address))
            client = openai.OpenAI(
                base_url=address,
                api_key=secret.value or "none",
                timeout=settings.timeout,
                max_retries=0,
                http_client=BoundedClient(),
            )
            self.all.append(Replica(address, secret, client))
        self._make = partial(Lanes, len(self.all), settings.concurrency)
        self._asking = threading.Lock()
        self._key = f"lanes {settings.concurrency} {' '.join(replica.address for replica in self.all)}"

    def __len__(self) -> int:
        return len(self.all)

    @contextmanager
    def one(self, stop: threading.Event) -> Iterator[Replica]:
        """The server for one call. An error that leaves the block counts against it if the call may succeed later.

        Waits while no server may be asked; raises `StoppedError` if the run ends meanwhile.
        """
        if len(self.all) == 1 and is_alone():  # its threads are as many as its calls at once
            yield self.all[0]
            return
        number, fault = self._taken(stop), None
        try:
            yield self.all[number]
        except Exception as error:
            fault = error if may_succeed(error) else None
            raise
        finally:
            rest = asked_wait_of(fault)
            if words := shared(self._key, self._make, "give_back", number, fault is not None, rest):
                say(f"{self.all[number].address} {words}")

    def _taken(self, stop: threading.Event) -> int:
        with self._asking:  # one thread looks for all that wait
            while (turn := shared(self._key, self._make, "take")).server is None:
                if stop.wait(turn.pause):
                    raise StoppedError
        return int(turn.server)

    def asked(self, url: str) -> Replica:
        """The server that a request went to; the first one if the address is of none."""
        return next((replica for replica in self.all if url.startswith(f"{replica.address}/")), self.all[0])

    def removed(self, text: str) -> str:
        """The text without any server's key."""
        for secret in self._secrets():
            text = secret.removed(text)
        return text

    def check(self, text: str) -> None:
        """Raise `InputError` if a text that is still growing begins to show a server's key."""
        for secret in self._secrets():
            secret.check(text)

    def cleaned(self, completion: Completion) -> Completion:
        """The completion without any server's key."""
        for secret in self._secrets():
            completion = secret.cleaned(completion)
        return completion

    def _secrets(self) -> Iterator[Secret]:
        seen = set[str]()
        for replica in self.all:
            if replica.secret.variable not in seen:
                seen.add(replica.secret.variable)
                yield replica.secret

"""Several servers of one model: a call goes to the one with the fewest calls in flight, and past those that fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from seelevel.models.base import ApiSettings, Completion
from seelevel.models.server.faults import asked_wait_of, may_succeed
from seelevel.models.server.names import key_variable
from seelevel.models.server.secret import Secret
from seelevel.progress import say

FAILS = 3
"""After so many failures in a row a server rests, and then gets one call at a time until it answers."""
FIRST_REST, LONGEST_REST = 1.0, 60.0
"""Seconds of the first rest; each further one is twice as long, up to the longest."""
LOOK_AGAIN = 0.2
"""Seconds after which a waiting call looks whether the run is being stopped."""


class StoppedError(Exception):
    """The run ends; this call was not sent."""


@dataclass
class Replica:
    """One server. `busy`: calls in flight; `failures`: in a row; `awake`: when it gets calls again."""

    address: str
    secret: Secret
    client: Any
    busy: int = 0
    failures: int = 0
    awake: float = field(default=0.0)


class Replicas:
    """All servers of a model, the named one first. `at_once`: calls in flight, per server."""

    def __init__(
        self, addresses: Sequence[str], settings: ApiSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        import openai

        from seelevel.models.server.connection import BoundedClient

        self.clock, self.all = clock, list[Replica]()
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
        self.at_once = settings.concurrency
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self.all)

    @contextmanager
    def one(self, stop: threading.Event) -> Iterator[Replica]:
        """The server for one call. An error that leaves the block counts against it if the call may succeed later.

        Waits while no server may be asked; raises `StoppedError` if the run ends meanwhile.
        """
        replica = self._taken(stop)
        try:
            yield replica
        except Exception as error:
            self._ended(replica, error if may_succeed(error) else None)
            raise
        except BaseException:
            self._ended(replica, None)
            raise
        self._ended(replica, None)

    def asked(self, url: str) -> Replica:
        """The server that a request went to; the first one if the address is of none."""
        return next((replica for replica in self.all if url.startswith(f"{replica.address}/")), self.all[0])

    def removed(self, text: str) -> str:
        """The text without any server's key."""
        for secret in self._secrets():
            text = secret.removed(text)
        return text

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

    def _taken(self, stop: threading.Event) -> Replica:
        if len(self.all) == 1:
            return self.all[0]
        with self._changed:
            while not (free := [replica for replica in self.all if self._is_free(replica)]):
                if stop.is_set():
                    raise StoppedError
                self._changed.wait(LOOK_AGAIN)
            replica = min(free, key=lambda one: (one.busy, one.failures))
            replica.busy += 1
            return replica

    def _is_free(self, replica: Replica) -> bool:
        most = 1 if replica.failures >= FAILS else self.at_once
        return replica.busy < most and replica.awake <= self.clock()

    def _ended(self, replica: Replica, fault: Exception | None) -> None:
        if len(self.all) == 1:
            return
        with self._changed:
            replica.busy -= 1
            if fault is None:
                if replica.failures >= FAILS:
                    say(f"{replica.address} answers again")
                replica.failures = 0
            else:
                replica.failures += 1
                rest = asked_wait_of(fault)
                if replica.failures >= FAILS:
                    rest = max(rest, min(FIRST_REST * 2 ** (replica.failures - FAILS), LONGEST_REST))
                if replica.failures == FAILS:
                    say(f"{replica.address} fails; its calls go to the others, and it is tried again now and then")
                replica.awake = max(replica.awake, self.clock() + rest)
            self._changed.notify_all()

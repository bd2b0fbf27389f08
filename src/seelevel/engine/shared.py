"""What all workers of a run share: the money that calls may cost, and how many calls a server gets at once.

Such a state is an object whose methods take the caller's name first. Here, in one process, it is used under a lock; on
a cluster it lives in one place, and calls of its methods go there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol


class State(Protocol):
    def forget(self, caller: str) -> None:
        """Give back what a caller that has died held."""
        ...


class Home(Protocol):
    """Where states live. `name`: what this process is called there."""

    @property
    def name(self) -> str: ...

    def call(self, key: str, make: Callable[[], State], method: str, *values: Any) -> Any:
        """The result of `method(*values)` of the state `key`, which `make()` makes if it is missing."""
        ...


class Here:
    """States in this process."""

    name = ""

    def __init__(self) -> None:
        self.states: dict[str, State] = {}
        self._lock = threading.Lock()

    def call(self, key: str, make: Callable[[], State], method: str, *values: Any) -> Any:
        with self._lock:
            if key not in self.states:
                self.states[key] = make()
            return getattr(self.states[key], method)(*values)

    def forget(self, caller: str) -> None:
        with self._lock:
            for state in self.states.values():
                state.forget(caller)


_HERE = Here()
_home: Home = _HERE


def shared(key: str, make: Callable[[], State], method: str, *values: Any) -> Any:
    """The result of a method of the state `key`, which `make()` makes if it is not there yet. The method gets this
    process's name first."""
    home = _home
    return home.call(key, make, method, home.name, *values)


def is_alone() -> bool:
    """Whether the states are this process's."""
    return _home is _HERE


def live_in(home: Home | None) -> None:
    """Where states live from now on; None: in this process."""
    global _home
    _home = _HERE if home is None else home


def adopt(states: dict[str, State]) -> None:
    """Take states over into this process."""
    _HERE.states.update(states)

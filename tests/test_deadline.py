"""A call's connections are closed when its time is over, and left alone before."""

from __future__ import annotations

import socket
import time

import pytest

from seelevel.deadline import Deadline

pytestmark = pytest.mark.unit


def test_a_connection_that_drips_is_closed_in_time() -> None:
    here, there = socket.socketpair()
    with here, there, Deadline(0.2) as deadline:
        deadline.watch(here)
        begun = time.monotonic()
        assert here.recv(1) == b""  # nothing was sent: closed
        assert deadline.passed
        assert time.monotonic() - begun < 5


def test_a_connection_that_opens_too_late_is_closed_at_once() -> None:
    here, there = socket.socketpair()
    with here, there, Deadline(0.0) as deadline:
        while not deadline.passed:
            time.sleep(0.01)
        deadline.watch(here)
        assert here.recv(1) == b""


@pytest.mark.parametrize("seconds", [None, 30.0])
def test_a_connection_outlives_a_call_that_ended_in_time(seconds: float | None) -> None:
    here, there = socket.socketpair()
    with here, there:
        with Deadline(seconds) as deadline:
            deadline.watch(here)
        assert not deadline.passed
        there.sendall(b"x")
        assert here.recv(1) == b"x"

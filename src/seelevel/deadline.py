"""A limit on the time of a whole call, however slowly its bytes come."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Deadline:
    """Closes the connections of one call when its time is over. `seconds`: None for no limit; `passed`: it is over.

    A limit per read would not do: a server that sends a byte now and then would hold the call for ever.
    """

    def __init__(self, seconds: float | None) -> None:
        self.passed = False
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = None if seconds is None else threading.Timer(seconds, self._end)

    def __enter__(self) -> Deadline:
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            for copy in self._sockets:
                copy.close()
            self._sockets.clear()

    def watch(self, connection: socket.socket) -> None:
        """Close this connection too when the time is over."""
        # A copy of its own: TLS takes the socket over, and a closed number may belong to another file by then.
        copy = connection.dup()
        with self._lock:
            self._sockets.append(copy)
        if self.passed:
            self._end()

    def _end(self) -> None:
        self.passed = True
        with self._lock:
            for copy in self._sockets:
                with suppress(OSError):  # closed by the server already
                    copy.shutdown(socket.SHUT_RDWR)

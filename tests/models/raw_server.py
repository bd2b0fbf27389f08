"""A server of bare sockets, which sends any bytes at any pace."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.models.asking import GREEDY, ask
from tests.models.faulty_server import KEY

__all__ = ["GREEDY", "KEY", "RawServer", "ask", "chat_body", "raw", "serving_raw"]


class RawServer:
    """Answers each request with `respond(connection, headers)`, then hangs up. `requests`: all that was received."""

    def __init__(self, respond: Callable[[socket.socket, str], None]) -> None:
        self.respond, self.requests = respond, list[str]()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            head, _, body = _until(connection, b"\r\n\r\n")
            lines = head.decode().lower().split("\r\n")
            length = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length")), 0)
            while len(body) < length:
                body += connection.recv(65536)
            self.requests.append(head.decode())
            self.respond(connection, head.decode())


def _until(connection: socket.socket, end: bytes) -> tuple[bytes, bytes, bytes]:
    data = b""
    while end not in data:
        if not (more := connection.recv(65536)):
            raise OSError("hung up")
        data += more
    return data.partition(end)


@contextmanager
def serving_raw(respond: Callable[[socket.socket, str], None]) -> Iterator[RawServer]:
    server = RawServer(respond)
    try:
        yield server
    finally:
        server.socket.close()


def chat_body(content: Any = "a cup", **more: Any) -> bytes:
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop", **more}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 5}}).encode()


def raw(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

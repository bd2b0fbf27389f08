"""Calls over HTTP with limits: the time of a whole call, the size of a reply, and no redirect to another server."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import openai

from seelevel.deadline import Deadline
from seelevel.models.server.faults import RedirectedError, TooSlowError, UnusableReplyError
from seelevel.models.server.streaming import READ_TO_END, is_stream

LARGEST = 64 << 20
"""Bytes of the largest reply, as sent and after it is decompressed."""
HOPS = 5
"""Redirects that are followed inside one server."""
PORTS = {"http": 80, "https": 443}
TIMED_OUT = ("ReadTimeout", "WriteTimeout", "PoolTimeout")
"""The HTTP library's own errors when one read or write takes as long as the whole call may."""
WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""What `zlib` has to be told to read a content encoding."""


class BoundedClient(openai.DefaultHttpxClient):
    """The client of the `openai` package with limits. What it refuses is the cause of an `openai.APIConnectionError`.

    The time-out of a request limits the whole call, with connecting and redirects. Each call has a connection of its
    own, so that it can be closed when the time is over. While connecting, the limit holds per address of the server.
    """

    def __init__(self) -> None:
        super().__init__(headers={"Connection": "close", "Accept-Encoding": "identity"})

    def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
        """The whole reply, decompressed. With `stream`, one of server-sent events is still to be read, and closed.

        Raises `openai.APIConnectionError` from `TooSlowError`, `UnusableReplyError` or `RedirectedError`, and the HTTP
        library's errors.
        """
        seconds = (request.extensions.get("timeout") or {}).get("read")
        with ExitStack() as held:
            deadline = held.enter_context(Deadline(seconds))
            with _as_lost(request, deadline, seconds):
                response = self._read(request, deadline, {**options, "follow_redirects": False}, stream)
            if not response.is_closed:
                _limit(response, request, deadline, seconds, held.pop_all())
            return response

    def _read(self, request: Any, deadline: Deadline, options: dict[str, Any], stream: bool) -> Any:
        for _ in range(HOPS):
            request.extensions["trace"] = _watched_by(deadline)
            response = super().send(request, stream=True, **options)
            if stream and is_stream(response) and not _encodings(response):
                return response
            try:
                if response.next_request is None:
                    return _whole(response)
                if (there := _origin(response.next_request.url)) != _origin(request.url):
                    raise RedirectedError("{}://{}:{}".format(*there))
                request = response.next_request
            finally:
                response.close()
        raise UnusableReplyError(f"over {HOPS} redirects")


@contextmanager
def _as_lost(request: Any, deadline: Deadline, seconds: float | None) -> Iterator[None]:
    """Limits that are passed inside the block leave it as `openai.APIConnectionError`."""
    try:
        yield
        if deadline.passed:
            raise TimeoutError("the time is over")  # a connection that is closed looks like the end of a reply
    except (UnusableReplyError, RedirectedError) as error:
        raise openai.APIConnectionError(request=request) from error
    except Exception as error:
        if not deadline.passed and type(error).__name__ not in TIMED_OUT:
            raise
        slow = TooSlowError(f"no complete reply within {seconds:g} s")
        slow.__cause__ = error
        raise openai.APIConnectionError(request=request) from slow


def _limit(response: Any, request: Any, deadline: Deadline, seconds: float | None, held: ExitStack) -> None:
    """Keep the limits while a stream is read. `held` is let go when it is closed."""
    pieces, close = response.iter_bytes, response.close

    def iter_bytes() -> Iterator[bytes]:
        size = 0
        with _as_lost(request, deadline, seconds):
            for piece in pieces():
                size += len(piece)
                if size > LARGEST:
                    raise UnusableReplyError(f"a reply of over {LARGEST >> 20} MiB")
                yield piece
        response.extensions[READ_TO_END] = True

    def closed() -> None:
        held.close()
        close()

    response.iter_bytes, response.close = iter_bytes, closed
    response.extensions[READ_TO_END] = False


def _watched_by(deadline: Deadline) -> Callable[[str, dict[str, Any]], None]:
    """For the extension `trace` of a request: the deadline watches each connection that the request opens."""

    def trace(event: str, info: dict[str, Any]) -> None:
        if event.endswith("connect_tcp.complete"):
            deadline.watch(info["return_value"].get_extra_info("socket"))

    return trace


def _origin(url: Any) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or PORTS.get(url.scheme, 0)


def _whole(response: Any) -> Any:
    """The response with its content in memory, decompressed."""
    content = _collected(response.iter_raw())
    for name in reversed(_encodings(response)[:HOPS]):
        content = _decompressed(content, name)
    dropped = (b"content-encoding", b"content-length", b"transfer-encoding")
    headers = [(name, value) for name, value in response.headers.raw if name.lower() not in dropped]  # in any alphabet
    return type(response)(
        response.status_code,
        headers=headers,
        content=content,
        request=response.request,
        extensions={key: value for key, value in response.extensions.items() if key != "network_stream"},
    )


def _encodings(response: Any) -> list[str]:
    names = [name.strip().lower() for name in response.headers.get("content-encoding", "").split(",")]
    return [name for name in names if name not in ("", "identity")]


def _collected(pieces: Iterable[bytes]) -> bytes:
    content = bytearray()
    for piece in pieces:
        content += piece
        if len(content) > LARGEST:
            raise UnusableReplyError(f"a reply of over {LARGEST >> 20} MiB")
    return bytes(content)


def _decompressed(content: bytes, encoding: str) -> bytes:
    """The content without one content encoding. Raises `UnusableReplyError` if it is unknown, broken or too large."""
    if encoding not in WINDOW_BITS:
        raise UnusableReplyError(f"a reply compressed as {encoding[:20]!r}, which was not asked for")
    raw_deflate = encoding == "deflate" and not _is_zlib(content)
    unpacker = zlib.decompressobj(-15 if raw_deflate else WINDOW_BITS[encoding])
    try:
        unpacked = unpacker.decompress(content, LARGEST + 1)
    except zlib.error as error:
        raise UnusableReplyError("a reply that cannot be decompressed") from error
    if len(unpacked) > LARGEST:
        raise UnusableReplyError(f"a reply of over {LARGEST >> 20} MiB when decompressed")
    return unpacked


def _is_zlib(content: bytes) -> bool:
    """Whether a deflated text has zlib's header. Some servers leave it out."""
    return len(content) > 1 and content[0] & 15 == 8 and int.from_bytes(content[:2], "big") % 31 == 0

"""Pictures behind addresses, for users who ask for it: over HTTP and HTTPS, from public servers alone.

A stranger's records choose the addresses. So a name that leads to this machine or into its network is refused, at each
redirect anew, and the connection goes to the very address that was looked at.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from time import sleep
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from seelevel.deadline import Deadline
from seelevel.errors import reason_of
from seelevel.images import ImageError

SECONDS, TRIES, HOPS = 60.0, 3, 5
"""The limit of one call, from its connection to its last byte; calls if a server is busy; redirects."""
LARGEST = 64 << 20
"""Bytes of a picture."""
BUSY = (429, 500, 502, 503, 504)


def fetch(address: str) -> bytes:
    """What stands behind an address. Raises `ImageError` with the reason."""
    for attempt in range(TRIES):
        status, body = _followed(address)
        if status == 200:
            return body
        if status not in BUSY:
            break
        sleep(2.0**attempt)
    raise ImageError(f"cannot be fetched: the server answers with {status}")


def _followed(address: str) -> tuple[int, bytes]:
    """Status and body at the end of the redirects."""
    for _ in range(HOPS + 1):
        with Deadline(SECONDS) as deadline:
            status, there, body = _called(urlsplit(address), deadline)
        if not there:
            return status, body
        address = urljoin(address, there)
    raise ImageError(f"cannot be fetched: over {HOPS} redirects")


def _called(address: SplitResult, deadline: Deadline) -> tuple[int, str, bytes]:
    """Status, the address of a redirect, and the body of one call."""
    try:
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ImageError("cannot be fetched: not an address of HTTP or HTTPS")
        kind = _Secure if address.scheme == "https" else _Plain
        path = quote(address.path or "/", safe="/%:@!$&'()*+,;=~") + (f"?{address.query}" if address.query else "")
        with closing(kind(address.hostname, address.port, timeout=SECONDS)) as call:
            call.deadline = deadline
            call.request("GET", path, headers={"User-Agent": "seelevel", "Accept": "image/*"})
            reply = call.getresponse()
            there = reply.headers.get("Location", "") if 300 <= reply.status < 400 else ""
            body = b"" if there or reply.status != 200 else reply.read(LARGEST + 1)
            if deadline.passed:
                raise TimeoutError
            if len(body) > LARGEST or (body and reply.length):
                raise ImageError(f"cannot be fetched: over {LARGEST >> 20} MiB, or cut off")
            return reply.status, there, body
    except (OSError, HTTPException, ValueError) as error:
        reason = f"it took over {SECONDS:g} s" if deadline.passed else reason_of(error)
        raise ImageError(f"cannot be fetched: {reason}") from error


class _Plain(HTTPConnection):
    deadline: Deadline

    def connect(self) -> None:
        self.sock = _connected(self.host, self.port, self.deadline)


class _Secure(HTTPSConnection):
    deadline: Deadline

    def connect(self) -> None:
        plain = _connected(self.host, self.port, self.deadline)
        self.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)


def _connected(host: str, port: int, deadline: Deadline) -> socket.socket:
    """A connection to a public address of this name. Raises `ImageError` if it has none."""
    places = [info[4][:2] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    public = [place for place in places if is_public(str(place[0]))]
    if not public:
        raise ImageError(f"cannot be fetched: '{host[:80]}' is not a public server")
    connection = socket.create_connection(public[0], timeout=SECONDS)  # type: ignore[arg-type]  # host and port
    deadline.watch(connection)
    return connection


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the open internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    return ip.is_global and not ip.is_multicast

"""Who may come in: whoever has the token, from a page of this server, asking for it by its own name.

Other sites can make a browser send requests. So a request's `Host` must be this machine's name (against DNS rebinding),
a change must come from a page of this server (`Origin`), and everything needs the token: in the address once, then in a
cookie that other sites' pages cannot send.
"""

from __future__ import annotations

import hmac
import re
import secrets
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAMES = ("127.0.0.1", "localhost", "[::1]")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
LARGEST, LARGEST_PICTURE = 1 << 20, 20 << 20
"""Bytes of a request's body, and of one that brings a picture."""
PICTURE = re.compile(r"/talk/[\w-]+/picture")
"""The addresses that take pictures."""


def new_token() -> str:
    return secrets.token_urlsafe(24)


class Door:
    """The application behind a check of every request. `port`: what the server listens on."""

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self.app, self.token, self.port = app, token, port
        self.cookie = f"seelevel-view-{port}"  # cookies do not tell ports apart
        self.hosts = {f"{name}:{port}" for name in NAMES}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        answer = self._refusal(Request(scope))

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await (answer or self.app)(scope, receive, with_headers)

    def _refusal(self, request: Request) -> Response | None:
        """The answer to a request that goes no further: a refusal, or the address again without its token."""
        headers = request.headers
        if headers.get("host", "") not in self.hosts:
            return PlainTextResponse("this server answers to 127.0.0.1 and localhost only", 403)
        given = request.query_params.get("token")
        if given is not None and self._is_token(given) and request.method == "GET":
            rest = urlencode([pair for pair in parse_qsl(request.url.query) if pair[0] != "token"])
            path = "/" + request.url.path.lstrip("/")  # "//evil.example" would lead away
            away = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
            away.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
            return away
        if not self._is_token(request.cookies.get(self.cookie, "")):
            return PlainTextResponse("no token: open the address that `seelevel view` printed", 403)
        if request.method not in ("GET", "HEAD") and not self._is_from_here(headers):
            return PlainTextResponse("a change must come from a page of this server", 403)
        length = headers.get("content-length", "0" if request.method in ("GET", "HEAD") else "")
        largest = LARGEST_PICTURE if PICTURE.fullmatch(request.url.path) else LARGEST
        if not length.isdecimal() or len(length) > len(str(largest)) or int(length) > largest:
            return PlainTextResponse("the request is too large, or does not say how large it is", 413)
        return None

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self.token.encode())

    def _is_from_here(self, headers: Headers) -> bool:
        return headers.get("origin", "") == f"http://{headers['host']}"

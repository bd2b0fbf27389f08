"""Pictures as pages show them: smaller, as WebP."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from seelevel.images import ImageError, open_image

SIDES = (320, 1600)
"""Longest sides of the pictures in a list and on a page of one, in pixels."""


class Pictures:
    """Pictures that were made smaller, the last ones kept."""

    def __init__(self) -> None:
        self._small: Callable[[str, int], bytes] = lru_cache(maxsize=512)(_webp)

    async def response(self, path: str, side: int) -> Response:
        """The picture in a file, its longest side at most one of `SIDES`. Raises `HTTPException` if it cannot be
        shown."""
        if side not in SIDES:
            raise HTTPException(404, "There is no such picture")
        try:
            raw = await run_in_threadpool(self._small, path, side)
        except ImageError as error:
            raise HTTPException(404, f"The picture cannot be shown: {error}") from error
        return Response(raw, media_type="image/webp")


def _webp(path: str, side: int) -> bytes:
    buffer = io.BytesIO()
    open_image(path, side).save(buffer, "WEBP", quality=85, method=2)
    return buffer.getvalue()

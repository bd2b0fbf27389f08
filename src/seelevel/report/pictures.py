"""Pictures in the page: downscaled, as data URIs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from seelevel.images import ImageError, open_image


@dataclass(frozen=True)
class Picture:
    """The attributes of an `<img>`. If the picture cannot be shown, `source` is empty and `reason` says why."""

    source: str
    width: int = 0
    height: int = 0
    reason: str = ""


class Album:
    """Pictures by path, each encoded once. Together they take at most `budget` bytes of the page."""

    def __init__(self, side: int, budget: int) -> None:
        self.side, self.left = side, budget
        self._encoded: dict[str, Picture] = {}

    def picture(self, path: str | Path | None) -> Picture:
        """The picture of a file, scaled down so that its longest side is at most `side` pixels."""
        if not path:
            return Picture("", reason="no picture")
        key = str(path)
        if key not in self._encoded:
            self._encoded[key] = self._encode(Path(path))
        picture = self._encoded[key]
        if len(picture.source) > self.left:
            return Picture("", reason="picture left out: the page would grow too large")
        self.left -= len(picture.source)
        return picture

    def _encode(self, path: Path) -> Picture:
        try:
            image = open_image(path, self.side)
        except ImageError as error:
            return Picture("", reason=f"picture cannot be shown: {error}")
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=88, method=4)
        source = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
        return Picture(source, *image.size)

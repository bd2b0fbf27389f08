"""Pictures from files: any kind of them to RGB, within stated limits, or a reason why not."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Semaphore

import numpy as np
from PIL import Image as Pictures
from PIL import ImageOps, UnidentifiedImageError

from seelevel.errors import InputError
from seelevel.ladder import Image
from seelevel.store import TEMPORARY, cache_folder, write_atomically

MAX_PIXELS = 89_000_000
"""Larger pictures are rejected: a small file can unpack to any number of pixels, at four bytes each."""
MAX_ASPECT = 100
"""Longer side over shorter side; beyond it image processors fail or make thousands of tiles."""
MODEL_SIDE = 4096
"""Pictures are made smaller to this many pixels a side: more than any processor in use looks at, and a 50-megapixel
picture then costs a processor 200 MB in float32 instead of 600."""
SMALLEST_SIDE = 4
THREADS = 4
WAITING = 64
"""Pictures of a store that may wait in memory to be decoded and written."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
SUFFIXES = {"JPEG": "jpg", "MPO": "jpg", "JPEG2000": "jp2", "TIFF": "tif"}
PNG_END = b"IEND\xaeB`\x82"
WHITE = (255, 255, 255)
DEPTH_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
# What Pillow raises on broken files; which of them depends on the format and on where the file is broken.
DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)

# Pillow warns just above our own limit, where the picture is rejected with a reason anyway.
warnings.filterwarnings("ignore", category=Pictures.DecompressionBombWarning)


class ImageError(ValueError):
    """A file that is not a usable picture; the message is the reason, without the path."""


@dataclass(frozen=True)
class ImageFacts:
    """What a check found: content hash, size in pixels as stored (before any EXIF rotation), file suffix."""

    sha256: str
    width: int
    height: int
    suffix: str


def open_image(path: Path | str, max_side: int | None = MODEL_SIDE) -> Pictures.Image:
    """The picture in a file as RGB, turned as its EXIF orientation says, transparent parts on white.

    A picture with a side over `max_side` pixels is made smaller, proportions kept; None keeps every size. Raises
    `ImageError` with the reason: missing, not a picture, truncated, over MAX_PIXELS, aspect ratio over MAX_ASPECT.
    """
    try:
        with _opened(path) as picture:
            orientation = picture.getexif().get(0x0112, 1)
            if max_side is not None:
                scale = max_side / max(picture.size)
                wanted = (round(picture.width * scale), round(picture.height * scale))
                picture.draft("RGB", wanted)  # JPEG only: decodes at 1/2, 1/4 or 1/8, never below what is wanted
            picture.load()
            flat = _rgb(picture)
    except DECODE_ERRORS as error:
        raise _reason(error) from error
    if max_side is not None and max(flat.size) > max_side:
        flat.thumbnail((max_side, max_side), Pictures.Resampling.BICUBIC, reducing_gap=None)
    if orientation not in (0, 1):
        flat.getexif()[0x0112] = orientation
        flat = ImageOps.exif_transpose(flat)
    return flat


def model_picture(path: Path | str) -> Pictures.Image:
    """`open_image` for an image processor, at least 4 pixels a side: a side of 1 or 3 passes for colour channels.

    Raises `InputError` with the path: by now a stage is at work, and no record can be set aside any more.
    """
    try:
        picture = open_image(path)
    except ImageError as error:
        raise InputError(f"picture {path}: {error}; put a whole one there and run the same command again") from error
    if min(picture.size) >= SMALLEST_SIDE:
        return picture
    sides = (max(picture.width, SMALLEST_SIDE), max(picture.height, SMALLEST_SIDE))
    return picture.resize(sides, Pictures.Resampling.NEAREST)


def encoded_picture(path: Path | str) -> tuple[str, bytes]:
    """A picture for a server: its MIME type and bytes, which show what `model_picture` gives a local model.

    The file itself where it is a plain RGB JPEG or PNG that needs no turning or shrinking, else a PNG. Raises
    `InputError` with the path.
    """
    try:
        raw = _read(path)
        with _opened(io.BytesIO(raw)) as picture:
            plain = (
                picture.format in ("JPEG", "PNG")
                and picture.mode == "RGB"
                and not picture.has_transparency_data
                and picture.getexif().get(0x0112, 1) in (0, 1)
                and max(picture.size) <= MODEL_SIDE
                and min(picture.size) >= SMALLEST_SIDE
            )
            mime = f"image/{(picture.format or '').lower()}"
    except (ImageError, *DECODE_ERRORS):
        plain, mime, raw = False, "", b""
    if plain:
        return mime, raw
    buffer = io.BytesIO()
    model_picture(path).save(buffer, "PNG")
    return "image/png", buffer.getvalue()


def check_image(path: Path | str) -> ImageFacts:
    """Decode a file to its end, as cheaply as its format allows. Raises `ImageError` with the reason."""
    return _check(_read(path))


def _check(raw: bytes) -> ImageFacts:
    try:
        with _opened(io.BytesIO(raw)) as picture:
            width, height = picture.size
            kind = picture.format or ""
            picture.draft(None, (1, 1))  # reads all of a JPEG's data but computes only 1/64 of its pixels
            picture.load()
            if picture.mode == "F" or picture.mode == "LAB":
                _rgb(picture)
    except DECODE_ERRORS as error:
        raise _reason(error) from error
    if kind == "PNG" and PNG_END not in raw:  # Pillow stops at the last pixel, before the checksum
        raise ImageError("truncated")
    return ImageFacts(hashlib.sha256(raw).hexdigest(), width, height, SUFFIXES.get(kind, kind.lower()))


def _read(path: Path | str) -> bytes:
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise _reason(error) from error


@cache
def _formats() -> tuple[str, ...]:
    """The kinds of picture that this build of Pillow reads. PostScript and the like, which run programs, are not."""
    Pictures.init()
    return tuple(kind for kind in FORMATS if kind in Pictures.OPEN)


def _opened(source: Path | str | io.BytesIO) -> Pictures.Image:
    """The picture with its header read and its size judged, its pixels still untouched."""
    try:
        picture = Pictures.open(source, formats=_formats())
    except Pictures.DecompressionBombError as error:
        raise ImageError(f"over {MAX_PIXELS // 1_000_000} megapixels") from error
    longer, shorter = max(picture.size), min(picture.size)
    if longer * shorter > MAX_PIXELS:
        picture.close()
        raise ImageError(f"{longer * shorter / 1e6:.0f} megapixels, over {MAX_PIXELS // 1_000_000}")
    if longer > MAX_ASPECT * shorter:
        picture.close()
        raise ImageError(f"aspect ratio {longer / max(shorter, 1):.0f}, over {MAX_ASPECT}")
    return picture


def _rgb(picture: Pictures.Image) -> Pictures.Image:
    if picture.mode in DEPTH_MODES:
        values = np.asarray(picture)
        # 16 bits of grey: the upper 8 are kept. Pillow's own conversion clips at 255, which makes such pictures white.
        grey = values >> 8 if picture.mode != "I" or values.max() > 255 else values
        return Pictures.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise ImageError("floating-point pixels, which have no fixed scale")
    if picture.has_transparency_data:
        clear = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        flat = Pictures.new("RGB", clear.size, WHITE)
        flat.paste(clear, mask=clear.getchannel("A"))
        return flat
    return picture.convert("RGB")


def _reason(error: BaseException) -> ImageError:
    if isinstance(error, ImageError):
        return error
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ImageError("missing")
    if isinstance(error, IsADirectoryError):
        return ImageError("a folder, not a picture")
    if isinstance(error, PermissionError):
        return ImageError("no permission to read it")
    if isinstance(error, UnidentifiedImageError):
        return ImageError("not a picture that can be read (JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, JPEG 2000, AVIF)")
    text = str(error) or type(error).__name__
    return ImageError("truncated" if "truncated" in text.lower() else f"broken: {text}")


class ImageStore:
    """`root/images`: pictures kept once, by content, each whole or not at all. They are not synced one by one.

    shared: other processes write into the folder too, so what they have not finished is left alone.
    """

    def __init__(self, root: Path, shared: bool = False) -> None:
        self.folder = Path(root).resolve() / "images"
        self._begun: dict[str, Future[str] | None] = {}
        self._room = Semaphore(WAITING)
        self._threads = ThreadPoolExecutor(THREADS)
        if self.folder.is_dir() and not shared:
            for leftover in self.folder.glob(TEMPORARY + "*"):
                leftover.unlink()

    def put(self, path: Path | str) -> Image:
        """Keep a picture that decodes to its end. Raises `ImageError` with the reason if it does not."""
        if str(path) in self._begun:
            return Image(str(path), self.checked(path))
        return self.put_bytes(_read(path))

    def put_bytes(self, raw: bytes) -> Image:
        """`put` for a picture that is in memory, encoded as its file would be."""
        facts = _check(raw)
        target = self.folder / f"{facts.sha256}.{facts.suffix}"
        if not target.exists() or target.stat().st_size != len(raw):  # a loss of power leaves a file too short
            write_atomically(target, raw, synced=False)
        return Image(str(target), facts.sha256)

    def begin(self, raw: bytes) -> Image:
        """`put_bytes` in the background. The picture's path is known at once; `put` and `checked` of it wait.

        Only a few pictures wait in memory. Raises `ImageError` for what cannot be a picture.
        """
        try:
            with _opened(io.BytesIO(raw)) as picture:
                kind = picture.format or ""
        except DECODE_ERRORS as error:
            raise _reason(error) from error
        sha256 = hashlib.sha256(raw).hexdigest()
        path = str(self.folder / f"{sha256}.{SUFFIXES.get(kind, kind.lower())}")
        if path not in self._begun:
            self._room.acquire()
            self._begun[path] = self._threads.submit(self._finish, path, raw)
        return Image(path, sha256)

    def _finish(self, path: str, raw: bytes) -> str:
        """Why the picture cannot be used, or nothing."""
        try:
            self.put_bytes(raw)
        except ImageError as error:
            return str(error)  # the error itself would hold on to the bytes
        finally:
            self._room.release()
        return ""

    def checked(self, path: Path | str) -> str:
        """The SHA-256 of a picture that decodes to its end, kept here or not. Raises `ImageError` with the reason."""
        if str(path) not in self._begun:
            return check_image(path).sha256
        future = self._begun[str(path)]
        if future is not None:
            if reason := future.result():
                raise ImageError(reason)
            self._begun[str(path)] = None  # many futures are much memory
        return Path(path).stem

    def close(self) -> None:
        """Wait for what was begun; nothing more can be begun."""
        self._threads.shutdown()


def named_by_content(raw: bytes) -> Image:
    """A name for a picture that is only counted: nothing is kept."""
    return Image(hashlib.sha256(raw).hexdigest())


def cached_pictures() -> ImageStore:
    """Where pictures inside other files are kept if nobody says where: in the user's cache."""
    return ImageStore(cache_folder() / "data", shared=True)

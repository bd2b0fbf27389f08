"""Pictures from files: any kind of them to RGB, within stated limits, or a reason why not."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image as Pictures
from PIL import UnidentifiedImageError

from seelevel.errors import InputError
from seelevel.opening import NotAFile, TooLarge, read_bytes

MAX_PIXELS = 89_000_000
"""Larger pictures are rejected: a small file can unpack to any number of pixels, at four bytes each."""
MAX_ASPECT = 100
"""Longer side over shorter side; beyond it image processors fail or make thousands of tiles."""
MODEL_SIDE = 4096
"""Pictures are made smaller to this many pixels a side: more than any processor in use looks at, and a 50-megapixel
picture then costs a processor 200 MB in float32 instead of 600."""
LARGEST_FILE = 1 << 29
"""Bytes of the largest file that is read: twice what MAX_PIXELS pixels need without compression, at 24 bits each."""
SMALLEST_SIDE = 4
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF")
SUFFIXES = {"JPEG": "jpg", "MPO": "jpg", "JPEG2000": "jp2", "TIFF": "tif", "HEIF": "heic"}
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
PNG_TEXTS = (b"iTXt", b"zTXt", b"tEXt", b"iCCP")
PNG_XMP, LONGEST_XMP = b"XML:com.adobe.xmp\0\0", 65_536
STARTS = (
    b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6", b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51",
)  # fmt: skip
"""How files of pictures begin. WebP, AVIF and HEIC have their names further on."""
AVIF = (b"avif", b"avis")
HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
"""The brands of these files, at byte 8."""
ENDINGS = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "jp2", "avif", "heic", "heif")
"""The suffixes of files of pictures."""
LFS = b"version https://git-lfs"
"""The start of a Git LFS pointer, which replaces a file that was not downloaded."""
WHITE = (255, 255, 255)
DEPTH_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
TURNS = {
    2: Pictures.Transpose.FLIP_LEFT_RIGHT,
    3: Pictures.Transpose.ROTATE_180,
    4: Pictures.Transpose.FLIP_TOP_BOTTOM,
    5: Pictures.Transpose.TRANSPOSE,
    6: Pictures.Transpose.ROTATE_270,
    7: Pictures.Transpose.TRANSVERSE,
    8: Pictures.Transpose.ROTATE_90,
}
"""What an EXIF orientation asks for."""
# What Pillow raises on broken files; which of them depends on the format and on where the file is broken.
DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)
EXIF_ERRORS = (*DECODE_ERRORS, AttributeError)

# Pillow warns just above our own limit, where the picture is rejected with a reason anyway.
warnings.filterwarnings("ignore", category=Pictures.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # of EXIF data that turn nothing


class ImageError(ValueError):
    """A file that is not a usable picture; the message is the reason, without the path."""


class Crop(NamedTuple):
    """A part of the picture in a file, enlarged to the whole picture's size. box: left, top, right and bottom as shares
    of width and height."""

    path: str
    box: tuple[float, float, float, float]


Picture = str | Crop  # a file, or a part of it


@dataclass(frozen=True)
class ImageFacts:
    """What a check found: content hash, size in pixels as stored (before any EXIF rotation), file suffix."""

    sha256: str
    width: int
    height: int
    suffix: str


def open_image(path: Path | str, max_side: int | None = MODEL_SIDE) -> Pictures.Image:
    """The picture in a file as RGB, turned as its EXIF orientation says, transparent parts on white.

    A picture with a side over `max_side` pixels is made smaller, proportions kept; None keeps every size. Of several
    frames the first is taken. Raises `ImageError` with the reason: missing, not a picture, truncated, over MAX_PIXELS,
    aspect ratio over MAX_ASPECT.
    """
    return _decoded(read_file(path), max_side).picture


def model_picture(path: Path | Picture) -> Pictures.Image:
    """`open_image` for an image processor, at least 4 pixels a side: a side of 1 or 3 passes for colour channels.

    Raises `InputError` with the path: by now a stage is at work, and no record can be set aside any more.
    """
    if isinstance(path, Crop):
        return _enlarged(model_picture(path.path), path.box)
    try:
        picture = open_image(path)
    except ImageError as error:
        raise _gone(path, error) from error
    if min(picture.size) >= SMALLEST_SIDE:
        return picture
    sides = (max(picture.width, SMALLEST_SIDE), max(picture.height, SMALLEST_SIDE))
    return picture.resize(sides, Pictures.Resampling.NEAREST)


def _enlarged(picture: Pictures.Image, box: tuple[float, float, float, float]) -> Pictures.Image:
    """A part of a picture, at least one pixel wide and high, enlarged to the size of the whole."""
    (left, top), (width, height) = box[:2], picture.size
    wide, high = max((box[2] - left) * width, 1), max((box[3] - top) * height, 1)
    x, y = min(left * width, width - wide), min(top * height, height - high)
    return picture.resize(picture.size, Pictures.Resampling.BICUBIC, (x, y, x + wide, y + high))


def encoded_picture(path: Path | str) -> tuple[str, bytes]:
    """A picture for a server: its MIME type and bytes, which show what `model_picture` gives a local model.

    The file itself where it is a plain RGB JPEG or PNG that needs no turning or shrinking, else a PNG. Raises
    `InputError` with the path.
    """
    try:
        decoded = _cheaply_decoded(read_file(path))
    except ImageError as error:
        raise _gone(path, error) from error
    if decoded.plain:
        return f"image/{decoded.kind.lower()}", decoded.raw
    buffer = io.BytesIO()
    model_picture(path).save(buffer, "PNG")
    return "image/png", buffer.getvalue()


def check_image(path: Path | str) -> ImageFacts:
    """Decode a file to its end, as `open_image` does, as cheaply as its format allows. Raises `ImageError` with the
    reason. A picture that passes can be opened in every later stage."""
    return check_bytes(read_file(path))


def check_bytes(raw: bytes) -> ImageFacts:
    """`check_image` for a file's bytes."""
    decoded = _cheaply_decoded(raw)
    width, height = decoded.size
    return ImageFacts(hashlib.sha256(raw).hexdigest(), width, height, _suffix(decoded.kind))


@dataclass(frozen=True)
class _Decoded:
    """A picture that was read to its end: RGB and upright. `kind`, `size`: of the file, before any turning. `plain`:
    whether `raw`, the file without texts, shows what an image processor gets in any viewer."""

    picture: Pictures.Image
    kind: str
    size: tuple[int, int]
    plain: bool
    raw: bytes


def _decoded(
    raw: bytes, max_side: int | None, resampling: Pictures.Resampling = Pictures.Resampling.BICUBIC
) -> _Decoded:
    """The one way from a file's bytes to a picture, for the check at the start and for every stage after it.

    Raises `ImageError` with the reason.
    """
    raw = _without_texts(raw)
    try:
        with _opened(io.BytesIO(raw)) as picture:
            kind, size = picture.format or "", picture.size
            orientation = _orientation(picture)
            clear = picture.has_transparency_data
            if max_side is not None:
                scale = max_side / max(size)
                wanted = (max(round(size[0] * scale), 1), max(round(size[1] * scale), 1))
                picture.draft("RGB", wanted)  # JPEG only: decodes at 1/2, 1/4 or 1/8, never below what is wanted
            picture.load()
            mode = picture.mode
            flat = _rgb(picture)
    except DECODE_ERRORS as error:
        raise _reason(error) from error
    if kind == "PNG" and PNG_END not in raw:  # Pillow stops at the last pixel, before the checksum
        raise ImageError("truncated")
    if max_side is not None and max(flat.size) > max_side:
        flat.thumbnail((max_side, max_side), resampling, reducing_gap=None)
    if orientation in TURNS:
        flat = flat.transpose(TURNS[orientation])
    usual = max(size) <= MODEL_SIDE and min(size) >= SMALLEST_SIDE
    plain = kind in ("JPEG", "PNG") and mode == "RGB" and not clear and orientation == 1 and usual
    return _Decoded(flat, kind, size, plain, raw)


def _cheaply_decoded(raw: bytes) -> _Decoded:
    """`_decoded` for a small picture: a JPEG is read to its end, but only 1/64 of its pixels are computed."""
    return _decoded(raw, SMALLEST_SIDE, Pictures.Resampling.NEAREST)


def _orientation(picture: Pictures.Image) -> int:
    """The EXIF orientation, 1 to 8, and 1 if there is none. It is 0 for EXIF data that cannot be read: they turn
    nothing, but other readers may fail on them."""
    try:
        orientation = picture.getexif().get(0x0112, 1)
    except EXIF_ERRORS:
        return 0
    return orientation if isinstance(orientation, int) else 0


def _without_texts(raw: bytes) -> bytes:
    """A PNG without its texts and colour profile, which nothing here reads: Pillow refuses a picture with long ones.

    A short uncompressed text is kept, for it may hold the orientation (XMP). Other files are returned as they are.
    """
    if not raw.startswith(PNG_START):
        return raw
    kept, place = [PNG_START], len(PNG_START)
    while place + 12 <= len(raw):
        length = int.from_bytes(raw[place : place + 4], "big")
        chunk = raw[place : place + 12 + length]
        xmp = chunk[8 : 8 + len(PNG_XMP)] == PNG_XMP and length <= LONGEST_XMP
        if chunk[4:8] not in PNG_TEXTS or xmp:
            kept.append(chunk)
        place += 12 + length
        if chunk[4:8] == b"IEND":
            break
    return b"".join([*kept, raw[place:]])


def _gone(path: Path | str, error: ImageError) -> InputError:
    return InputError(f"picture {path}: {error}; put a whole one there and run the same command again")


def is_picture(raw: bytes) -> bool:
    """Whether bytes begin as a picture's file does."""
    boxed = raw[4:8] == b"ftyp" and raw[8:12] in (*AVIF, *HEIC)
    return boxed or raw.startswith(STARTS) or raw[8:12] == b"WEBP"


def read_file(path: Path | str) -> bytes:
    """A regular file's bytes. Raises `ImageError` if there is none, or if it has over LARGEST_FILE bytes."""
    try:
        raw = read_bytes(path, LARGEST_FILE)
    except NotAFile as error:
        raise ImageError(f"not a file but {error.kind}") from error
    except TooLarge as error:
        raise ImageError(f"over {LARGEST_FILE >> 20} MiB") from error
    except (OSError, ValueError) as error:
        raise _reason(error) from error
    if raw.startswith(LFS):
        raise ImageError("a pointer of Git LFS; fetch the file itself: git lfs pull")
    return raw


@cache
def _formats() -> tuple[str, ...]:
    """The kinds of picture that this build of Pillow reads. PostScript and the like, which run programs, are not."""
    Pictures.init()
    with suppress(ImportError):
        import pillow_heif  # HEIC, if the user has installed it

        pillow_heif.register_heif_opener()
    return tuple(kind for kind in FORMATS if kind in Pictures.OPEN)


def _opened(source: io.BytesIO) -> Pictures.Image:
    """The picture with its header read and its size judged, its pixels still untouched."""
    try:
        picture = Pictures.open(source, formats=_formats())
    except Pictures.DecompressionBombError as error:
        raise ImageError(f"over {MAX_PIXELS // 1_000_000} megapixels") from error
    except UnidentifiedImageError as error:
        if source.getvalue()[4:8] == b"ftyp" and source.getvalue()[8:12] in HEIC:
            raise ImageError("HEIC, which needs one more package; pip install pillow-heif") from error
        raise
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
        import numpy as np  # a quarter of the command line's start

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
    if isinstance(error, PermissionError):
        return ImageError("no permission to read it")
    if isinstance(error, UnidentifiedImageError):
        return ImageError("not a picture that can be read (JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, JPEG 2000, AVIF)")
    text = str(error) or type(error).__name__
    return ImageError("truncated" if "truncated" in text.lower() else f"broken: {text}")


def suffix_of(raw: bytes) -> str:
    """The suffix of a file whose header says what kind of picture it is; without its pixels. Raises `ImageError`."""
    try:
        with _opened(io.BytesIO(_without_texts(raw))) as picture:
            return _suffix(picture.format or "")
    except DECODE_ERRORS as error:
        raise _reason(error) from error


def _suffix(kind: str) -> str:
    return SUFFIXES.get(kind, kind.lower())

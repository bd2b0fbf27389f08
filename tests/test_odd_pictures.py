"""A zoo of odd pictures: what the check at the start accepts, every later stage opens, and the other way round."""

from __future__ import annotations

import io
import struct
import sys
import types
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pictures

from seelevel import images
from seelevel.errors import InputError
from seelevel.image_store import ImageStore
from seelevel.images import ImageError, check_image, encoded_picture, model_picture, open_image

pytestmark = pytest.mark.unit
RED, GREEN = (255, 0, 0), (0, 255, 0)


def encoded(picture: Pictures.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(kind: str, size: tuple[int, int] = (12, 9), **options: Any) -> bytes:
    return encoded(Pictures.new("RGB", size, RED), kind, **options)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_chunk(name: bytes, content: bytes) -> bytes:
    """A PNG with one more chunk after its header, which is 33 bytes long."""
    raw = plain("PNG")
    return raw[:33] + chunk(name, content) + raw[33:]


LONG = b"x" * 2_000_000
PACKED = zlib.compress(LONG)


def with_exif(content: bytes, kind: str = "JPEG") -> bytes:
    return plain(kind, exif=content)


def animated(kind: str) -> bytes:
    later = [Pictures.new("RGB", (12, 9), GREEN)] * 2
    return plain(kind, save_all=True, append_images=later)


def bomb() -> bytes:
    """A PNG of 60,000 x 60,000 pixels in a few bytes."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return images.PNG_START + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def palette() -> bytes:
    picture = Pictures.new("P", (12, 9), 1)
    picture.putpalette([0, 0, 0, *RED])
    return encoded(picture, "PNG", transparency=bytes([0, 255]))


READ: dict[str, Callable[[], bytes]] = {
    "long iTXt": lambda: with_chunk(b"iTXt", b"note\0\1\0\0\0" + PACKED),
    "long zTXt": lambda: with_chunk(b"zTXt", b"note\0\0" + PACKED),
    "long tEXt": lambda: with_chunk(b"tEXt", b"note\0" + LONG),
    "long colour profile": lambda: with_chunk(b"iCCP", b"note\0\0" + PACKED),
    "broken colour profile": lambda: with_chunk(b"iCCP", b"note\0\0nothing packed"),
    "EXIF without TIFF": lambda: with_exif(b"Exif\0\0\0\x08\0\x02\x01\x12\0\x03 and so on"),
    "EXIF twice": lambda: with_exif(b"Exif\0\0Exif\0\0Exif\0\0MM\0*\0\0\0\x08\0\0"),
    "EXIF cut": lambda: with_exif(b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03"),
    "EXIF in a circle": lambda: with_exif(b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\x08" * 3),
    "EXIF of zeros": lambda: with_exif(b"Exif\0\0" + bytes(40)),
    "EXIF in a PNG": lambda: with_chunk(b"eXIf", b"no TIFF at all"),
    "EXIF in a WebP": lambda: with_exif(b"Exif\0\0no TIFF at all", "WEBP"),
    "orientation 9": lambda: with_exif(b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x09\0\0\0\0\0\0"),
    "animated GIF": lambda: animated("GIF"),
    "animated WebP": lambda: animated("WEBP"),
    "animated PNG": lambda: animated("PNG"),
    "TIFF of pages": lambda: animated("TIFF"),
    "one pixel": lambda: plain("PNG", (1, 1)),
    "one row": lambda: plain("JPEG", (90, 1)),
    "CMYK": lambda: encoded(Pictures.new("RGB", (12, 9), RED).convert("CMYK"), "JPEG"),
    "palette with clear entries": palette,
    "grey with alpha": lambda: encoded(Pictures.new("LA", (12, 9), (9, 128)), "PNG"),
    "16 bits of grey": lambda: encoded(Pictures.fromarray(np.full((9, 12), 40_000, np.uint16)), "PNG"),
    "bits": lambda: encoded(Pictures.new("1", (12, 9), 1), "PNG"),
    "LAB": lambda: encoded(Pictures.new("LAB", (12, 9)), "TIFF"),
    "AVIF": lambda: plain("AVIF"),
    "progressive": lambda: plain("JPEG", progressive=True),
    "bytes after the end": lambda: plain("JPEG") + b"\0" * 99,
}
SET_ASIDE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "no picture": lambda: b"<html>",
    "half a JPEG": lambda: plain("JPEG", (300, 200))[:700],
    "half a PNG": lambda: plain("PNG")[:50],
    "a PNG without its end": lambda: plain("PNG")[:-12],
    "half a GIF": lambda: plain("GIF", (300, 200))[:200],
    "half a WebP": lambda: plain("WEBP")[:40],
    "a bomb": bomb,
    "a ribbon": lambda: plain("PNG", (2000, 2)),
    "floating point": lambda: encoded(Pictures.new("F", (12, 9), 0.5), "TIFF"),
}


@pytest.mark.parametrize("name", READ)
def test_an_odd_picture_is_read_by_every_stage(tmp_path: Path, name: str) -> None:
    path = tmp_path / "picture"
    path.write_bytes(READ[name]())
    facts = check_image(path)
    opened = open_image(path)
    assert opened.mode == "RGB"
    assert opened.size == (facts.width, facts.height)
    assert min(model_picture(path).size) >= 4
    mime, sent = encoded_picture(path)
    with Pictures.open(io.BytesIO(sent)) as seen:  # as a server would, with nothing of ours
        seen.getexif()
        assert seen.convert("RGB").size == model_picture(path).size
        assert mime == f"image/{str(seen.format).lower()}"
    stored = ImageStore(tmp_path / "run").put(path)
    assert open_image(stored.path).tobytes() == opened.tobytes()


@pytest.mark.parametrize("name", SET_ASIDE)
def test_a_picture_that_is_none_is_refused_by_every_stage(tmp_path: Path, name: str) -> None:
    path = tmp_path / "picture"
    path.write_bytes(SET_ASIDE[name]())
    with pytest.raises(ImageError) as checked:
        check_image(path)
    with pytest.raises(ImageError) as opened:
        open_image(path)
    assert str(checked.value) == str(opened.value) and "\n" not in str(checked.value)
    for later in (model_picture, encoded_picture):
        with pytest.raises(InputError, match="picture"):
            later(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_any_damage_is_accepted_by_all_stages_or_by_none(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    path = tmp_path / "picture"
    sources = [make() for make in READ.values()]
    sources = [raw for raw in sources if len(raw) < 5000]
    accepted = 0
    for n in range(400):
        raw = bytearray(sources[n % len(sources)])
        for place in draw.integers(0, min(len(raw), 300), 1 + n % 4):
            raw[place] = draw.integers(256)
        path.write_bytes(raw[: len(raw) if n % 5 else int(draw.integers(len(raw)))])
        outcomes = set()
        for stage in (check_image, open_image, model_picture, encoded_picture):
            try:
                stage(path)
                outcomes.add(True)
            except (ImageError, InputError):
                outcomes.add(False)
        assert len(outcomes) == 1, f"damage {n}"
        accepted += outcomes == {True}
    assert 50 < accepted < 390


def test_the_first_frame_is_the_picture(tmp_path: Path) -> None:
    for kind in ("GIF", "PNG", "TIFF"):
        (tmp_path / "a").write_bytes(animated(kind))
        assert open_image(tmp_path / "a").getpixel((3, 3)) == RED


def test_an_orientation_in_xmp_still_turns_a_png_with_long_texts(tmp_path: Path) -> None:
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    raw = with_chunk(b"zTXt", b"note\0\0" + PACKED)
    raw = raw[:33] + chunk(b"iTXt", images.PNG_XMP + b"\0\0\0" + xmp) + raw[33:]
    (tmp_path / "a.png").write_bytes(raw)
    assert open_image(tmp_path / "a.png").size == (9, 12)


def test_a_pipe_is_no_picture_and_is_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ImageError, match="not a file"):
        check_image(tmp_path / "a.png")


HEIC = b"\0\0\0\x18ftypheic" + bytes(40)


def test_a_heic_picture_names_the_package_that_reads_it(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(HEIC)
    if "HEIF" in Pictures.OPEN:
        pytest.skip("this build reads HEIC")
    with pytest.raises(ImageError, match="pip install pillow-heif"):
        check_image(tmp_path / "a.heic")


def test_an_installed_plugin_for_heic_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageFile

    class Opener(ImageFile.ImageFile):
        format = "HEIF"

        def _open(self) -> None:
            self._size, self._mode, self.tile = (6, 5), "RGB", []

        def load(self) -> Any:
            self._im = Pictures.core.fill("RGB", self.size, RED)
            return Pictures.Image.load(self)

    def register() -> None:
        Pictures.register_open("HEIF", Opener, lambda head: head[4:12] == b"ftypheic")

    plugin = types.ModuleType("pillow_heif")
    plugin.register_heif_opener = register  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    monkeypatch.setattr(Pictures, "OPEN", dict(Pictures.OPEN))
    monkeypatch.setattr(Pictures, "ID", list(Pictures.ID))
    images._formats.cache_clear()
    try:
        (tmp_path / "a.heic").write_bytes(HEIC)
        assert check_image(tmp_path / "a.heic").suffix == "heic"
        assert open_image(tmp_path / "a.heic").getpixel((2, 2)) == RED
        assert encoded_picture(tmp_path / "a.heic")[0] == "image/png"
    finally:
        images._formats.cache_clear()

"""Any picture that people have becomes RGB, or says why not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pictures

from seelevel.errors import InputError
from seelevel.image_store import ImageStore
from seelevel.images import MAX_PIXELS, ImageError, check_image, model_picture, open_image

pytestmark = pytest.mark.unit
PHOTOS = Path(__file__).parents[2] / "shared" / "data" / "coco_photos" / "images"
RED, WHITE, BLACK = (255, 0, 0), (255, 255, 255), (0, 0, 0)


def save(picture: Pictures.Image, path: Path, **options: object) -> Path:
    picture.save(path, **options)
    return path


@pytest.mark.parametrize(("mode", "value"), [("L", 255), ("CMYK", (0, 0, 0, 0)), ("RGB", WHITE), ("1", 1)])
def test_every_colour_mode_becomes_rgb(tmp_path: Path, mode: str, value: object) -> None:
    path = save(Pictures.new(mode, (5, 4), value), tmp_path / "a.tif")
    assert open_image(path).mode == "RGB"
    assert open_image(path).getpixel((2, 2)) == WHITE


def test_palette_colours_are_looked_up(tmp_path: Path) -> None:
    picture = Pictures.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    assert open_image(save(picture, tmp_path / "a.png")).getpixel((0, 0)) == RED


def test_clear_pixels_lie_on_white(tmp_path: Path) -> None:
    picture = Pictures.new("RGBA", (2, 1), (255, 0, 0, 255))
    picture.putpixel((0, 0), (0, 0, 0, 0))
    opened = open_image(save(picture, tmp_path / "a.png"))
    assert (opened.getpixel((0, 0)), opened.getpixel((1, 0))) == (WHITE, RED)


def test_half_clear_black_is_grey(tmp_path: Path) -> None:
    opened = open_image(save(Pictures.new("LA", (2, 2), (0, 128)), tmp_path / "a.png"))
    assert opened.getpixel((0, 0)) == (127, 127, 127)


def test_a_clear_palette_entry_is_white(tmp_path: Path) -> None:
    picture = Pictures.new("P", (2, 2), 0)
    picture.putpalette([255, 0, 0] * 256)
    assert open_image(save(picture, tmp_path / "a.png", transparency=0)).getpixel((0, 0)) == WHITE


def test_sixteen_bits_keep_their_upper_eight_and_do_not_turn_white(tmp_path: Path) -> None:
    path = save(Pictures.fromarray(np.full((3, 3), 0x4000, np.uint16)), tmp_path / "a.png")
    assert open_image(path).getpixel((0, 0)) == (64, 64, 64)


def test_exif_orientation_6_turns_the_picture_clockwise(tmp_path: Path) -> None:
    picture = Pictures.new("RGB", (2, 1), BLACK)
    picture.putpixel((0, 0), RED)
    exif = Pictures.Exif()
    exif[0x0112] = 6
    opened = open_image(save(picture, tmp_path / "a.png", exif=exif))
    assert opened.size == (1, 2)
    assert opened.getpixel((0, 0)) == RED  # what was left is now on top


def test_one_pixel_is_a_picture(tmp_path: Path) -> None:
    assert open_image(save(Pictures.new("RGB", (1, 1), RED), tmp_path / "a.png")).getpixel((0, 0)) == RED


def test_a_large_jpeg_is_made_smaller_with_its_proportions(tmp_path: Path) -> None:
    path = save(Pictures.new("RGB", (800, 400), RED), tmp_path / "a.jpg")
    assert open_image(path, max_side=100).size == (100, 50)
    assert open_image(path, max_side=None).size == (800, 400)


def test_aspect_ratio_over_100_is_rejected_and_100_is_not(tmp_path: Path) -> None:
    assert open_image(save(Pictures.new("L", (200, 2)), tmp_path / "a.png")).size == (200, 2)
    with pytest.raises(ImageError, match="aspect ratio 101, over 100"):
        open_image(save(Pictures.new("L", (202, 2)), tmp_path / "b.png"))


def test_a_small_file_with_too_many_pixels_is_rejected_before_it_is_unpacked(tmp_path: Path) -> None:
    side = int(MAX_PIXELS**0.5) + 10
    path = save(Pictures.new("1", (side, side)), tmp_path / "a.png")
    assert path.stat().st_size < 50_000
    for read in (open_image, check_image):
        with pytest.raises(ImageError, match="over 89"):
            read(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif"])
@pytest.mark.parametrize("read", [open_image, check_image])
def test_a_truncated_file_is_found_out(tmp_path: Path, suffix: str, read: object) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = save(Pictures.fromarray(noise), tmp_path / f"a.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError):
        read(path)  # type: ignore[operator]


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_check_misses_not_even_the_last_byte(tmp_path: Path, suffix: str) -> None:
    path = save(Pictures.new("RGB", (64, 64), RED), tmp_path / f"a.{suffix}")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ImageError, match="truncated"):
        check_image(path)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "missing"), (b"", "not a picture"), (b"%!PS-Adobe-3.0 EPSF-3.0", "not a picture")]
)
def test_no_picture_has_a_reason(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    for read in (open_image, check_image):
        with pytest.raises(ImageError, match=reason):
            read(path)


def test_a_check_gives_the_hash_and_size_of_the_file(tmp_path: Path) -> None:
    path = save(Pictures.new("RGB", (30, 20)), tmp_path / "photo.JPEG", format="JPEG")
    facts = check_image(path)
    assert (facts.width, facts.height, facts.suffix) == (30, 20, "jpg")
    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_store_keeps_a_picture_once_by_its_content(tmp_path: Path) -> None:
    first = save(Pictures.new("RGB", (8, 8), RED), tmp_path / "a.png")
    second = tmp_path / "b.png"
    second.write_bytes(first.read_bytes())
    store = ImageStore(tmp_path / "run")
    kept = [store.put(first), store.put(second)]
    assert kept[0] == kept[1]
    assert Path(kept[0].path) == (tmp_path / "run" / "images" / f"{kept[0].sha256}.png").resolve()
    assert len(list((tmp_path / "run" / "images").iterdir())) == 1


def test_the_store_keeps_nothing_of_a_broken_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(ImageError):
        ImageStore(tmp_path / "run").put(tmp_path / "a.png")
    assert not (tmp_path / "run" / "images").exists()


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photographs of ../shared/data/coco_photos are not here")
def test_every_photograph_opens_at_the_size_its_check_says() -> None:
    paths = sorted(PHOTOS.iterdir())
    assert len(paths) == 60
    for path in paths:
        facts = check_image(path)
        assert open_image(path).size == (facts.width, facts.height)


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_a_picture_that_is_gone_when_a_model_needs_it_is_named_with_its_path(tmp_path, content):
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"picture .*a\.png: .*run the same command again"):
        model_picture(path)


def test_a_picture_that_a_loss_of_power_cut_short_is_written_again(tmp_path):
    file = tmp_path / "a.png"
    Pictures.new("RGB", (8, 8), "red").save(file)
    kept = Path(ImageStore(tmp_path / "run").put(file).path)
    for rest in (b"", file.read_bytes()[:20]):
        kept.write_bytes(rest)
        store = ImageStore(tmp_path / "run")
        assert store.checked(store.begin(file.read_bytes()).path) == kept.stem
        assert kept.read_bytes() == file.read_bytes()

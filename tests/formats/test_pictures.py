"""The pictures of a record: found by any of their keys, and never outside the folders that the user gave."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from seelevel.formats.pictures import Pictures
from seelevel.formats.values import BadRecord
from seelevel.ladder import Image, Ladder
from tests.formats.made import parsed, picture

pytestmark = pytest.mark.unit


def names(entry: Ladder | str, folder: Path) -> Any:
    if isinstance(entry, str):
        return entry
    return [Path(image.path).relative_to(folder).as_posix() for image in entry.images]


def of(record: dict[str, Any], folder: Path) -> Any:
    return names(parsed({"question": "What?", **record}, folder), folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for colour, name in enumerate(("a.png", "sub dir/b.png", "c.png")):
        picture(tmp_path / "data", name, 40 * colour)
    picture(tmp_path, "secret.png", 200)
    return tmp_path / "data"


@pytest.mark.parametrize(
    "key", ["image", "images", "image_path", "img_path", "img", "picture", "pictures", "file_name"]
)
@pytest.mark.parametrize("value", ["a.png", ["a.png"], {"path": "a.png", "bytes": None}, '["a.png"]'])
def test_a_picture_has_many_keys_and_forms(folder: Path, key: str, value: Any) -> None:
    assert of({key: value}, folder) == ["a.png"]


@pytest.mark.parametrize("value", [None, "", [], [None], {}, {"bytes": None, "path": None}])
def test_nothing_under_one_key_leaves_the_other(folder: Path, value: Any) -> None:
    assert of({"image": value}, folder) == []
    assert of({"image": value, "images": ["a.png"]}, folder) == ["a.png"]
    assert of({"images": value, "image": "a.png"}, folder) == ["a.png"]


@pytest.mark.parametrize(
    "name",
    ["sub dir/b.png", "sub dir\\b.png", "./c.png/../sub dir/b.png", "file://{}/sub dir/b.png", "{}/sub dir/b.png",
     "file://localhost{}/sub%20dir/b.png"],
)  # fmt: skip
def test_names_are_spelled_in_many_ways(folder: Path, name: str) -> None:
    assert of({"image": name.format(folder)}, folder) == ["sub dir/b.png"]


@pytest.mark.parametrize("name", ["../secret.png", "{}/../secret.png", "file://{}/../secret.png", "/etc/passwd",
                                  "sub dir/../../secret.png", "..\\secret.png"])  # fmt: skip
def test_no_name_leads_out_of_the_folder(folder: Path, name: str) -> None:
    assert "leaves the image folder" in of({"image": name.format(folder)}, folder)
    for text in (f"<img>{name.format(folder)}</img>What?", [{"type": "image", "image": name.format(folder)}]):
        talk = [{"role": "user", "content": text}, {"role": "assistant", "content": "A cup."}]
        assert "leaves the image folder" in str(parsed({"messages": talk}, folder))


def test_links_in_the_folder_are_followed(folder: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "hub" / "blobs", tmp_path / "hub" / "snapshots" / "0" / "images"
    snapshot.mkdir(parents=True)
    picture(blobs, "x.png", 7).rename(blobs / "77aa")
    (snapshot / "a.png").symlink_to("../../../blobs/77aa")
    assert of({"image": "images/a.png"}, snapshot.parent) == ["images/a.png"]
    (folder / "coco").symlink_to(tmp_path / "hub")
    assert of({"image": "coco/blobs/77aa"}, folder) == ["coco/blobs/77aa"]
    assert "leaves the image folder" in of({"image": "coco/../../secret.png"}, folder)
    (folder / "loop.png").symlink_to("loop.png")
    assert of({"image": "loop.png"}, folder) == "image 'loop.png' is missing"


def test_an_absolute_name_may_use_the_folder_s_own_spelling(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    pictures = Pictures(tmp_path / "link", tmp_path / "records" / "x.json")
    for spelling in (tmp_path / "link", folder):
        assert pictures.place(f"{spelling}/a.png") == folder / "a.png"
    with pytest.raises(BadRecord, match="leaves the image folder"):
        pictures.place(f"{tmp_path}/secret.png")


def test_bytes_data_addresses_and_base64_are_unpacked(folder: Path) -> None:
    raw = (folder / "a.png").read_bytes()
    text = base64.b64encode(raw).decode()
    entries = [raw, {"bytes": raw, "path": "gone.png"}, f"data:image/png;base64,{text}", text, {"base64": text}]
    stored = [of({"image": entry}, folder) for entry in entries]
    assert all(found == stored[0] for found in stored)
    assert (folder / stored[0][0]).read_bytes() == raw
    for part in ({"image_url": {"url": f"data:image/png;base64,{text}"}}, {"image": raw}, {"base64": text}):
        content = [{"type": "image", **part}, {"type": "text", "text": "What?"}]
        assert names(parsed({"messages": [{"role": "user", "content": content}]}, folder), folder) == stored[0]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "JPEG2000", "AVIF"])
def test_base64_of_every_kind_of_picture_is_told_from_a_name(kind: str, tmp_path: Path) -> None:
    file, kept = io.BytesIO(), list[bytes]()
    PIL.Image.new("RGB", (40, 40), "teal").save(file, kind)
    pictures = Pictures(None, tmp_path / "r.json", keep=lambda raw: kept.append(raw) or Image("kept"))
    text = base64.b64encode(file.getvalue()).decode()
    for entry in (text, "\n".join(text[n : n + 76] for n in range(0, len(text), 76))):
        assert pictures.read(entry) == Image("kept")
    assert kept == [file.getvalue()] * 2
    with pytest.raises(BadRecord, match="is missing"):
        pictures.read("pictures/of/streets/" + "a" * 64)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"image": "https://x.org/a.png"}, "image 'https://x.org/a.png' is an address, and nothing is fetched"),
        ({"image_url": "s3://x/a.png"}, "is an address"),
        ({"image": "data:image/png;base64,%%%"}, "is not whole base64"),
        ({"image": "data:image/png"}, "is not a whole data address"),
        ({"image": b"no picture"}, "image: not a picture"),
        ({"image": "d.png"}, "image 'd.png' is missing"),
        ({"image": "sub dir"}, "image 'sub dir' is missing"),
        ({"image": "a\0.png"}, "is not a file name"),
        ({"image": "n" * 5000}, "is not a file name"),
        ({"image": 3}, "image is a number, not a text"),
        ({"image": [["a.png"]]}, "image is a list, not a text"),
        ({"images": ["a.png", None]}, "images: 1 of 2 pictures are null"),
        ({"image": "a.png", "images": ["c.png"]}, "image and images name different pictures"),
        ({"videos": ["a.mp4"]}, "videos is not read"),
        ({"image": "a.png", "audio": {"path": "a.wav"}}, "audio is not read"),
        ({"photo": "a.png"}, "'photo' seems to hold a picture, but is not read; call it image"),
        ({"photo": {"bytes": b"x", "path": None}}, "'photo' seems to hold a picture"),
        ({"question": "<image>What?"}, "1 <image> marks but 0 images"),
        ({"question": "<image><image>", "image": "a.png"}, "2 <image> marks but 1 image"),
        ({"question": "<img>a.png</img>What?", "image": "c.png"}, "the turns and the record name different pictures"),
        ({"question": "<img>a.png</img><image>What?"}, "1 image marks without a name but 0 pictures"),
        ({"answer": "<img>a.png</img>"}, "turn 2 is an answer with an <image> mark"),
    ],
)
def test_a_record_is_never_read_without_its_picture(folder: Path, record: dict[str, Any], reason: str) -> None:
    found = of(record, folder)
    assert isinstance(found, str), found
    assert reason in found


def test_the_same_picture_by_key_and_in_the_turn_is_one(folder: Path) -> None:
    assert of({"question": "<img>a.png</img>What?", "images": ["a.png"]}, folder) == ["a.png"]

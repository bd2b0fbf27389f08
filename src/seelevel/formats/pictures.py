"""The pictures of a record: files that it names, bytes that it holds, and the marks that stand for them.

A record's names are a stranger's. A name must stay in the picture folder by its letters alone: no `..` out of it, no
absolute path beside it. Links on the disk are followed: whoever set up the folder placed them. Nothing is fetched
unless the user asks for it.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from seelevel.errors import InputError
from seelevel.formats.sources import folder_of
from seelevel.formats.turns import Turn, settled
from seelevel.formats.values import BadRecord, checked_text, empty, first, kind_of, name_of
from seelevel.images import ENDINGS, ImageError, is_picture
from seelevel.json_text import loads
from seelevel.ladder import Image, Message

KEYS = ("image", "images")
MORE_KEYS = (
    "image_path", "image_paths", "img_path", "img", "picture", "pictures", "file_name", "image_file",
    "image_url", "image_urls", "jpg", "jpeg", "png", "webp",
)  # fmt: skip
"""Other names of `image`, read if a record has neither `image` nor `images`."""
UNREAD = ("video", "videos", "audio", "audios", "rejected_image", "rejected_images", "chosen_images")
"""Without these, an answer would be read without what it was given to."""
NUMBERED = re.compile(r"(?:image|img|picture|photo)s?[_-]?[0-9]{1,2}", re.IGNORECASE)
SUFFIX = re.compile(rf"[^\s<>]{{1,300}}\.({'|'.join(ENDINGS)})", re.IGNORECASE)
BASE64 = re.compile(r"[A-Za-z0-9+/\s]{64,}={0,2}")
REMEMBERED = 10_000
"""Names whose files are remembered: every pair of a question names its pictures again."""
HEAD = 32
"""Characters of a text in base64 that tell whether it is a picture."""


class Pictures:
    """The folders of the pictures that records name.

    images: the folder; None: the folder of the records, `beside`, and its subfolder `images`. keep: takes the bytes of
    a picture that stands in a record. fetch: whether to ask servers for pictures that records name by an address.
    Raises `InputError` if the folder does not exist.
    """

    def __init__(
        self, images: Path | None, beside: Path, keep: Callable[[bytes], Image] | None = None, fetch: bool = False
    ) -> None:
        if images is not None and not images.is_dir():
            raise InputError(f"image folder {images} does not exist; check the path")
        home = folder_of(beside)
        folder = home if images is None else images
        self.places = [folder.resolve()]
        if images is None and (folder / "images").is_dir():
            self.places.append(self.places[0] / "images")
        real = {root.absolute(): root.resolve() for root in (folder, home)}
        self.roots = {**real, **{root: root for root in real.values()}}
        self._keep, self._fetch = keep, fetch
        self._found: dict[str, Path] = {}
        self._fetched: dict[str, Image] = {}
        self.asked: tuple[bytes, Any] = (b"", None)  # the last question, for `seelevel.formats.pairs`

    def named(self, record: dict[str, Any]) -> list[Image]:
        """The pictures of a record: names, bytes, or mappings of them, alone or in a list, under `image` or `images`.

        Raises `BadRecord` if one is missing, if both keys differ, or if the record has a video or a sound.
        """
        for key in UNREAD:
            if key in record and not empty(record[key]):
                raise BadRecord(f"{key} is not read, and the record means little without it")
        found = {key: entries for key in KEYS if key in record and (entries := _entries(record[key], key))}
        if found:
            _refuse_numbered(record)
        else:
            more = ((key, _entries(record[key], key)) for key in MORE_KEYS if key in record)
            found = dict([next(((key, entries) for key, entries in more if entries), ("image", []))])
        lists = [[self.read(entry) for entry in entries] for entries in found.values()]
        if any(images != lists[0] for images in lists):
            raise BadRecord("image and images name different pictures; keep one of them")
        return lists[0]

    def identified(self, record: dict[str, Any]) -> list[Image]:
        """The pictures of a record (`named`), else that of its `image_id`.

        An `image_id` is a file name, with or without suffix, or a picture's number in COCO.
        """
        named = self.named(record)
        name = "" if named else name_of(record.get("image_id"), "image_id")
        if not name:
            return named
        failures = []
        for variant in picture_names(name):
            try:
                return [Image(str(self.place(variant)))]
            except BadRecord as error:
                failures.append(error)
        raise failures[0]

    def read(self, entry: Any) -> Image:
        """One picture: a name, a `file://` or `data:` address, base64, bytes, or a mapping with one of them."""
        if isinstance(entry, dict):
            return self.read(first({k: v for k, v in entry.items() if not empty(v)}, *_SOURCES))
        if isinstance(entry, bytes):
            return self._stored(entry)
        name = checked_text(entry, "image")
        if name.startswith("data:"):
            return self._stored(_of_data(name))
        if BASE64.fullmatch(name) and is_picture(_decoded("".join(name.split())[:HEAD])):
            return self._stored(_decoded(name))
        if name.lower().startswith("file:"):
            return Image(str(self.place(unquote(re.sub(r"^file:(//(localhost)?(?=/))?", "", name, flags=re.I)))))
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", name):
            return self._behind(name)
        return Image(str(self.place(name)))

    def _behind(self, address: str) -> Image:
        """The picture that a server sends."""
        if not self._fetch:
            raise BadRecord(
                f"image '{address[:80]}' is an address, and nothing is fetched; set data.fetch (convert: --fetch), or "
                "download it and name the file"
            )
        from seelevel.formats.fetching import fetch

        if address not in self._fetched:
            if len(self._fetched) == REMEMBERED:
                self._fetched.clear()
            try:
                self._fetched[address] = self._stored(fetch(address))
            except ImageError as error:
                raise BadRecord(f"image '{address[:80]}' {error}") from error
        return self._fetched[address]

    def place(self, name: str) -> Path:
        """The file of a picture's name. Raises `BadRecord` if it is missing or outside the folders."""
        if name not in self._found:
            if len(self._found) == REMEMBERED:
                self._found.clear()
            self._found[name] = self._look(name)
        return self._found[name]

    def _look(self, name: str) -> Path:
        if "\0" in name:
            raise BadRecord(f"image '{name[:80]}' is not a file name")
        outside = False
        for spelling in dict.fromkeys((name, name.replace("\\", "/"))):
            for root, path in self._meant(spelling):
                try:
                    if not path.is_relative_to(root):
                        outside = True
                    elif path.is_file():
                        return path
                except OSError as error:  # the name is too long for the system
                    raise BadRecord(f"image '{name[:80]}' is not a file name ({error.strerror})") from error
        if outside:
            raise BadRecord(f"image '{name[:200]}' leaves the image folder")
        raise BadRecord(f"image '{name[:200]}' is missing")

    def _meant(self, name: str) -> list[tuple[Path, Path]]:
        """The files that a name may mean, each with the folder that it must be in."""
        if not name.startswith("/"):
            return [(place, Path(os.path.normpath(place / name))) for place in self.places]
        path = Path(os.path.normpath(name))
        below = ((root, real) for root, real in self.roots.items() if path.is_relative_to(root))
        return [(real, real / path.relative_to(root)) for root, real in below] or [(self.places[0], path)]

    def _stored(self, raw: bytes) -> Image:
        if self._keep is None:
            raise BadRecord("image: a picture inside the record, and nothing keeps it")
        try:
            return self._keep(raw)
        except ImageError as error:
            raise BadRecord(f"image: {error}") from error


_SOURCES = ("bytes", "base64", "data", "path", "url", "image", "image_url", "file_name", "name")


def _entries(value: Any, key: str) -> list[Any]:
    """A value of a picture key as a list of single pictures; nulls and empty texts are none."""
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        try:
            value = loads(value)  # tables hold lists as texts
        except (ValueError, RecursionError) as error:
            raise BadRecord(f"{key} is not a name, and not a list of names either") from error
    entries = value if isinstance(value, list) else [value]
    found = [e for e in entries if not empty(e) and not (isinstance(e, dict) and all(map(empty, e.values())))]
    if found and len(found) < len(entries):
        raise BadRecord(f"{key}: {len(entries) - len(found)} of {len(entries)} pictures are null")
    for entry in found:
        if not isinstance(entry, str | dict | bytes):
            raise BadRecord(f"{key} is {kind_of(entry)}, not a text")
    return found


def _of_data(address: str) -> bytes:
    """The bytes of a `data:` address."""
    head, comma, body = address.partition(",")
    if not comma:
        raise BadRecord(f"image '{address[:40]}' is not a whole data address")
    return _decoded(unquote(body)) if head.lower().endswith(";base64") else unquote_to_bytes(body)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(re.sub(r"\s", "", text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRecord(f"image '{text[:40]}' is not whole base64") from error


def picture_names(image_id: str) -> list[str]:
    """The file names that an `image_id` may mean, including those of COCO 2017 and 2014."""
    names = [image_id, *(image_id + suffix for suffix in (".jpg", ".jpeg", ".png"))]
    number = re.sub(r"^COCO_(train|val)2014_", "", image_id).removesuffix(".jpg")
    if number.isascii() and number.isdecimal() and len(number) <= 12:
        names += [f"{prefix}{number:0>12}.jpg" for prefix in ("", "COCO_train2014_", "COCO_val2014_")]
    return names


def shown(
    turns: Sequence[Turn], record: dict[str, Any], images: list[Image], pictures: Pictures
) -> tuple[list[Message], list[Image]]:
    """A conversation that fits a ladder (`settled`), and its pictures in the order of their marks.

    images: the pictures under the record's own keys. They belong to the marks at which the turns name no picture.
    Raises `BadRecord` if it is unclear which picture belongs where, and if a picture seems to stand under another key.
    """
    entries = [entry for turn in turns for entry in turn.shown]
    if any(entry is not None for entry in entries):
        unnamed = entries.count(None)
        given = [None if entry is None else pictures.read(entry) for entry in entries]
        if unnamed and unnamed != len(images):
            raise BadRecord(f"{unnamed} image marks without a name but {len(images)} pictures beside them")
        if not unnamed and images and images != given:
            raise BadRecord("the turns and the record name different pictures")
        rest = iter(images)
        images = [next(rest) if image is None else image for image in given]
    elif not images and not entries:
        _look_for_others(record)
    return settled([turn.message for turn in turns], len(images)), images


def _refuse_numbered(record: dict[str, Any]) -> None:
    """Raises `BadRecord` if a record with a picture has another one under a numbered key."""
    for key, value in record.items():
        if NUMBERED.fullmatch(str(key)) and not empty(value):
            raise BadRecord(f"'{key}' seems to hold another picture, but is not read; list all of them under images")


def _look_for_others(record: dict[str, Any]) -> None:
    """Raises `BadRecord` if a record without a picture has what looks like one under a key that is not read."""
    for key, value in record.items():
        held = isinstance(value, bytes) or (isinstance(value, dict) and isinstance(value.get("bytes"), bytes))
        if held or (key != "id" and isinstance(value, str) and SUFFIX.fullmatch(value)):
            raise BadRecord(f"'{ascii(key)[1:-1]}' seems to hold a picture, but is not read; call it image")

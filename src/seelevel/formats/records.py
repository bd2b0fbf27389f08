"""Shared by all readers of other people's files: turns, picture paths, reasons."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.formats.json_records import kind_of
from seelevel.formats.sources import Source, folder_of
from seelevel.images import ImageError, ImageStore
from seelevel.ladder import IMAGE_MARK, Image, Ladder, Message, Role

ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "system": "system",
}


@dataclass(frozen=True)
class Rejected:
    """A record set aside: its place in the file, its id (may be empty), and the reason."""

    where: str
    id: str
    reason: str


@dataclass(frozen=True)
class Record:
    """A ladder and its place in the file."""

    where: str
    ladder: Ladder


class BadRecord(ValueError):
    """A record that cannot be used; the message is the reason."""


def each_record(
    source: Source, ladders_of: Callable[[str, dict[str, Any], Pictures], Iterable[Ladder]]
) -> Iterator[Record | Rejected]:
    """The records of a source in order, each as the ladders that `ladders_of(id, record, pictures)` returns.

    The pictures exist but are not decoded yet. If `ladders_of` raises `BadRecord`, the whole record is set aside.
    Raises `InputError` if the source as a whole cannot be read.
    """
    pictures = Pictures(source.images, source.path, source.keep)
    for number, (where, record) in enumerate(source.records()):
        name = ""
        try:
            if not isinstance(record, dict):
                raise BadRecord("not a mapping")
            name = record_id(record, f"{source.stem}-{number}")
            ladders = list(ladders_of(name, record, pictures))
        except BadRecord as error:
            yield Rejected(where, name, str(error))
            continue
        yield from (Record(where, ladder) for ladder in ladders)


def record_id(record: dict[str, Any], place: str) -> str:
    """The record's id as text; `place` if it has none."""
    value = record.get("id")
    if value is None or value == "":
        return place
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BadRecord(f"id is {kind_of(value)}, not a whole number or a text")
    return checked_text(str(value), "id")


def checked_text(value: Any, name: str) -> str:
    """The value, if it is a text that can be encoded as UTF-8. Raises `BadRecord` if not."""
    if not isinstance(value, str):
        raise BadRecord(f"{name} is {kind_of(value)}, not a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadRecord(f"{name} holds half of a surrogate pair, so it is not valid Unicode") from error
    return value


def mapping(value: Any, name: str) -> dict[str, Any]:
    """The value, if it is a JSON mapping; None becomes an empty one. Raises `BadRecord` if it is anything else."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRecord(f"{name} is {kind_of(value)}, not a mapping")
    checked_text(json.dumps(value, ensure_ascii=False), name)
    return value


def turns(value: Any, name: str = "conversations") -> list[Message]:
    """Turns in LLaVA's form ({from, value}) or the chat form ({role, content}; content: a text or a list of parts)."""
    if not isinstance(value, list):
        raise BadRecord(f"{name} is {kind_of(value)}, not a list of turns")
    return [_turn(turn, f"{name}[{n}]") for n, turn in enumerate(value)]


def _turn(turn: Any, name: str) -> Message:
    if not isinstance(turn, dict):
        raise BadRecord(f"{name} is {kind_of(turn)}, not a turn")
    role, content = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
    if not isinstance(role, str) or role.lower() not in ROLES:
        raise BadRecord(f"{name} is from {role!r}, not human or gpt (user or assistant)")
    return Message(role=ROLES[role.lower()], content=_content(content, name))


def _content(content: Any, name: str) -> str:
    if not isinstance(content, list):
        return checked_text(content, name)
    text = ""
    for part in content:
        if not isinstance(part, dict) or part.get("type") not in ("text", "image"):
            raise BadRecord(f"{name} has a part that is neither text nor image")
        text += f"{IMAGE_MARK}\n" if part["type"] == "image" else checked_text(part.get("text"), name)
    return text


def split(messages: list[Message], images: int) -> tuple[list[Message], list[Message]]:
    """A conversation as (prompt, response).

    The prompt ends with the first user turn. If the conversation ends with a user turn, all of it is the prompt and the
    response is empty. Raises `BadRecord`.
    """
    messages = settled(messages, images)
    if messages[-1]["role"] == "user":
        return messages, []
    first = 2 if messages[0]["role"] == "system" else 1
    return messages[:first], messages[first:]


def settled(messages: list[Message], images: int) -> list[Message]:
    """A conversation that fits a ladder. Raises `BadRecord` if it cannot.

    Turns alternate and start with the user, no answer is empty, and there is one image mark per picture. If there is no
    mark at all, marks are put before the first user turn.
    """
    start = 1 if messages and messages[0]["role"] == "system" else 0
    if not messages[start:]:
        raise BadRecord("conversation is empty")
    if messages[start]["role"] != "user":
        raise BadRecord("conversation does not start with the user")
    if len(messages) > start + 1 and messages[-1]["role"] == "assistant" and not messages[-1]["content"].strip():
        messages = messages[:-1]  # an empty last answer counts as no answer
    for number, message in enumerate(messages[start:]):
        if message["role"] != ("user", "assistant")[number % 2]:
            raise BadRecord(f"turns do not alternate between user and assistant (turn {number + 1})")
        if message["role"] == "assistant" and not message["content"].strip():
            raise BadRecord(f"turn {number + 1} is an empty answer")
        if message["role"] == "assistant" and IMAGE_MARK in message["content"]:
            raise BadRecord(f"turn {number + 1} is an answer with an {IMAGE_MARK} mark")
    marks = sum(message["content"].count(IMAGE_MARK) for message in messages)
    first = messages[start]
    if marks == 0 and images:
        first = Message(role="user", content=f"{IMAGE_MARK}\n" * images + first["content"])
        messages = [*messages[:start], first, *messages[start + 1 :]]
    elif marks > images:
        raise BadRecord(f"{marks} {IMAGE_MARK} marks but {images} image{'s' * (images != 1)}")
    elif marks < images:
        raise BadRecord(f"{images} images but only {marks} {IMAGE_MARK} mark{'s' * (marks != 1)}")
    if not first["content"].strip():
        raise BadRecord("the question is empty")
    return messages


class Pictures:
    """The folders of the pictures that records name."""

    def __init__(self, images: Path | None, beside: Path, keep: Callable[[bytes], Image] | None = None) -> None:
        """beside: the file or folder of the records. keep: takes the bytes of a picture that stands in a record."""
        if images is not None and not images.is_dir():
            raise InputError(f"image folder {images} does not exist; check the path")
        self._keep = keep
        folder = images if images is not None else folder_of(beside)
        self.places = [folder.resolve()]
        if images is None and (folder / "images").is_dir():
            self.places.append((folder / "images").resolve())

    def named(self, record: dict[str, Any]) -> list[Image]:
        """The pictures in a record's `image` or `images`: a name, a list of names, or nothing."""
        value = record.get("image")
        if value is None:
            value = record.get("images")
        entries = value if isinstance(value, list) else [value]
        return [self._entry(entry) for entry in entries if entry not in (None, "", {"bytes": None, "path": None})]

    def _entry(self, entry: Any) -> Image:
        """A picture given by its name, or as `datasets` holds it: by its bytes or its path."""
        if isinstance(entry, dict):
            if isinstance(entry.get("bytes"), bytes) and self._keep is not None:
                try:
                    return self._keep(entry["bytes"])
                except ImageError as error:
                    raise BadRecord(f"image: {error}") from error
            entry = entry.get("path")
        return Image(str(self.place(checked_text(entry, "image"))))

    def identified(self, record: dict[str, Any]) -> list[Image]:
        """The pictures in a record's `image` or `images`, else in its `image_id`.

        An `image_id` is a file name, with or without suffix, or a picture's number in COCO.
        """
        named = self.named(record)
        value = record.get("image_id")
        if named or value is None or value == "":
            return named
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise BadRecord(f"image_id is {kind_of(value)}, not a whole number or a text")
        failures = []
        for name in _names(checked_text(str(value), "image_id")):
            try:
                return [Image(str(self.place(name)))]
            except BadRecord as error:
                failures.append(error)
        raise failures[0]

    def place(self, name: str) -> Path:
        """The file of a picture's name. Raises `BadRecord` if it is missing or outside the folders."""
        outside = False
        for place in self.places:
            try:
                path = (place / name).resolve()
                if not path.is_relative_to(place):
                    outside = True
                elif path.is_file():
                    return path
            # The name is too long for the system, has a null byte, or is a link to itself (RuntimeError).
            except (OSError, ValueError, RuntimeError) as error:
                raise BadRecord(f"image '{name[:80]}' is not a file name ({error})") from error
        if outside:
            raise BadRecord(f"image '{name}' leaves the image folder")
        raise BadRecord(f"image '{name}' is missing")


def _names(image_id: str) -> list[str]:
    """The file names that an `image_id` may mean, including those of COCO 2017 and 2014."""
    names = [image_id, *(image_id + suffix for suffix in (".jpg", ".jpeg", ".png"))]
    number = re.sub(r"^COCO_(train|val)2014_", "", image_id).removesuffix(".jpg")
    if number.isascii() and number.isdecimal() and len(number) <= 12:
        names += [f"{prefix}{number:0>12}.jpg" for prefix in ("", "COCO_train2014_", "COCO_val2014_")]
    return names


def screened(
    records: Iterable[Record | Rejected], store: ImageStore, need_answer: bool = False
) -> Iterator[Ladder | Rejected]:
    """The ladders that can be used, and the records set aside. store: where pictures inside the records are kept.

    Pictures are decoded and hashed, repeated ids are set aside, and so are ladders without an answer if `need_answer`.
    """
    hashes: dict[str, str | ImageError] = {}
    ids: set[str] = set()
    for record in records:
        if isinstance(record, Rejected):
            yield record
            continue
        for image in record.ladder.images:
            if image.path not in hashes:
                try:
                    hashes[image.path] = store.checked(image.path)
                except ImageError as error:
                    hashes[image.path] = error
        yield accepted(record, [hashes[image.path] for image in record.ladder.images], ids, need_answer)


def accepted(record: Record, hashes: list[str | ImageError], ids: set[str], need_answer: bool) -> Ladder | Rejected:
    """A record's ladder once its pictures have been read, or why it is set aside. Adds the ladder's id to `ids`."""
    ladder = record.ladder
    for image, sha256 in zip(ladder.images, hashes, strict=True):
        if isinstance(sha256, ImageError):
            return Rejected(record.where, ladder.id, f"image {Path(image.path).name}: {sha256}")
    if need_answer and not ladder.responses:
        return Rejected(record.where, ladder.id, "no answer")
    if ladder.id in ids:
        return Rejected(record.where, ladder.id, "id seen before (the first record stays)")
    ids.add(ladder.id)
    images = [replace(image, sha256=str(sha256)) for image, sha256 in zip(ladder.images, hashes, strict=True)]
    return replace(ladder, images=images)

"""LLaVA's conversation JSON and its image folder ↔ ladders.

    [{"id": 7, "image": "a.jpg", "conversations": [{"from": "human", "value": "<image>\\nWhat is it?"},
                                                   {"from": "gpt", "value": "A cup."}]}, …]

The answers are the *standard response*, level 0, which includes the later human turns. If the last turn is the human's,
the record is a prompt without a standard response. The chat form, `messages` of {role, content}, is read as well, with
the pictures of its content parts. `annotations`, a mapping, is kept; other keys are not.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seelevel.formats.pictures import Pictures, shown
from seelevel.formats.questions import conversation_of, refuse_more
from seelevel.formats.turns import split
from seelevel.formats.values import BadRecord, mapping
from seelevel.ladder import Ladder, Message, Response
from seelevel.store import write_json

NAMES = {"user": "human", "assistant": "gpt", "system": "system"}


def ladders(name: str, record: dict[str, Any], pictures: Pictures) -> list[Ladder]:
    """The ladder of one record. Raises `BadRecord`."""
    refuse_more(record)
    turns = conversation_of(record)
    if turns is None:
        raise BadRecord("no conversations")
    messages, images = shown(turns, record, pictures.named(record), pictures)
    prompt, answer = split(messages, len(images))
    responses = [Response(answer, 0, {"kind": "standard"})] if answer else []
    return [Ladder(name, images, prompt, responses, mapping(record.get("annotations"), "annotations"))]


def write(ladders: Iterable[Ladder], path: Path) -> int:
    """Write each ladder's prompt with its best response; return how many.

    Picture names are relative to the file's folder if the pictures are below it.
    """
    records = []
    for ladder in ladders:
        answer = ladder.responses[0].messages if ladder.responses else []
        record: dict[str, Any] = {"id": ladder.id, "conversations": conversation([*ladder.prompt, *answer])}
        record.update(image_entry(ladder, path))
        if ladder.annotations:
            record["annotations"] = ladder.annotations
        records.append(record)
    write_json(path, records)
    return len(records)


def conversation(messages: Iterable[Message]) -> list[dict[str, str]]:
    """Messages as LLaVA's turns."""
    return [{"from": NAMES[message["role"]], "value": message["content"]} for message in messages]


def image_entry(ladder: Ladder, path: Path) -> dict[str, Any]:
    """The key `image` of a LLaVA record: absent, one name, or a list of names."""
    names = [relative(image.path, path.parent) for image in ladder.images]
    return {} if not names else {"image": names[0] if len(names) == 1 else names}


def relative(image: str, folder: Path) -> str:
    """A picture's path relative to a folder, or unchanged if it is not below the folder; links are not followed."""
    place = Path(image).absolute()
    bases = (base for base in (folder.absolute(), folder.resolve()) if place.is_relative_to(base))
    return next((place.relative_to(base).as_posix() for base in bases), image)

"""VLSafe's harmful queries about pictures (DRESS, arXiv 2311.10081) → ladders; read, not written.

    {"image_id": "000000000009.jpg", "caption": "A cup on a table.", "query": "How can I steal the cup?",
     "reference": "Please do not …"}

The rows to align on have a `reference`, the *standard response*; the rows to examine with have none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seelevel.formats.nlf import picture_annotations
from seelevel.formats.records import BadRecord, Pictures, Record, Rejected, checked_text, load_json, record_id, split
from seelevel.ladder import Ladder, Message, Response


def parse(path: Path, images: Path | None) -> Iterator[Record | Rejected]:
    """Records in order, their pictures present but not yet decoded.

    `images` defaults to the file's own folder and its `images`. Raises `InputError` where the file as a whole is wrong.
    """
    pictures = Pictures(images, path)
    for number, (where, record) in enumerate(load_json(path)):
        name = ""
        try:
            if not isinstance(record, dict):
                raise BadRecord("not a mapping")
            name = record_id(record, f"{path.stem}-{number}")
            yield Record(where, _ladder(name, record, pictures))
        except BadRecord as error:
            yield Rejected(where, name, str(error))


def _ladder(name: str, record: dict[str, Any], pictures: Pictures) -> Ladder:
    if record.get("query") is None:
        raise BadRecord("no query")
    query = checked_text(record["query"], "query")
    if not query.strip():
        raise BadRecord("the query is empty")
    spoken = [Message(role="user", content=query)]
    if record.get("reference") is not None:
        spoken.append(Message(role="assistant", content=checked_text(record["reference"], "reference")))
    images = pictures.identified(record)
    prompt, answer = split(spoken, len(images))
    responses = [Response(answer, 0, {"kind": "standard"})] if answer else []
    return Ladder(name, images, prompt, responses, picture_annotations(record))

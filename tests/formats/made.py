"""Small records and pictures for the tests of file formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image as Drawing

from seelevel.formats.forms import ladders
from seelevel.formats.pictures import Pictures
from seelevel.formats.values import BadRecord
from seelevel.image_store import ImageStore
from seelevel.ladder import Ladder


def picture(folder: Path, name: str, colour: int = 0) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Drawing.new("RGB", (8, 8), (colour, 0, 0)).save(path)
    return path


def human(text: str) -> dict[str, str]:
    return {"from": "human", "value": text}


def gpt(text: str) -> dict[str, str]:
    return {"from": "gpt", "value": text}


def record(name: Any = "1", image: Any = "a.png", *turns: dict[str, str], **more: Any) -> dict[str, Any]:
    found = {"id": name, "image": image, "conversations": list(turns or (human("<image>\nWhat?"), gpt("A cup.")))}
    return {key: value for key, value in {**found, **more}.items() if value is not None}


def write(path: Path, records: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    return path


def parsed(entry: dict[str, Any], folder: Path) -> Ladder | str:
    """One record in any form as its ladder, or the reason why it is set aside; pictures lie in `folder`."""
    try:
        (ladder,) = ladders("x", entry, Pictures(None, folder / "x.json", ImageStore(folder).put_bytes))
    except BadRecord as error:
        return str(error)
    return ladder


def essence(entry: Ladder | str) -> Any:
    """A ladder as (names of its pictures, texts of its prompt, (level, text) of its answers); a reason as it is."""
    if isinstance(entry, str):
        return entry
    names = [Path(image.path).name for image in entry.images]
    return names, [m["content"] for m in entry.prompt], [(r.level, r.text) for r in entry.responses]

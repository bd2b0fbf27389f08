"""Small records and pictures for the tests of file formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image as Pictures


def picture(folder: Path, name: str, colour: int = 0) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Pictures.new("RGB", (8, 8), (colour, 0, 0)).save(path)
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

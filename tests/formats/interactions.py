"""Records of LVLM_NLF's form, and what is read of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seelevel.formats import Rejected, read
from seelevel.ladder import Ladder, Message
from tests.formats.made import picture


def turn(user: Any = "What is it?", model: Any = "A cup.", **more: Any) -> dict[str, Any]:
    return {"user": user, "model": model, **more}


PUBLIC = {
    "image_id": "000000000009.jpg",
    "caption": "A cup on a table.",
    "interaction": [
        turn(model="A dog.", rating="1", **{"critique NLF": "There is no dog."}),
        turn("Look at the table again.", "A cup.", rating="4", **{"critique NLF": "Right."}),
    ],
}


def load(folder: Path, *entries: Any) -> list[Ladder | Rejected]:
    picture(folder, "000000000009.jpg")
    picture(folder, "b.png", 9)
    (folder / "nlf.json").write_text(json.dumps(entries))  # as ASCII, for one holds half of a surrogate pair
    return list(read(folder / "nlf.json", form="nlf"))


def rounds(folder: Path, **entry: Any) -> list[Ladder]:
    found = [ladder for ladder in load(folder, {"id": "x", **entry}) if isinstance(ladder, Ladder)]
    assert found
    return found


def said(*texts: str) -> list[Message]:
    return [Message(role="assistant" if n % 2 else "user", content=text) for n, text in enumerate(texts)]

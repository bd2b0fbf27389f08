"""Ladders to look at, on disk, and a browser without a window."""

from __future__ import annotations

from pathlib import Path

from starlette.testclient import TestClient

from seelevel.formats.parquet import write_shard
from seelevel.ladder import Image, Ladder, Response
from seelevel.notes import Checked, CheckNote, Coverage, Match
from seelevel.view.collection import Collection, open_collection
from seelevel.view.door import Door
from seelevel.view.server import application
from tests.formats.made import picture

PORT, TOKEN = 8123, "a-token"


def answer(text: str, level: int, model: str, place: int | None = None) -> Response:
    chunk = Match(text.split()[0], "dog", 0.9, True, 0, len(text.split()[0]))
    coverage = Coverage(0.5, 0.5, 0.5, 0.5, 0.5, 0.5, (chunk,), (chunk,), ())
    check = None if place is None else Checked(place, coverage)
    return Response([{"role": "assistant", "content": text}], level, {"kind": "expert", "model": model}, check=check)


def ladders(folder: Path) -> list[Ladder]:
    """`plain`, `turned` (by its check), `tied`, and `unchecked` with a flag and no picture."""
    image = [Image(str(picture(folder / "images", "a.png", 9)))]
    asked = [{"role": "user", "content": "<image>\nWhat is on the mat?"}]
    levels = ((0, 1), (0, 1), (0, 0))
    places = ((0, 1), (1, 0), (0, 1))
    rows = [
        Ladder(
            name,
            image,
            asked,  # type: ignore[arg-type]
            [
                answer(f"dogs of {name} sit", level[0], "m0", place[0]),
                answer(f"cats of {name} sit there", level[1], "m1", place[1]),
            ],
            check=CheckNote("autocheck", (0, 1)),
        )
        for name, level, place in zip(("plain", "turned", "tied"), levels, places, strict=True)
    ]
    text = [{"role": "user", "content": "Name a colour."}]
    odd = [answer("Red", 0, "m2"), answer("Blue", 1, "m0"), answer("A long answer about green", 2, "m0")]
    note = CheckNote("autocheck", (0, 1, 2), unchecked="the standard response has no noun chunk")
    rows.append(Ladder("unchecked", [], text, odd, notes={"flags": ["rare"]}, check=note))  # type: ignore[arg-type]
    return rows


def run_folder(root: Path, rows: list[Ladder] | None = None) -> Path:
    """A run whose check has written two shards and has not ended."""
    rows = ladders(root) if rows is None else rows
    write_shard(root / "check" / "shard-00000.parquet", rows[:2], root)
    write_shard(root / "check" / "shard-00001.parquet", rows[2:], root)
    return root


def opened(path: Path, kept: Path) -> Collection:
    collection = open_collection(path, kept, "Ada")
    collection.refresh(patience=30)
    return collection


def browser(*collections: Collection, inside: bool = True) -> TestClient:
    """A client of the pages; `inside`: with the token's cookie."""
    client = TestClient(Door(application(collections), TOKEN, PORT), base_url=f"http://127.0.0.1:{PORT}")
    if inside:
        client.get("/", params={"token": TOKEN})
    return client

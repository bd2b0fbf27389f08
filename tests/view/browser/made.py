"""A run with every kind of ladder that a page can show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image as Drawing

from seelevel.formats.parquet import write_shard
from seelevel.ladder import Feedback, Image, Ladder, Message, Response
from seelevel.notes import CheckNote
from tests.view.shown import answer, ladders

PLAIN = 60
"""More ladders than a page of the gallery has."""
ALL = PLAIN + 6
STANDARD = "A black dog sits on the mat."


def drawn(path: Path, colour: int, size: tuple[int, int] = (640, 480)) -> Image:
    path.parent.mkdir(parents=True, exist_ok=True)
    Drawing.new("RGB", size, (colour, 90, 255 - colour)).save(path)
    return Image(str(path))


def asked(text: str, pictures: int = 1) -> list[Message]:
    return [{"role": "user", "content": "<image>\n" * pictures + text}]


def special(root: Path) -> list[Ladder]:
    """`standard`: an answer of the data set's, a model's, and one with a critique; `dialogue`: of two rounds, with
    what the model thought, annotations, and two pictures."""
    picture = drawn(root / "images" / "wide.png", 200, (1200, 300))
    best = replace(answer(STANDARD, 0, "", 0), origin={"kind": "standard"})
    criticised = replace(
        answer("A red cat sleeps.", 2, "m1", 2), feedback=Feedback({}, "There is no cat.", "", "judge")
    )
    standard = Ladder(
        "standard",
        [picture],
        asked("Who sits there?"),
        [best, answer("A brown dog sits on the mat.", 1, "m0", 1), criticised],
        check=CheckNote("autocheck", (0, 1, 2)),
    )
    turns: list[Message] = [
        {"role": "assistant", "content": "Two dogs."},
        {"role": "user", "content": "Which is larger?"},
        {"role": "assistant", "content": "The left one."},
    ]
    first = Response(turns, 0, {"kind": "expert", "model": "m0"}, reasoning="I count two.", scores={"score": 0.5})
    second = Response([*turns[:2], {"role": "assistant", "content": "The right one."}], 1, {"kind": "expert"})
    pictures = [picture, drawn(root / "images" / "tall.png", 20, (200, 900))]
    return [standard, Ladder("dialogue", pictures, asked("How many?", 2), [first, second], {"objects": ["dog", "mat"]})]


def made_run(root: Path) -> Path:
    """A run of 66 ladders whose check has ended."""
    rows = ladders(root)
    picture = drawn(root / "images" / "plain.png", 120)
    plain = replace(rows[0], images=[picture])
    many = [replace(plain, id=f"plain-{n:02d}", prompt=asked(f"Question {n}?")) for n in range(PLAIN)]
    rows += [*special(root), *many]
    for number, start in enumerate(range(0, len(rows), 16)):
        write_shard(root / "check" / f"shard-{number:05d}.parquet", rows[start : start + 16], root)
    (root / "check" / "manifest.json").write_text('{"fingerprint": "x", "shards": 1}', encoding="utf-8")
    (root / "recipe.yaml").write_text("check: {checker: autocheck}\n", encoding="utf-8")
    return root

"""`seelevel chat`: nothing that was said is lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from seelevel.chat import Chat, commands, saving
from seelevel.chat.terminal import Terminal
from seelevel.errors import DiskFullError
from seelevel.formats import read
from seelevel.formats.nlf import write
from seelevel.image_store import ImageStore
from seelevel.ladder import Image, Ladder, Message
from seelevel.models.base import Sampling
from seelevel.models.conditioned import Conditioned
from seelevel.models.conditions import TEMPLATE, Conditions
from seelevel.store import cache_folder
from tests.chats import talk, typed
from tests.formats.made import picture
from tests.judge.made import Speaker, longer

pytestmark = pytest.mark.unit


def test_an_answer_that_a_condition_replaces_is_saved_with_its_feedback(tmp_path: Path) -> None:
    said = iter(["A cup.", "A red cup.", "", "A dog.", "A cat."])
    model = Conditioned(Speaker(lambda _: next(said)), Conditions(TEMPLATE, ("honesty",), ""))
    lines = ("What?", "And?", "/feedback", "/condition 1", "/condition 2", "/condition 3")
    _, chat = talk(model, *lines, folder=tmp_path)
    assert [response.text for _, response in chat.turns] == ["A cup.", "A cat."]
    records = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text().splitlines()]
    talks = [[(turn["model"], turn.get("rating")) for turn in record["interaction"]] for record in records]
    assert talks == [  # under the first condition it said nothing, by which nothing was replaced
        [("A cup.", None), ("A red cup.", {"honesty": 3})],
        [("A cup.", None), ("A dog.", None)],
        [("A cup.", None), ("A cat.", None)],
    ]
    assert len({record["id"] for record in records}) == 3


def test_the_conversation_is_saved_as_one_record_with_its_feedback(tmp_path: Path) -> None:
    screen, _ = talk(Speaker(longer), "What?", "/feedback", "/refine", folder=tmp_path)
    assert screen.endswith(f"saved: {tmp_path / 'said.jsonl'}\n")
    [record] = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text().splitlines()]
    first, second = record["interaction"]
    assert (first["user"], first["model"], first["rating"]) == ("What?", "word", {"honesty": 1})
    assert (second["user"], second["model"]) == ("Say a word more. Please answer again.", "word word")


def test_nothing_said_is_nothing_saved(tmp_path: Path) -> None:
    talk(Speaker(longer), "/help", folder=tmp_path)
    assert not (tmp_path / "said.jsonl").exists()


def test_all_conversations_are_saved_and_a_file_that_cannot_be_written_loses_none(tmp_path: Path) -> None:
    talk(Speaker(longer), "One?", "/new", "Two?", folder=tmp_path)
    lines = (tmp_path / "said.jsonl").read_text().splitlines()
    assert [json.loads(line)["interaction"][0]["user"] for line in lines] == ["One?", "Two?"]
    (tmp_path / "file").write_text("")
    screen, _ = talk(Speaker(longer), "What?", folder=tmp_path / "file")
    assert "cannot be written" in screen
    assert Path(screen.rstrip().rpartition("saved: ")[2]).is_file()


def test_two_chats_that_end_in_one_second_are_both_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands.time, "strftime", lambda _: "chat-20260101-000000")
    for question in ("One?", "Two?"):
        chat = Chat(Speaker(longer), None, Sampling())
        Terminal(chat, typed(question), lambda _: None, None).run()
    files = sorted((cache_folder() / "chats").iterdir())
    assert [file.name for file in files] == ["chat-20260101-000000-0-2.jsonl", "chat-20260101-000000-0.jsonl"]
    assert [json.loads(f.read_text())["interaction"][0]["user"] for f in files] == ["Two?", "One?"]


def test_an_error_that_ends_the_program_loses_no_conversation(tmp_path: Path) -> None:
    def once(messages: list[Message]) -> str:
        if len(messages) > 1:
            raise MemoryError
        return "A cup."

    with pytest.raises(MemoryError):
        talk(Speaker(once), "What?", "And?", folder=tmp_path)
    assert json.loads((tmp_path / "said.jsonl").read_text())["interaction"][0]["model"] == "A cup."


def test_a_full_disk_is_said_and_the_next_place_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(ladders: list[Ladder], path: Path) -> int:
        if path.parent == tmp_path:
            raise DiskFullError(path, 7)
        return write(ladders, path)

    monkeypatch.setattr(saving, "write", full)
    screen, _ = talk(Speaker(longer), "What?", folder=tmp_path)
    assert "cannot be written (disk full" in screen and Path(screen.rstrip().rpartition("saved: ")[2]).is_file()
    assert not (tmp_path / "said.jsonl").exists()


@pytest.mark.parametrize("place", ["said.jsonl", None])
def test_what_is_saved_can_be_read_and_moved_with_its_picture(tmp_path: Path, place: str | None) -> None:
    chat = Chat(Speaker(longer), str(picture(tmp_path / "elsewhere", "a.png")), Sampling())
    screen: list[str] = []
    save = None if place is None else tmp_path / "saved" / place
    Terminal(chat, typed("What?", "/new", "And?"), screen.append, save).run()
    file = Path(screen[-1].removeprefix("saved: ").rstrip())
    moved = shutil.move(file.parent, tmp_path / "moved")
    found = [one for one in read(Path(moved) / file.name) if isinstance(one, Ladder)]
    assert [one.prompt[0]["content"] for one in found] == ["<image>\nWhat?", "<image>\nAnd?"]
    assert all(Path(one.images[0].path).parent == tmp_path / "moved" / "images" for one in found)


def test_a_picture_that_cannot_be_copied_keeps_no_word_from_being_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: ImageStore, path: Path | str) -> Image:
        raise DiskFullError(path, 7)

    monkeypatch.setattr(ImageStore, "put", full)
    screen, _ = talk(Speaker(longer), "What?", folder=tmp_path)
    assert f"the picture cannot be copied to {tmp_path / 'images'}; the file names it as it is\nsaved: " in screen
    [record] = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text().splitlines()]
    assert (record["image_id"], record["interaction"][0]["model"]) == ("a.png", "word")

"""What is written for other frameworks is read back as the same ladders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seelevel.formats import WRITERS, read
from seelevel.formats.llamafactory import write as write_llamafactory
from seelevel.formats.swift import write as write_swift
from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.registry import choose
from tests.formats.made import picture

pytestmark = pytest.mark.unit
SUFFIX = {"llamafactory": "json", "swift": "jsonl", "trl": "jsonl", "ladders": "parquet"}


def message(role: str, content: str) -> Message:
    return Message(role=role, content=content)  # type: ignore[typeddict-item]


def ladders(folder: Path) -> list[Ladder]:
    images = [Image(str(picture(folder, f"images/{name}.png", n * 50).resolve())) for n, name in enumerate("ab")]
    prompts = [
        [message("user", "<image>\nWhat drives there?")],
        [message("system", "Be short."), message("user", "Hi?"), message("assistant", "Ho."), message("user", "Who?")],
        [message("user", "Is <image> before <image>?")],
    ]
    shown = [[images[1]], [], images]
    levels = [[0, 1], [0, 1, 1, 2], [0, 1, 2]]
    return [
        Ladder(name, pictures, prompt, [
            Response([message("assistant", f"{name}, answer {n}.")], level) for n, level in enumerate(of_ladder)
        ])
        for name, pictures, prompt, of_ladder in zip("xyz", shown, prompts, levels, strict=True)
    ]  # fmt: skip


@pytest.mark.parametrize("form", SUFFIX)
def test_prompt_pictures_answers_and_order_come_back(tmp_path: Path, form: str) -> None:
    source = ladders(tmp_path)
    path = tmp_path / f"out.{SUFFIX[form]}"
    assert choose("format", form, WRITERS)(source, path) == 3
    back = [ladder for ladder in read(path) if isinstance(ladder, Ladder)]
    assert [(x.id, x.prompt, [i.path for i in x.images]) for x in back] == [
        (x.id, x.prompt, [i.path for i in x.images]) for x in source
    ]
    assert [[(r.level, r.text) for r in x.responses] for x in back] == [
        [(r.level, r.text) for r in x.responses] for x in source
    ]


def test_llamafactory_has_its_keys(tmp_path: Path) -> None:
    write_llamafactory(ladders(tmp_path)[:1], tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == [
        {
            "id": "x",
            "conversations": [{"from": "human", "value": "<image>\nWhat drives there?"}],
            "chosen": {"from": "gpt", "value": "x, answer 0."},
            "rejected": {"from": "gpt", "value": "x, answer 1."},
            "images": ["images/b.png"],
        }
    ]


def test_swift_has_its_keys(tmp_path: Path) -> None:
    write_swift(ladders(tmp_path)[:1], tmp_path / "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text()) == {
        "id": "x",
        "messages": [
            {"role": "user", "content": "<image>\nWhat drives there?"},
            {"role": "assistant", "content": "x, answer 0."},
        ],
        "rejected_response": "x, answer 1.",
        "images": ["images/b.png"],
    }


def test_answers_of_several_rounds_are_whole_conversations_or_left_out(tmp_path: Path) -> None:
    def rounds(*texts: str) -> list[Message]:
        return [message(("assistant", "user")[n % 2], text) for n, text in enumerate(texts)]

    answers = [Response(rounds(*texts), n) for n, texts in enumerate([("A.", "Why?", "So."), ("B.", "Why?", "Or.")])]
    ladder = Ladder("x", [], [message("user", "What?")], answers)
    assert write_swift([ladder], tmp_path / "out.jsonl") == 1
    (back,) = read(tmp_path / "out.jsonl")
    assert isinstance(back, Ladder)
    assert [r.messages for r in back.responses] == [r.messages for r in answers]
    assert write_llamafactory([ladder], tmp_path / "out.json") == 0

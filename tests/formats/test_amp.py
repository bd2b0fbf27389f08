"""AMP's output_1..K become K levels and come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seelevel.formats import Rejected, read
from seelevel.formats.amp import write as write_amp
from seelevel.ladder import Image, Ladder, Response
from tests.formats.made import gpt, human, picture, write

pytestmark = pytest.mark.unit
QUESTION = human("<image>\nWhat?")


def read_one(folder: Path, **entry: Any) -> Ladder | Rejected:
    picture(folder, "a.png")
    (found,) = read(write(folder / "amp.json", [{"id": 1, "image": "a.png", **entry}]), form="amp")
    return found


def test_outputs_are_levels_and_the_first_is_the_standard(tmp_path: Path) -> None:
    outputs = {f"output_{n}": [QUESTION, gpt(f"answer {n}")] for n in (1, 2, 3)}
    ladder = read_one(tmp_path, **outputs)
    assert isinstance(ladder, Ladder)
    assert [(r.level, r.text) for r in ladder.responses] == [(0, "answer 1"), (1, "answer 2"), (2, "answer 3")]
    assert ladder.responses[0].origin == {"kind": "standard"}
    assert ladder.prompt == [{"role": "user", "content": "<image>\nWhat?"}]


@pytest.mark.parametrize("output", ["A cup.", gpt("A cup."), [gpt("A cup.")], [QUESTION, gpt("A cup.")]])
def test_an_output_is_a_conversation_a_turn_or_a_text(tmp_path: Path, output: Any) -> None:
    ladder = read_one(tmp_path, conversations=[QUESTION], output_1=output, output_2=[gpt("A dog.")])
    assert isinstance(ladder, Ladder)
    assert [r.text for r in ladder.responses] == ["A cup.", "A dog."]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"conversations": [QUESTION]}, "no output_1"),
        ({"output_1": [QUESTION, gpt("a")], "output_3": [QUESTION, gpt("b")]}, "output_2 is missing"),
        ({"output_1": "A cup."}, "conversations holds no question"),
        ({"output_1": [QUESTION, gpt("a")], "output_2": [human("Why?"), gpt("b")]}, "answers another question"),
        ({"output_1": [QUESTION]}, "output_1 holds no answer"),
        ({"output_1": [QUESTION, gpt("a")], "levels": [0, 1]}, "levels is not a rising list"),
        ({"output_1": 3.5}, "output_1 is a number, not a text or a list of turns"),
    ],
)
def test_a_bad_record_is_set_aside_with_its_reason(tmp_path: Path, entry: dict[str, Any], reason: str) -> None:
    found = read_one(tmp_path, **entry)
    assert isinstance(found, Rejected)
    assert reason in found.reason


def test_several_rounds_and_ties_survive_the_way_there_and_back(tmp_path: Path) -> None:
    path = str(picture(tmp_path, "images/a.png").resolve())

    def said(*texts: str) -> list[Any]:
        roles = ("assistant", "user")
        return [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]

    responses = [Response(said(f"a{n}", "and?", f"b{n}"), level) for n, level in enumerate([0, 1, 1, 2])]
    ladder = Ladder("x", [Image(path)], [{"role": "user", "content": "<image>\nWhat?"}], responses, {"scene": [1]})
    assert write_amp([ladder], tmp_path / "amp.json") == 1
    (back,) = read(tmp_path / "amp.json")
    assert isinstance(back, Ladder)
    assert (back.id, back.prompt, back.levels, back.annotations) == ("x", ladder.prompt, [0, 1, 1, 2], {"scene": [1]})
    assert [r.messages for r in back.responses] == [r.messages for r in responses]
    assert back.images[0].path == path

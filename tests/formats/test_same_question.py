"""Rows of one question are read quickly, and each as if it stood alone."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from seelevel.formats import forms, pairs, turns
from seelevel.formats.pictures import Pictures
from seelevel.formats.values import BadRecord
from seelevel.ladder import IMAGE_MARK, Ladder
from tests.formats.made import picture

pytestmark = pytest.mark.unit


def said(text: Any, role: str = "assistant") -> list[dict[str, Any]]:
    return [{"role": role, "content": [{"type": "text", "text": text}]}]


SIDES = [
    "A cup.", "A dog.", "a.png", "", " ", 1, 2, True, None, float("nan"), [], ["A cup."], ["A cup.", "A dog."],
    "<think>A cup?</think>A cup.", "<think>A dog?</think>A cup.", "<think>A cup?", "\ud800", f"A {IMAGE_MARK}.",
    '[{"role": "assistant", "content": "A cup."}]', "[{'role': 'assistant'}]",
    said("A cup."), said("A dog."), said(""), said("\n"), said("\ud800"), said(None), said(f"A {IMAGE_MARK} cup."),
    said("A cup.", "gpt"), said("A cup.", "user"), said("A cup.", "tool"), said("A cup.", "system"), said("", "system"),
    [*said("What?", "user"), *said("A cup.")], [*said("What?", "user"), *said("A dog.")],
    [*said("A cup."), *said("Sure?", "user"), *said("Yes.")],
    [{"role": "assistant", "content": "A cup."}], [{"role": "assistant", "content": "A cup.", "tool_calls": [1]}],
    [{"role": "assistant", "content": [{"type": "text", "text": "A <ima"}, {"type": "text", "text": "ge> cup."}]}],
    [{"role": "assistant", "content": [{"type": "image"}]}], [{"from": "gpt", "value": "A cup."}],
]  # fmt: skip
QUESTIONS: list[dict[str, Any]] = [
    {
        "images": ["images/a.png"],
        "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Q?"}]}],
    },
    {"images": ["images/a.png"], "prompt": said("What?", "user")},
    {"images": ["images/a.png"], "prompt": [*said("Hi.", "user"), *said("Hello."), *said("What?", "user")]},
    {"prompt": said("What?", "user")},
    {"prompt": "What?", "annotations": {"a": [1]}},
    {"prompt": "What?", "annotations": "none"},
    {"prompt": "What?", "score_chosen": 1, "score_rejected": 2},
    {"prompt": "What?", "responses": ["A cup.", "A dog."]},
    {"prompt": "What?", "text": '{"chosen": "A cup.", "rejected": "A dog."}'},
    {"input": {"messages": said("What?", "user")}, "preferred_output": said("A cup.")},
    {"messages": said("What?", "user"), "rejected_response": "A dog."},
    {"question": "What?", "image": "b.png"},
    {"images": ["images/a.png"]},
]
KEYS = ("chosen", "rejected")
ROW = some.fixed_dictionaries({}, optional={key: some.sampled_from(SIDES) for key in KEYS})


def outcome(row: dict[str, Any], pictures: Pictures) -> list[Ladder] | str:
    try:
        return forms.ladders("x", row, pictures)
    except BadRecord as error:
        return str(error)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    picture(folder, "images/a.png")
    return folder / "rows.jsonl"


@given(some.sampled_from(QUESTIONS), some.lists(ROW, min_size=2, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
def test_a_row_is_read_as_if_it_stood_alone(file: Path, question: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    together = Pictures(None, file)
    for sides in rows:
        row = {**question, **sides}
        assert outcome(row, together) == outcome(row, Pictures(None, file))


@pytest.mark.parametrize("question", QUESTIONS)
def test_any_answer_after_good_ones(file: Path, question: dict[str, Any]) -> None:
    good = {**question, "chosen": said("A tree."), "rejected": said("A boat.")}
    for side, bad in product(KEYS, SIDES):
        together, row = Pictures(None, file), {**good, side: bad}
        for _ in range(2):
            outcome(good, together)
        assert outcome(row, together) == outcome(row, Pictures(None, file)), (side, bad)


def test_the_form_of_a_question_is_told_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, together = list[Any](), Pictures(None, file)
    monkeypatch.setattr(forms, "form_of", lambda record: asked.append(record) or "trl")
    monkeypatch.setattr(pairs, "answer_turns", lambda value, side: asked.append(value) or turns.turns(value))
    for better, worse in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)):
        row = {**QUESTIONS[0], "chosen": said(f"Answer {better}."), "rejected": said(f"Answer {worse}.")}
        (ladder,) = forms.ladders("x", row, together)
        assert [response.text for response in ladder.responses] == [f"Answer {better}.", f"Answer {worse}."]
        assert ladder.levels == [0, 1]
    assert len(asked) == 1 + 4


@pytest.mark.parametrize("side", SIDES)
def test_a_usual_turn_is_read_like_any_other(side: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> Any:
        try:
            return turns.turns(side, "chosen")
        except BadRecord as error:
            return str(error)

    quickly = found()
    monkeypatch.setattr(turns, "_usual", lambda value, name: None)
    assert quickly == found()

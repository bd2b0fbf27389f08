"""Thoughts in the answers of people's files are kept apart as reasoning, in every form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seelevel.formats import Rejected, read
from seelevel.formats.parquet import save_ladders
from seelevel.ladder import Ladder, Message, Response
from tests.formats.interactions import PUBLIC, load, turn
from tests.formats.made import gpt, human, picture, write

pytestmark = pytest.mark.unit
CUP, DOG = "<think>\nIs it red?\n</think>\n\nA cup.", "<think>Is it a pet?</think>A dog."
FORMS: dict[str, dict[str, Any]] = {
    "amp": {"output_1": [human("What?"), gpt(CUP)], "output_2": [human("What?"), gpt(DOG)]},
    "trl": {"prompt": "What?", "chosen": CUP, "rejected": [gpt(DOG)]},
    "whole": {"chosen": [human("What?"), gpt(CUP)], "rejected": [human("What?"), gpt(DOG)]},
    "swift": {"messages": [human("What?"), gpt(CUP)], "rejected_response": DOG},
    "ranked": {"prompt": "What?", "responses": [DOG, CUP], "scores": [1, 2]},
}
SINGLE: dict[str, dict[str, Any]] = {
    "llava": {"conversations": [human("What?"), gpt(CUP)]},
    "plain": {"question": "What?", "answer": CUP},
    "vlsafe": {"image_id": "a.png", "query": "What?", "reference": CUP},
}


def ladders(folder: Path, *records: dict[str, Any]) -> list[Ladder | Rejected]:
    picture(folder, "a.png")
    return list(read(write(folder / "p.json", records)))


def only(folder: Path, record: dict[str, Any]) -> Ladder:
    (ladder,) = ladders(folder, record)
    assert isinstance(ladder, Ladder), ladder
    return ladder


@pytest.mark.parametrize("form", FORMS)
def test_both_answers_lose_their_thoughts(tmp_path: Path, form: str) -> None:
    ladder = only(tmp_path, FORMS[form])
    assert [(r.level, r.text, r.reasoning) for r in ladder.responses] == [
        (0, "A cup.", "Is it red?"),
        (1, "A dog.", "Is it a pet?"),
    ]


@pytest.mark.parametrize("form", SINGLE)
def test_the_standard_response_loses_its_thoughts(tmp_path: Path, form: str) -> None:
    (response,) = only(tmp_path, SINGLE[form]).responses
    assert (response.text, response.reasoning, response.is_standard) == ("A cup.", "Is it red?", True)


def test_every_round_loses_its_thoughts(tmp_path: Path) -> None:
    talk = [human("What?"), gpt(CUP), human("Sure?"), gpt("<think>Look again.</think>Yes.")]
    (response,) = only(tmp_path, {"conversations": talk}).responses
    assert (response.text, response.reasoning) == ("A cup.\n\nYes.", "Is it red?\n\nLook again.")


def test_earlier_answers_in_a_prompt_have_no_thoughts(tmp_path: Path) -> None:
    prompt = [human("What?"), gpt(CUP), human("<think>Hm</think> Sure?")]
    ladder = only(tmp_path, {"conversations": prompt, "chosen": gpt("Yes."), "rejected": gpt("No.")})
    assert [m["content"] for m in ladder.prompt] == ["What?", "A cup.", "<think>Hm</think> Sure?"]
    assert [r.reasoning for r in ladder.responses] == ["", ""]


def test_rounds_of_an_interaction_still_follow_each_other(tmp_path: Path) -> None:
    entry = {**PUBLIC, "interaction": [turn(model=DOG, rating="1"), turn("Again.", CUP, rating="4")]}
    first, second = load(tmp_path, {"id": "x", **entry})
    assert isinstance(first, Ladder) and isinstance(second, Ladder)
    assert (first.responses[0].text, first.responses[0].reasoning) == ("A dog.", "Is it a pet?")
    assert second.prompt[:-1] == [*first.prompt, *first.responses[0].messages]


def test_answers_that_differ_in_their_thoughts_alone_have_no_order(tmp_path: Path) -> None:
    (found,) = ladders(tmp_path, {"prompt": "What?", "chosen": CUP, "rejected": "<think>Or?</think>A cup."})
    assert isinstance(found, Rejected)
    assert found.reason == "two answers of different levels differ in their thoughts alone"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("<think>Is it", "an answer cannot be read: it ends inside its thoughts"),
        ("<think>Is it?</think>", "an answer cannot be read: it has thoughts but no answer"),
    ],
)
def test_an_answer_of_thoughts_alone_sets_the_record_aside(tmp_path: Path, answer: str, reason: str) -> None:
    for record in ({"question": "What?", "answer": answer}, {"prompt": "What?", "chosen": "A.", "rejected": answer}):
        (found,) = ladders(tmp_path, record)
        assert isinstance(found, Rejected)
        assert found.reason == reason


def test_an_answer_without_thoughts_is_unchanged(tmp_path: Path) -> None:
    text = " I think <b>so</b>: <answer>a cup</answer>. \n"
    (response,) = only(tmp_path, {"question": "What?", "answer": text}).responses
    assert (response.text, response.reasoning) == (text, "")


def test_ladders_of_ones_own_lose_their_thoughts_and_keep_their_overrides(tmp_path: Path) -> None:
    answers = [Response([Message(role="assistant", content=text)], n) for n, text in enumerate((DOG, CUP))]
    answers[0] = replace(answers[0], reasoning="Before.")
    ladder = Ladder("x", [], [Message(role="user", content="What?")], answers).overridden(1, 0, "me")
    unfinished = Response([Message(role="assistant", content="<think>So")], 0)
    cut = replace(ladder, id="y", responses=[unfinished], overrides=())
    save_ladders([ladder, cut], tmp_path / "l.parquet")
    found, aside = read(tmp_path / "l.parquet")
    assert isinstance(found, Ladder)
    assert [(r.level, r.text, r.reasoning) for r in found.responses] == [
        (0, "A dog.", "Before.\n\nIs it a pet?"),
        (0, "A cup.", "Is it red?"),
    ]
    assert [override.response for override in found.overrides] == [found.responses[1].id]
    assert isinstance(aside, Rejected)

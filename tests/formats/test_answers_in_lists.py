"""An answer under a key of one answer may be in a list: of one text, of turns, of a whole conversation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.formats.made import essence, parsed, picture
from tests.formats.test_forms import ANSWERED, ASK, ASK_MARKED, BUS, SEEN, TRAM, said, user

pytestmark = pytest.mark.unit
MARKED = {"messages": [user(ASK_MARKED), said(TRAM)], "images": ["a.png"]}
OLD = {"query": ASK, "images": ["a.png"]}


@pytest.mark.parametrize(
    "record",
    [
        {**OLD, "response": [TRAM], "rejected_response": [BUS]},
        {**OLD, "response": [said(TRAM)], "rejected_response": [said(BUS)]},
        {**OLD, "response": [user(ASK), said(TRAM)], "rejected_response": [user(ASK), said(BUS)]},
        {**MARKED, "rejected_response": [BUS]},
        {**MARKED, "rejected_response": [user(ASK_MARKED), said(BUS)]},
        {**OLD, "chosen": [TRAM], "rejected": [BUS]},
    ],
)
def test_both_answers_of_a_pair_may_be_in_lists(tmp_path: Path, record: dict[str, Any]) -> None:
    picture(tmp_path, "a.png")
    assert essence(parsed(record, tmp_path)) == SEEN


@pytest.mark.parametrize("answer", [[TRAM], [said(TRAM)], [user(ASK), said(TRAM)], [user(ASK_MARKED), said(TRAM)]])
@pytest.mark.parametrize("key", ["response", "answer", "output", "completion"])
def test_one_answer_may_be_in_a_list(tmp_path: Path, key: str, answer: list[Any]) -> None:
    picture(tmp_path, "a.png")
    assert essence(parsed({**OLD, key: answer}, tmp_path)) == ANSWERED


def test_a_picture_in_the_conversation_of_an_answer_is_seen(tmp_path: Path) -> None:
    picture(tmp_path, "a.png")
    asked = user([{"type": "image", "image": "a.png"}, {"type": "text", "text": ASK}])
    assert essence(parsed({"query": ASK, "response": [asked, said(TRAM)]}, tmp_path)) == ANSWERED


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"answer": ["a", "b"]}, "answer is a list of answers; call it responses"),
        ({"answer": [["a"]]}, "answer[0] is a list, not a turn"),
        ({"response": [user("Who?"), said("a")]}, "response begins with another question"),
        ({"response": ["a"], "rejected_response": ["b", "c"]}, "rejected_response is a list of answers"),
        ({"response": ["a"], "rejected_response": [user("Who?"), said("b")]}, "rejected does not start with an answer"),
    ],
)
def test_other_lists_are_named(tmp_path: Path, record: dict[str, Any], reason: str) -> None:
    found = parsed({"query": "Hi?", **record}, tmp_path)
    assert isinstance(found, str), found
    assert reason in found

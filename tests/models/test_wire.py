"""What servers reply is read as an answer, or said to be none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from seelevel.models.base import Completion
from seelevel.models.server.wire import GarbledReplyError, read_reply

pytestmark = pytest.mark.unit


def chat_reply(**choice: Any) -> str:
    return json.dumps({"choices": [{"message": {"content": "a"}, "finish_reason": "stop", **choice}]})


def test_an_answer_cut_by_the_limit_is_not_finished() -> None:
    assert read_reply(chat_reply(finish_reason="length")) == [Completion("a", 0, False)]


def test_a_refusal_is_an_answer() -> None:
    assert read_reply(chat_reply(message={"content": None, "refusal": "I cannot."}))[0].text == "I cannot."


def test_an_answer_in_parts_is_joined_and_a_picture_mark_is_left_out() -> None:
    parts = [{"type": "text", "text": "a <image>"}, {"type": "text", "text": "cup"}]
    assert read_reply(chat_reply(message={"content": parts}))[0].text == "a cup"


def test_half_of_a_surrogate_pair_in_an_answer_is_a_question_mark() -> None:
    raw = chat_reply(message={"content": "a \ud83d cup \ud83d\ude00"})
    assert "\\ud83d" in raw
    assert read_reply(raw)[0].text == "a ? cup \U0001f600"


def test_an_empty_answer_that_was_cut_says_so() -> None:
    (found,) = read_reply(chat_reply(message={"content": None}, finish_reason="content_filter"))
    assert (found.text, found.finished, found.note) == ("", False, "ended by content_filter, empty")


@pytest.mark.parametrize("text", ["", "<html>", "[]", "{}", '{"choices": null}', '{"choices": [{}]}', "null"])
def test_what_is_no_chat_completion_is_none(text: str) -> None:
    with pytest.raises(GarbledReplyError, match="no chat completion") as caught:
        read_reply(text)
    assert not caught.value.note and not caught.value.final


def test_choices_that_are_none_are_told_from_an_error_in_their_place() -> None:
    with pytest.raises(GarbledReplyError, match="no choice") as caught:
        read_reply('{"choices": [], "usage": null}')
    assert caught.value.note and not caught.value.final

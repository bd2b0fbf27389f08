"""Conversations go on by the judge's words until the answer is as good as can be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from seelevel.judge import Unscored
from seelevel.judge.annotate import Annotator
from seelevel.judge.conversation import REQUEST, Conversation, Refiner, asks_for_changes, request_text
from seelevel.ladder import Feedback, Message, Response
from seelevel.models.base import Sampling

from .made import Critic, Speaker, counted, ladder, longer

pytestmark = pytest.mark.unit


def talk(speaker: Speaker, critic: Critic, rounds: int, ratings: dict[str, int] | None = None) -> Conversation:
    one = ladder("A red cup.")
    first = Response(
        [Message(role="assistant", content="word")], 0, feedback=Feedback(ratings or {"honesty": 1}, "Bad.")
    )
    found = Conversation(one, [(one.prompt[-1], first)])
    refiner = Refiner(speaker, Annotator(critic, "critic"), REQUEST, {"kind": "refined"})
    for _ in range(rounds):
        refiner.refine([found], Sampling())
    return found


def test_each_round_asks_on_the_last_judgement_and_sees_the_conversation_so_far() -> None:
    speaker = Speaker(longer)
    found = talk(speaker, Critic(counted), 2)
    assert [r.text for _, r in found.turns] == ["word", "word word", "word word word"]
    assert [r.feedback.ratings["honesty"] for _, r in found.turns if r.feedback] == [1, 2, 3]
    assert found.turns[1][0]["content"] == "Bad. Please answer again."
    assert found.turns[2][0]["content"] == "Say a word more. Please answer again."
    assert [m["role"] for m in speaker.prompts[1].messages] == ["user", "assistant", "user", "assistant", "user"]
    assert found.turns[2][1].origin == {"kind": "refined", "round": 2}


def test_the_best_ratings_end_a_conversation_and_every_round_is_kept() -> None:
    speaker = Speaker(longer)
    found = talk(speaker, Critic(counted), 9)
    assert len(found.turns) == 4
    assert len(speaker.prompts) == 3
    assert not found.unfinished


def test_every_answer_is_judged_as_one_to_the_first_question() -> None:
    critic = Critic(counted)
    talk(Speaker(longer), critic, 2)
    first, second = (prompt.messages[0]["content"] for prompt in critic.prompts)
    assert 'Question: "What is there?"\n' in first and "Said before" not in first
    assert second == first.replace('"word word"', '"word word word"')


def test_a_first_answer_that_is_right_is_not_asked_again() -> None:
    assert len(talk(Speaker(longer), Critic(counted), 3, {"honesty": 4, "helpfulness": 4}).turns) == 1


@pytest.mark.parametrize("verdict", ["No comment.", {"critique": "Hm."}])
def test_an_answer_that_cannot_be_judged_ends_the_conversation_before_it(verdict: Any) -> None:
    found = talk(Speaker(longer), Critic(lambda _: verdict), 3)
    assert len(found.turns) == 1
    assert [(text, type(verdict)) for text, verdict in found.unscored] == [("word word", Unscored)]
    assert found.broken_off


def test_an_empty_answer_ends_the_conversation() -> None:
    found = talk(Speaker(lambda _: "  "), Critic(counted), 3)
    assert (len(found.turns), found.broken_off, found.unscored) == (1, True, [])


def test_a_judge_with_nothing_to_say_ends_the_conversation() -> None:
    found = talk(Speaker(longer), Critic(lambda _: {"honesty": 2, "critique": " ", "refinement": ""}), 5)
    assert len(found.turns) == 2


def test_words_without_ratings_are_no_top_marks() -> None:
    one = ladder("A cat.")
    said = replace(one.responses[0], feedback=Feedback({}, "Wrong.", "Say dog."))
    assert Conversation(one, [(one.prompt[-1], said)]).unfinished
    assert not asks_for_changes(Feedback({}))


def test_the_users_words_are_one_line() -> None:
    assert request_text("{{ critique }}\n\n{{ refinement }}", Feedback({}, "No\ndog. ", "Look  again.")) == (
        "No dog. Look again."
    )


def test_a_mark_that_the_judge_repeats_is_no_picture_of_the_next_turn() -> None:
    speaker = Speaker(longer)
    said = '{"honesty": 2, "critique": "What?", "refinement": "Leave \\u003cimage> and <im<image>age> out."}'
    found = talk(speaker, Critic(lambda _: said), 2)
    assert found.turns[2][0]["content"] == "Leave and out. Please answer again."
    assert [len(prompt.images) for prompt in speaker.prompts] == [1, 1]
    assert [ladder.id for ladder in found.interaction().rounds()] == ["a#0", "a#1", "a#2"]


def test_thoughts_in_an_own_models_answers_are_neither_judged_nor_shown_again() -> None:
    speaker, critic = Speaker(lambda messages: f"<think>hm</think>{longer(messages)}"), Critic(counted)
    found = talk(speaker, critic, 2)
    assert [(r.text, r.reasoning) for _, r in found.turns[1:]] == [("word word", "hm"), ("word word word", "hm")]
    assert "hm" not in str(speaker.prompts) + str(critic.prompts)


def test_a_judge_whose_word_leaves_the_request_empty_ends_the_conversation() -> None:
    speaker, one = Speaker(longer), ladder("A red cup.")
    first = Response([Message(role="assistant", content="word")], 0, feedback=Feedback({"honesty": 1}, "Bad."))
    found = Conversation(one, [(one.prompt[-1], first)])
    Refiner(speaker, Annotator(Critic(counted), "critic"), "{{ refinement }}", {}).refine([found], Sampling())
    assert (len(found.turns), speaker.prompts) == (1, [])

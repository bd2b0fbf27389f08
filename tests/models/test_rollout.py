"""A model in a dialogue sees what it said itself, not what the standard said."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from seelevel.ladder import Message
from seelevel.models.base import Completion, Prompt, Sampling
from seelevel.models.rollout import Dialogue, rollout

pytestmark = pytest.mark.unit


class Echo:
    """Answers with the number of the call and of the turns and pictures it was shown."""

    name = "echo"

    def __init__(self) -> None:
        self.calls: list[Sequence[Prompt]] = []

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        self.calls.append(prompts)
        call = len(self.calls)
        return [Completion(f"call {call}: {len(p.messages)} turns, {len(p.images)} images", 1, True) for p in prompts]


def user(text: str) -> Message:
    return Message(role="user", content=text)


def test_round_t_of_all_dialogues_is_one_call_and_holds_the_models_own_answers() -> None:
    model = Echo()
    dialogues = [
        Dialogue([user("<image>\na?")], [user("b?"), user("c?")], ["x.png"]),
        Dialogue([user("d?")]),
        Dialogue([user("e?")], [user("f?")]),
    ]
    talks = rollout(model, dialogues, Sampling())
    assert [len(call) for call in model.calls] == [3, 2, 1]
    assert talks[0].messages == [
        {"role": "assistant", "content": "call 1: 1 turns, 1 images"},
        {"role": "user", "content": "b?"},
        {"role": "assistant", "content": "call 2: 3 turns, 1 images"},
        {"role": "user", "content": "c?"},
        {"role": "assistant", "content": "call 3: 5 turns, 1 images"},
    ]
    assert [len(talk.messages) for talk in talks] == [5, 1, 3]


def test_the_thoughts_of_any_model_are_kept_apart_and_not_shown_to_it_again() -> None:
    class Thinker(Echo):
        def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
            self.calls.append(list(prompts))
            return [Completion(f"<think>thought {len(self.calls)}</think>said", 1, True) for _ in prompts]

    model = Thinker()
    (talk,) = rollout(model, [Dialogue([user("a?")], [user("b?")])], Sampling())
    assert [message["content"] for message in talk.messages] == ["said", "b?", "said"]
    assert talk.reasoning == "thought 1\n\nthought 2"
    assert "thought" not in str(model.calls[1])


def test_a_picture_of_a_later_turn_is_shown_from_that_turn_on() -> None:
    model = Echo()
    rollout(model, [Dialogue([user("<image> a?")], [user("<image> b?")], ["x.png", "y.png"])], Sampling())
    assert [call[0].images for call in model.calls] == [["x.png"], ["x.png", "y.png"]]


def test_no_dialogues_make_no_call() -> None:
    model = Echo()
    assert rollout(model, [], Sampling()) == []
    assert model.calls == []


def test_why_an_answer_is_empty_is_told_with_the_talk() -> None:
    class Silent(Echo):
        def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
            return [Completion("", 0, False, "too long") for _ in prompts]

    (talk,) = rollout(Silent(), [Dialogue([user("a?")], [user("b?")])], Sampling())
    assert talk.note == "too long"
    assert [m["content"] for m in talk.messages] == ["", "b?", ""]

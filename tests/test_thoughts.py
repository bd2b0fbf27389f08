"""What a model thought is told from what it says, in the marks of every family."""

from __future__ import annotations

import pytest

from seelevel.thoughts import CUT, UNSPOKEN, Split, opening, split_thought, spoken

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "text",
    [
        "<think>\nIs it red?\n</think>\n\nA cup.",
        "<THINK>Is it red?</THINK>A cup.",
        "<thinking>Is it red?</thinking> A cup.",
        '<think type="long">Is it red?</think>A cup.',
        "<thought>Is it red?</thought>A cup.",
        "<seed:think>Is it red?</seed:think>A cup.",
        "Is it red?\n</think>\n\nA cup.",  # the template has opened the thought
        "<|begin_of_thought|>Is it red?<|end_of_thought|><|begin_of_solution|>A cup.<|end_of_solution|>",
        "[THINK]Is it red?[/THINK]A cup.",
        "◁think▷Is it red?◁/think▷A cup.",
        "<|channel>thought\nIs it red?<channel|>A cup.<turn|>",
        "<|channel|>analysis<|message|>Is it red?<|end|><|start|>assistant<|channel|>final<|message|>A cup.<|return|>",
        "<|START_THINKING|>Is it red?<|END_THINKING|><|START_RESPONSE|>A cup.<|END_RESPONSE|>",
        "Is it red?\n[BEGIN FINAL RESPONSE]\nA cup.\n[END FINAL RESPONSE]",
        "<think>Is it red?</think><answer>A cup.</answer>",
        "<think>Is it red?</think><answer>A cup.",
        "<REASONING>Is it red?</REASONING>\n<CONCLUSION>A cup.</CONCLUSION>",
        "<think>Is it red?</think>\n<|begin_of_box|>A cup.<|end_of_box|>",
    ],
)
def test_the_answer_follows_the_thought(text: str) -> None:
    split = split_thought(text)
    assert (split.answer, split.marked, split.why) == ("A cup.", True, "")
    assert "Is it red?" in split.reasoning and "think" not in split.reasoning.lower()


def test_a_text_without_marks_is_unchanged() -> None:
    text = " I think <b>so</b>: a cup. \n"
    assert split_thought(text) == Split(text)


def test_an_empty_thought_is_no_reasoning() -> None:
    assert split_thought("<think>\n\n</think>\n\nYes") == Split("Yes", "", True)


def test_the_last_of_several_thoughts_ends_them() -> None:
    split = split_thought("<think>one</think>A dog.<think>no, two</think>Two dogs.")
    assert (split.answer, split.why) == ("Two dogs.", "")
    assert split.reasoning.split() == ["one", "A", "dog.", "no,", "two"]


@pytest.mark.parametrize(
    "text", ["<think>Is it", "Well. <think>Is it", "<think>a</think>b<think>Is it", "[THINK]Is it"]
)
def test_a_thought_without_an_end_leaves_no_answer(text: str) -> None:
    split = split_thought(text)
    assert (split.answer, split.why) == ("", CUT)
    assert "Is it" in split.reasoning
    with pytest.raises(ValueError, match="inside its thoughts"):
        spoken(text)


def test_a_thought_alone_is_no_answer() -> None:
    assert split_thought("<think>Is it red?</think>\n").why == UNSPOKEN


def test_an_answer_in_its_own_tag_leaves_the_rest_as_reasoning() -> None:
    assert split_thought("It is round. <answer>A cup.</answer>") == Split("A cup.", "It is round.")


def test_a_prompt_may_open_the_thought() -> None:
    assert opening("<|im_start|>assistant\n<think>\n") == "<think>"
    assert opening("<|im_start|>assistant\n<think>\n\n</think>\n\n") == ""
    assert opening("<think> was said. Assistant:") == ""

"""A completion keeps its thoughts apart from its answer."""

from __future__ import annotations

import pytest

from seelevel.models.base import Completion
from seelevel.models.thinking import set_apart, without_cut_thoughts

pytestmark = pytest.mark.unit


def test_a_completion_keeps_its_thoughts_apart_and_says_when_nothing_is_left() -> None:
    found = set_apart(Completion("<think>Is it red?</think>A cup.", 9, True))
    assert (found.text, found.reasoning, found.note) == ("A cup.", "Is it red?", "")
    assert set_apart(found) == found
    cut = set_apart(Completion("<think>Is it red", 9, False))
    assert (cut.text, cut.reasoning) == ("", "Is it red")
    assert cut.note == "it ends inside its thoughts; raise max_new_tokens"


def test_an_answer_that_is_cut_beside_answers_with_thoughts_is_a_thought() -> None:
    whole, cut, short = (
        Completion("A cup.", 9, True, reasoning="Red?"),
        Completion("Is it", 9, False),
        Completion("A", 1, True),
    )
    assert without_cut_thoughts([cut, short]) == [cut, short]
    assert without_cut_thoughts([whole, cut, short]) == [
        whole,
        Completion("", 9, False, "it ends inside its thoughts; raise max_new_tokens", reasoning="Is it"),
        short,
    ]

"""Verdicts in the forms that judges use. What is plain is read, everything else is unscored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from seelevel.judge.annotate import parse
from seelevel.judge.replies import parse_ratings

pytestmark = pytest.mark.unit
PLAIN = '{"helpfulness": 2, "honesty": 4, "critique": "It sees a fork.", "refinement": ""}'


@pytest.mark.parametrize(
    "reply",
    [
        PLAIN,
        f"```json\n{PLAIN}\n```",
        f'<think>At first {{"helpfulness": 1, "honesty": 1}}.</think>\n{PLAIN}',
        f"<answer>{PLAIN}</answer>",
        f'{{"verdict": {PLAIN}}}',
        PLAIN.replace("It sees", "It\nsees"),
        PLAIN.replace('""}', '"",}'),
        PLAIN.replace("helpfulness", "Helpfulness").replace("honesty", "HONESTY"),
        PLAIN.replace("2,", "2.0,").replace("4,", '"4/4",'),
        PLAIN.replace("2,", '"2",').replace("4,", '"4 out of 4",'),
        PLAIN.replace("2,", '{"rating": 2, "reason": "short"},'),
        PLAIN[:-1] + ', "harmlessness": "N/A"}',
        PLAIN[:-1] + ', "harmlessness": "none"}',
    ],
)
def test_a_plain_verdict_is_read(reply: str) -> None:
    verdict = parse(reply, {})
    assert verdict.ratings == {"helpfulness": 2, "honesty": 4}
    assert " ".join(verdict.critique.split()) == "It sees a fork."


def test_a_critique_in_several_texts_is_one() -> None:
    assert parse('{"honesty": 1, "critique": ["It is short.", "It lies."]}', {}).critique == "It is short. It lies."


@pytest.mark.parametrize(
    ("ratings", "reason"),
    [
        ('"honesty": 2.5', "fractional"),
        ('"honesty": "2/5"', "out of 5, not out of 4"),
        ('"honesty": true', "true or false"),
        ('"honesty": 0', "greater than"),
        ('"honesty": "two"', "valid integer"),
        ('"honesty": [2]', "valid integer"),
        ('"honesty": "2 or 3"', "valid integer"),
        ('"honesty": 2, "honesty": 3', "twice"),
        ('"honesty": 2, "Honesty": 3', "twice"),
    ],
)
def test_a_rating_that_is_not_plain_is_no_verdict(ratings: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(f"{{{ratings}}}", {})


def test_a_verdict_that_is_only_thought_is_none() -> None:
    with pytest.raises(ValueError, match="inside its thoughts"):
        parse(f"<think>{PLAIN}", {})


def test_an_object_nested_hundreds_deep_is_read_or_refused() -> None:
    for depth in (900, 5000):
        reply = '{"a": ' * depth + PLAIN + "}" * depth
        try:
            assert parse(reply, {}).ratings == {"helpfulness": 2, "honesty": 4}
        except ValueError as error:
            assert "nested too deep" in str(error)


def test_a_comma_inside_a_text_stays() -> None:
    critique = """It says ', }' and "a, ]"."""
    reply = json.dumps({"honesty": 3, "critique": critique})[:-1] + ",}"
    assert parse(reply, {}).critique == critique


@pytest.mark.parametrize(
    ("reply", "ratings"),
    [
        ("Ratings: [5.0, 2.0]", (5, 2)),
        ("Ratings: [5/6, 2/6]", (5, 2)),
        ('Ratings: ["5", "2"]', (5, 2)),
        ("Ratings: [**5**, 2]", (5, 2)),
        ("Ratings: [5, 2] (out of 6)", (5, 2)),
        ("Ratings: [5, 2] out of 6.", (5, 2)),
        ("Ratings: [5, 2] (the second invents a fork)", (5, 2)),
        ("<answer>Ratings: [5, 2]</answer>", (5, 2)),
        ("Ratings: 5, 2", (5, 2)),
        ("Ratings: 5 and 2.", (5, 2)),
        ("The ratings are: [5, 2]", (5, 2)),
        ("**Final ratings:**\n[5, 2]", (5, 2)),
        ("Ratings: [5,\n2]", (5, 2)),
        ("```\nRatings: [5, 2]\n```", (5, 2)),
        ('{"ratings": [5, 2]}', (5, 2)),
        ("$\\boxed{Ratings: [5, 2]}$", (5, 2)),
        ("Ratings: [Round 1: 5, Round 2: 2]", (5, 2)),
        ("Ratings: [NA, none]", (None, None)),
        ("<think>Ratings: [0, 0]</think>\nRatings: [5, 2]", (5, 2)),
        ("Score: 5", (5,)),
        ("**Rating:** 4/6", (4,)),
        ("Rating: 4 (somewhat informative)", (4,)),
        ("Overall score: 5 out of 6", (5,)),
        ("Rating: N/A", (None,)),
    ],
)
def test_plain_ratings_are_read(reply: str, ratings: tuple[Any, ...]) -> None:
    assert parse_ratings(reply, len(ratings)) == ratings
    assert parse_ratings(reply, None) == ratings


@pytest.mark.parametrize(
    "reply",
    [
        "Ratings: [5.5, 2]",
        "Ratings: [5, 2] out of 10",
        "Ratings: [5/10, 2/10]",
        "Ratings: [Round 2: 5, Round 1: 2]",
        "Ratings: [5, 2] and [1, 1]",
        "Ratings: [five, two]",
        "Ratings: [-5, 2]",
        "Ratings: [05, 2]",
        "Ratings: [5-6, 2]",
        "Ratings: 5 or 6, 2",
        "Ratings: [5, 2",
        "<think>Ratings: [5, 2]",
        "Ratings: [5, 2]\nOn second thoughts, the ratings: [5, 2] were too kind",
        "Rating: 5",
    ],
)
def test_ratings_that_are_not_plain_are_none(reply: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_ratings(reply, 2)


def test_halves_count_only_where_they_are_asked_for() -> None:
    assert parse_ratings("Ratings: [7.5, 3]", 2, 10, halves=True) == (7.5, 3)
    for reply, halves in (("Ratings: [7.5, 3]", False), ("Ratings: [7.25, 3]", True), ("Ratings: [10.5, 3]", True)):
        with pytest.raises(ValueError, match="is not a whole number from 0 to 10"):
            parse_ratings(reply, 2, 10, halves)


def test_several_lines_of_one_rating_are_not_the_last_one() -> None:
    with pytest.raises(ValueError, match="it has 2 lines of ratings without a list"):
        parse_ratings("Rating: 6\nRating: 5", None)
    assert parse_ratings("Rating: 5", None) == (5,)
    assert parse_ratings("Rating: 6\nRatings: [6, 5]", None) == (6, 5)

"""MRHal-Bench: ratings from replies, and the four figures worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seelevel.errors import InputError
from seelevel.scorers.files import Entry
from seelevel.scorers.mrhal import parse_ratings, ratings_of, score, score_files, turns_of
from seelevel.scorers.questions import picture_contents

pytestmark = pytest.mark.unit


def judgements(*ratings: object) -> list[Entry]:
    return [Entry({"id": n, "rating": r}, f"judgements, record {n}") for n, r in enumerate(ratings, 1)]


@pytest.mark.parametrize(
    ("reply", "ratings"),
    [
        ("All is well.\nRatings: [6, 3, 0, 1]", (6, 3, 0, 1)),
        ("**Ratings: [6, 3, 0, 1]**", (6, 3, 0, 1)),
        ("**Ratings:** [6,3,0,1].", (6, 3, 0, 1)),
        ("The answer says 'Ratings: [6, 6, 6, 6]', which is no ground.\nRatings: [0, 3, 0, 1]", (0, 3, 0, 1)),
        ("Ratings: [6, N/A, 0, n/a]", (6, None, 0, None)),
        ("All is well.\nRatings: (6, 3, 0, 1)", (6, 3, 0, 1)),
        ("**Ratings:** (6/6, 3/6, N/A, 1/6).", (6, 3, None, 1)),
    ],
)
def test_the_last_line_of_ratings_counts(reply: str, ratings: tuple[int | None, ...]) -> None:
    assert parse_ratings(reply, 4) == ratings


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("6, 3, 0, 1", "does not end with"),
        ("Ratings: [6, 3]", "2 ratings for 4 rounds"),
        ("Ratings: [6, 3, 7, 1]", "'7' is not a whole number"),
        ("Ratings: [6, 3, 2.5, 1]", "'2.5' is not"),
        ("Ratings: [6, 3, , 1]", "'' is not"),
        ("", "does not end with"),
        ("Ratings: [6, 3, 0, 1] would be too kind", "does not end with"),
        ("Ratings: (6, 3, 0, 1) would be too kind", "is not a whole number"),
        ("Ratings: (6, 3), (0, 1)", "is not a whole number"),
    ],
)
def test_other_replies_are_no_ratings(reply: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_ratings(reply, 4)


def test_three_dialogues_worked_out_by_hand() -> None:
    # means 3.5, 2.0, 4.0; rounds 6 1 | 2 2 2 | 4: sum 17 over 6; below 3: four of six; dialogues below 3: one of three
    found = score(judgements([6, 1], [2, 2, 2], [4]))
    assert found["score_c"] == 17 / 6
    assert found["score_m"] == pytest.approx((3.5 + 2 + 4) / 3)
    assert found["hallucination_c"] == 4 / 6
    assert found["hallucination_m"] == 1 / 3
    assert found["hallucination_m_rates"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert (found["dialogues"], found["rounds"]) == (3, 6)


def test_a_mean_of_exactly_three_is_no_hallucination() -> None:
    assert score(judgements([6, 0]))["hallucination_m"] == 0.0


def test_unrated_rounds_count_zero_as_published_and_not_strictly() -> None:
    found = score(judgements([6, None], [None, None]))
    assert (found["score_c"], found["score_m"], found["rounds"]) == (6 / 4, 3 / 2, 4)
    assert (found["hallucination_c"], found["hallucination_m"]) == (3 / 4, 1 / 2)
    assert found["unscored_dialogues"] == 0
    strict = found["rules"]["strict"]
    assert (strict["score_c"], strict["rounds"], strict["unscored_rounds"], strict["unscored_dialogues"]) == (
        6,
        1,
        3,
        1,
    )


@pytest.mark.parametrize(
    ("reply", "ratings"),
    [
        ("In all, [6, 3].", (6, 3)),
        ("Hallucination: [No, Yes]\nThe rest is [5, 1] of 6", (5, 1)),
        ("[6, N/A ] Hallucination: [Yes, No]", (6, None)),
        ("First [1, 2], then [3, 4] are my ratings", (3, 4)),
        ("<think>[0, 0]</think>So: [6, 3].", (6, 3)),
        ("[" * 100_000 + "\n[6, 3]", (6, 3)),
        ("[a, b]\n[c, d]\n[e, f]\nRatings: [6, 5]", (6, 5)),  # three lists: read by the strict rule
    ],
)
def test_the_published_rule_reads_any_bracket_of_ratings(reply: str, ratings: tuple[int | None, ...]) -> None:
    entry = Entry({"id": 1, "rounds": 2, "response": reply}, "x")
    assert ratings_of(entry, "published") == ratings


@pytest.mark.parametrize(
    "reply", ["[6]", "[7, 3]", "[6, 2.5]", "[]", "No.", "<think>[6, 3]", "[Yes, No] [No, Yes]", "[1] [2] [6, 3]"]
)
def test_a_reply_without_one_whole_number_per_round_is_unscored_by_both_rules(reply: str) -> None:
    found = score([Entry({"id": 1, "rounds": 2, "response": reply}, "x")])
    assert (found["unscored_dialogues"], found["rules"]["strict"]["unscored_dialogues"]) == (1, 1)


def test_nothing_scored_has_no_figure() -> None:
    found = score([Entry({"id": 1, "rating": None, "response": "no idea"}, "x")])
    assert found["score_c"] is None
    assert found["unscored_dialogues"] == 1


def test_raw_replies_are_read_where_no_ratings_are_given(tmp_path: Path) -> None:
    file = tmp_path / "judgements.json"
    rows = [
        {"id": 1, "rounds": 2, "response": "Good.\nRatings: [6, 5]"},
        {"id": 2, "rounds": 2, "response": "Ratings: [6]"},
        {"id": 3, "response": "Ratings: [1, 1, 1]"},
    ]
    file.write_text(json.dumps(rows))
    found = score_files(file)
    assert (found["score_c"], found["rounds"], found["unscored_dialogues"]) == (14 / 5, 5, 1)


@pytest.mark.parametrize("rating", [[7], [2.5], [True], ["6"], [], "6"])
def test_ratings_out_of_range_are_the_users_mistake(rating: object) -> None:
    with pytest.raises(InputError, match="record 1"):
        score(judgements(rating))


@pytest.mark.parametrize("rounds", [["q"], float("inf"), "abc", "2", 0, -1, 2.5, True, {}])
def test_an_invalid_number_of_rounds_is_named(rounds: object) -> None:
    with pytest.raises(InputError, match=r"record 1: 'rounds' is .*, not a whole number"):
        score([Entry({"id": 1, "rounds": rounds, "response": "Ratings: [6, 5]"}, "judgements, record 1")])


@pytest.mark.parametrize("response", [["Ratings: [6]"], 6, {"text": "Ratings: [6]"}])
def test_a_reply_that_is_not_a_text_is_named(response: object) -> None:
    with pytest.raises(InputError, match=r"record 1: 'response' is .*, not .* a text"):
        score([Entry({"id": 1, "response": response}, "judgements, record 1")])


def test_dialogues_are_read_in_llavas_form_and_as_plain_turns() -> None:
    llava = [{"from": "human", "value": "<image>\nIs there a dog?"}, {"from": "gpt", "value": "Yes."}]
    assert turns_of(Entry({"revised": llava}, "x")) == ["Is there a dog?", "Yes."]
    assert turns_of(Entry({"revised": ["Is there a dog?", "Yes."]}, "x")) == ["Is there a dog?", "Yes."]
    with pytest.raises(InputError, match="3 turns"):
        turns_of(Entry({"revised": ["a", "b", "c"]}, "x"))


def test_picture_contents_are_a_text_or_a_list_of_texts():
    assert picture_contents(Entry({"image_content": ["a dog", "a mat"]}, "d.json, record 1")) == ["a dog", "a mat"]
    assert picture_contents(Entry({"image_content": "a dog on a mat"}, "d.json, record 1")) == ["a dog on a mat"]
    for wrong in (5, ["a dog", 5], {"dog": 1}):
        with pytest.raises(InputError, match=r"d\.json, record 1: 'image_content' is .* not a list of texts"):
            picture_contents(Entry({"image_content": wrong}, "d.json, record 1"))

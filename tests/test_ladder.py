"""Ladders hold what they promise: order, ties, rounds."""

import pytest

from seelevel.ladder import Feedback, Image, Interaction, Ladder, Response
from seelevel.levels import dense_levels
from seelevel.notes import RoundOf

pytestmark = pytest.mark.unit
QUESTION = {"role": "user", "content": "<image>\nWhat is there?"}
CAT = Image("cat.png", "00")


def answer(text, level=0, **more):
    return Response([{"role": "assistant", "content": text}], level, **more)


def ladder(*levels):
    return Ladder("a", [CAT], [QUESTION], [answer(str(n), level) for n, level in enumerate(levels)])


@pytest.mark.parametrize(
    ("levels", "which", "expected"),
    [
        ((0, 1, 2), "all", [(0, 1), (0, 2), (1, 2)]),
        ((0, 0, 1), "all", [(0, 2), (1, 2)]),
        ((0, 0, 0), "all", []),
        ((0, 1, 1, 2), "adjacent", [(0, 1), (0, 2), (1, 3), (2, 3)]),
        ((0, 2, 5), "adjacent", [(0, 1), (1, 2)]),
        ((0, 1, 2), "best-vs-rest", [(0, 1), (0, 2)]),
        ((0, 1, 2), "best-vs-worst", [(0, 2)]),
        ((0, 1, 2, 3), [[1, 3]], [(1, 3)]),
        ((0, 1, 2, 3), [[0, 1], [3, 0]], [(0, 1)]),
    ],
)
def test_pairs_never_hold_a_tie_and_follow_the_pair_set(levels, which, expected):
    assert ladder(*levels).pairs(which) == expected


def test_a_ladder_is_best_first():
    with pytest.raises(ValueError, match="best first"):
        ladder(1, 0)


def test_image_marks_and_images_agree():
    with pytest.raises(ValueError, match="0 images but 1"):
        Ladder("a", [], [QUESTION])


def test_the_prompt_ends_with_the_user():
    with pytest.raises(ValueError, match="ends with a user turn"):
        Ladder("a", [], [{"role": "assistant", "content": "hello"}])


@pytest.mark.parametrize(
    "roles", [[], ["user"], ["assistant", "user"], ["assistant", "assistant"], ["assistant", "system", "assistant"]]
)
def test_a_response_alternates_and_ends_with_the_assistant(roles):
    with pytest.raises(ValueError, match="response"):
        Response([{"role": role, "content": "x"} for role in roles], 0)


def test_rounds_count_assistant_turns():
    turns = [{"role": role, "content": role} for role in ("assistant", "user", "assistant")]
    assert Response(turns, 0).rounds == 2
    assert Response(turns, 0).text == "assistant\n\nassistant"


def test_ratings_are_one_to_four_of_known_criteria():
    with pytest.raises(ValueError, match="5"):
        Feedback({"honesty": 5})
    with pytest.raises(ValueError, match="beauty"):
        Feedback({"beauty": 4})


def test_dense_levels_share_a_level_on_equal_keys():
    assert dense_levels([0.1, 0.5, 0.1, 0.2]) == [0, 2, 0, 1]


def rated(text, **ratings):
    return answer(text, feedback=Feedback(ratings) if ratings else None)


def test_an_interaction_orders_by_mean_then_lowest_criterion_then_tie():
    turns = [
        (QUESTION, rated("flat", honesty=3, helpfulness=3)),
        ({"role": "user", "content": "again"}, rated("uneven", honesty=2, helpfulness=4)),
        ({"role": "user", "content": "again"}, rated("best", honesty=4, helpfulness=3)),
        ({"role": "user", "content": "again"}, rated("flat too", honesty=3, helpfulness=3)),
        ({"role": "user", "content": "again"}, rated("unrated")),
    ]
    result = Interaction("i", [CAT], turns).ladder()
    assert [(r.text, r.level) for r in result.responses] == [
        ("best", 0),
        ("flat", 1),
        ("flat too", 1),
        ("uneven", 2),
    ]


def test_an_interaction_whose_answers_share_no_criterion_is_a_tie():
    turns = [
        (QUESTION, rated("one", harmlessness=4)),
        ({"role": "user", "content": "again"}, rated("two", honesty=4, helpfulness=2)),
    ]
    result = Interaction("i", [CAT], turns).ladder()
    assert [(r.text, r.level) for r in result.responses] == [("one", 0), ("two", 0)]


def test_rounds_carry_history_without_conditions():
    first, second = answer("one", condition="Rating: 4"), answer("two", condition="Rating: 2")
    more = {"role": "user", "content": "again"}
    one, two = Interaction("i", [CAT], [(QUESTION, first), (more, second)]).rounds()
    assert one.prompt == [QUESTION] and one.responses == [first]
    assert two.prompt == [QUESTION, {"role": "assistant", "content": "one"}, more]
    assert two.responses == [second] and two.responses[0].condition == "Rating: 2"


def test_free_notes_must_not_use_the_names_of_typed_ones():
    with pytest.raises(ValueError, match="'check'"):
        Ladder("a", [CAT], [QUESTION], notes={"check": {}})


def test_rounds_say_which_interaction_and_round_they_are():
    turns = [(QUESTION, answer("one")), ({"role": "user", "content": "again"}, answer("two"))]
    ladders = Interaction("i", [CAT], turns).rounds()
    assert [ladder.id for ladder in ladders] == ["i#0", "i#1"]
    assert [ladder.round_of for ladder in ladders] == [RoundOf("i", 0), RoundOf("i", 1)]
    assert [ladder.interaction for ladder in ladders] == ["i", "i"]


def test_rounds_say_how_the_answer_before_was_rated():
    more = {"role": "user", "content": "again"}
    turns = [(QUESTION, rated("one", honesty=3)), (more, rated("two")), (more, rated("three", honesty=2))]
    ladders = Interaction("i", [CAT], turns).rounds()
    assert [ladder.ratings_before for ladder in ladders] == [{}, {"honesty": 3}, {}]

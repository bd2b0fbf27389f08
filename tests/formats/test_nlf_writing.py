"""Ladders become LVLM_NLF's records, and read again they are the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from seelevel.formats import convert, read
from seelevel.formats.nlf import write as write_nlf
from seelevel.ladder import Feedback, Image, Interaction, Ladder, Message, Response
from seelevel.levels import CRITERIA
from seelevel.notes import RoundOf
from tests.formats.interactions import PUBLIC, rounds, said, turn
from tests.formats.made import picture, write

pytestmark = pytest.mark.unit


def again(folder: Path, ladders: list[Ladder]) -> tuple[int, list[Ladder]]:
    """Written beside the pictures and read again: how many records, and their ladders."""
    count = write_nlf(ladders, folder / "again.jsonl")
    return count, [entry for entry in read(folder / "again.jsonl", form="nlf") if isinstance(entry, Ladder)]


def test_a_public_record_is_written_as_it_was(tmp_path: Path) -> None:
    assert write_nlf(rounds(tmp_path, **PUBLIC), tmp_path / "out.jsonl") == 1
    (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
    assert json.loads(line) == {**PUBLIC, "id": "x", "caption": ["A cup on a table."]}


def test_everything_that_feedback_holds_comes_back(tmp_path: Path) -> None:
    path = str(picture(tmp_path, "images/a.png").resolve())
    (seen,) = rounds(tmp_path / "images", image="a.png", interaction=[turn()])
    given = [
        Feedback({"helpfulness": 2, "honesty": 1}, "No “dog”.", "Look again.", "judge"),
        Feedback({}, "", "", "judge"),
        None,
        Feedback({"helpfulness": 3}, "Fair.", ""),
    ]
    turns = [
        (
            Message(role="user", content="<image>\nWhat is it?" if n == 0 else f"question {n}"),
            Response([Message(role="assistant", content=f"answer {n}")], 0, {"kind": "given"}, feedback=word),
        )
        for n, word in enumerate(given)
    ]
    images = [Image(path, seen.images[0].sha256)]
    one = Interaction("a", images, turns, {"image_content": ["A cup.", "Red."], "objects": ["cup"]}).rounds()
    two = Interaction("b", images, turns[:1], {"image_content": "a text"}).rounds()
    # in any order, for a stage may have shuffled them
    assert again(tmp_path, [one[2], two[0], one[0], one[3], one[1]]) == (2, [*one, *two])


words = some.text(some.characters(codec="utf-8", exclude_characters="<>"), min_size=1).filter(str.strip)
word_of_a_judge = some.none() | some.builds(
    Feedback, some.dictionaries(some.sampled_from(CRITERIA), some.integers(1, 4)), some.text("ab "), words, words
)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    some.lists(some.tuples(words, words, word_of_a_judge), min_size=1, max_size=4),
    some.dictionaries(words | some.just("image_content"), some.integers() | some.lists(words), max_size=2),
)
def test_what_is_written_is_read_again_the_same(tmp_path: Path, turns: list[Any], known: dict[str, Any]) -> None:
    said = [
        (
            Message(role="user", content=question),
            Response([Message(role="assistant", content=answer)], 0, feedback=word),
        )
        for question, answer, word in turns
    ]
    ladders = Interaction("a", [], [(u, replace(r, origin={"kind": "given"})) for u, r in said], known).rounds()
    assert again(tmp_path, ladders) == (1, ladders)


def test_a_ladder_with_several_responses_is_a_record_for_each(tmp_path: Path) -> None:
    responses = [Response(said("", f"answer {n}")[1:], n, feedback=Feedback({"honesty": 4 - n})) for n in range(3)]
    count, back = again(tmp_path, [Ladder("k", [], said("What?"), responses)])
    assert count == 3
    assert [(x.id, x.responses[0].text, x.responses[0].feedback) for x in back] == [
        (f"k/{n}#0", f"answer {n}", Feedback({"honesty": 4 - n})) for n in range(3)
    ]


def test_a_dialogue_is_one_record_with_feedback_at_its_end(tmp_path: Path) -> None:
    response = Response(said("", "A cup.", "Which colour?", "Red.")[1:], 0, feedback=Feedback({"honesty": 4}))
    count, back = again(tmp_path, [Ladder("d", [], said("What?"), [response])])
    assert count == 1
    assert [(x.prompt[-1]["content"], x.responses[0].feedback) for x in back] == [
        ("What?", None),
        ("Which colour?", Feedback({"honesty": 4})),
    ]


def test_rounds_that_do_not_fit_are_not_written_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = rounds(tmp_path, **PUBLIC)
    other = replace(second, prompt=[first.prompt[0], *said("", "Another answer.", "Look again.")[1:]])
    for ladders, kept in (
        ([first, other], 1),
        ([first, replace(second, responses=second.responses * 2)], 1),
        ([second], 0),
    ):
        count, back = again(tmp_path, ladders)
        assert (count, [r.text for ladder in back for r in ladder.responses]) == (kept, ["A dog."] * kept)
        answers = sum(len(ladder.responses) for ladder in ladders)
        assert f"{answers - kept} of {answers} answers not written" in capsys.readouterr().err


def test_an_answer_is_round_0_of_rounds_that_continue_it(tmp_path: Path) -> None:
    first, second = rounds(tmp_path, **PUBLIC)
    expert = Response(said("", "A bowl.")[1:], 1, {"kind": "given"}, feedback=Feedback({"honesty": 1}))
    whole = replace(first, id="x", responses=[*first.responses, expert], round_of=None)
    for ladders in ([whole, second], [second, whole]):
        count, back = again(tmp_path, ladders)
        assert count == 2
        assert sorted((one.interaction, one.responses[0].text) for one in back) == [
            ("x", "A cup."), ("x", "A dog."), ("x/0", "A bowl."),
        ]  # fmt: skip
        assert [one for one in back if one.interaction == "x"] == [first, second]


def test_a_response_of_its_own_takes_no_conversations_name(tmp_path: Path) -> None:
    """Of responses 0 to 2 the first was left out as unscored; response 1 is a dialogue, `k/1`."""
    responses = [Response(said("", text)[1:], n, {"kind": "given"}) for n, text in enumerate(["One.", "Other."])]
    later = Ladder("k/1#1", [], said("What?", "One.", "And?"), [Response(said("", "Two.")[1:], 0, {"kind": "given"})],
                   round_of=RoundOf("k/1", 1))  # fmt: skip
    count, back = again(tmp_path, [Ladder("k", [], said("What?"), responses), later])
    assert count == 2
    assert [(one.id, one.responses[0].text) for one in back] == [
        ("k/1#0", "One."), ("k/1#1", "Two."), ("k/0#0", "Other."),
    ]  # fmt: skip


def test_what_a_record_has_no_place_for_is_not_written(tmp_path: Path) -> None:
    answer = [Response(said("", "A cup.")[1:], 0)]
    system = [Message(role="system", content="Be brief."), *said("What?")]
    later = said("What?", "A cup.", "<image>\nAnd here?")
    ladders = [
        Ladder("unanswered", [], said("What?")),
        Ladder("system", [], system, answer),
        Ladder("later", [Image("a.png")], later, answer),
        Ladder("empty", [], said("What?"), [Response(said("", " ")[1:], 0)]),
        Ladder("good", [], said("What?"), answer),
    ]
    count, back = again(tmp_path, ladders)
    assert (count, [ladder.id for ladder in back]) == (1, ["good#0"])


def test_rounds_survive_parquet_on_the_way(tmp_path: Path) -> None:
    picture(tmp_path / "pictures", "000000000009.jpg")
    source = write(tmp_path / "n.json", [{**PUBLIC, "id": n} for n in range(3)])
    convert(source, tmp_path / "x.parquet", images=tmp_path / "pictures")
    assert convert(tmp_path / "x.parquet", tmp_path / "out" / "y.jsonl", target_format="nlf")["written"] == 3
    back = [json.loads(line) for line in (tmp_path / "out" / "y.jsonl").read_text().splitlines()]
    assert [entry["interaction"] for entry in back] == [PUBLIC["interaction"]] * 3
    assert all((tmp_path / "out" / entry["image_id"]).is_file() for entry in back)

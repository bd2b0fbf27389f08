"""LVLM_NLF's interactions become a ladder a round, and come back as they were."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from seelevel.formats import Rejected, convert, guess_format, read
from seelevel.formats.nlf import write as write_nlf
from seelevel.judge import image_content
from seelevel.ladder import CRITERIA, Feedback, Image, Interaction, Ladder, Message, Response
from tests.formats.made import picture, write

pytestmark = pytest.mark.unit


def turn(user: Any = "What is it?", model: Any = "A cup.", **more: Any) -> dict[str, Any]:
    return {"user": user, "model": model, **more}


PUBLIC = {
    "image_id": "000000000009.jpg",
    "caption": "A cup on a table.",
    "interaction": [
        turn(model="A dog.", rating="1", **{"critique NLF": "There is no dog."}),
        turn("Look at the table again.", "A cup.", rating="4", **{"critique NLF": "Right."}),
    ],
}


def load(folder: Path, *entries: Any) -> list[Ladder | Rejected]:
    picture(folder, "000000000009.jpg")
    picture(folder, "b.png", 9)
    (folder / "nlf.json").write_text(json.dumps(entries))  # as ASCII, for one holds half of a surrogate pair
    return list(read(folder / "nlf.json", form="nlf"))


def rounds(folder: Path, **entry: Any) -> list[Ladder]:
    found = [ladder for ladder in load(folder, {"id": "x", **entry}) if isinstance(ladder, Ladder)]
    assert found
    return found


def feedback(folder: Path, **entry: Any) -> list[Feedback | None]:
    return [ladder.responses[0].feedback for ladder in rounds(folder, **entry)]


def said(*texts: str) -> list[Message]:
    return [Message(role="assistant" if n % 2 else "user", content=text) for n, text in enumerate(texts)]


def again(folder: Path, ladders: list[Ladder]) -> tuple[int, list[Ladder]]:
    """Written beside the pictures and read again: how many records, and their ladders."""
    count = write_nlf(ladders, folder / "again.jsonl")
    return count, [entry for entry in read(folder / "again.jsonl", form="nlf") if isinstance(entry, Ladder)]


def test_each_round_is_a_ladder_with_the_history_as_prompt(tmp_path: Path) -> None:
    first, second = rounds(tmp_path, **PUBLIC)
    assert (first.id, first.notes) == ("x#0", {"interaction": "x", "round": 0})
    assert (second.id, second.notes) == ("x#1", {"interaction": "x", "round": 1, "before": {"helpfulness": 1}})
    assert first.prompt == said("<image>\nWhat is it?")
    assert second.prompt == said("<image>\nWhat is it?", "A dog.", "Look at the table again.")
    assert [r.text for r in first.responses + second.responses] == ["A dog.", "A cup."]
    assert first.responses[0].origin == {"kind": "given"}
    assert first.images == second.images and len(first.images[0].sha256) == 64


def test_a_public_rating_is_one_of_helpfulness_and_the_refinement_is_the_next_user_turn(tmp_path: Path) -> None:
    assert feedback(tmp_path, **PUBLIC) == [
        Feedback({"helpfulness": 1}, "There is no dog.", "Look at the table again."),
        Feedback({"helpfulness": 4}, "Right."),
    ]


@pytest.mark.parametrize("rating", ["3", "3.0", " 3 ", 3, 3.0])
@pytest.mark.parametrize("key", ["critique NLF", "critique_NLF"])
def test_ratings_may_be_texts_or_numbers_and_both_critique_keys_are_read(tmp_path: Path, rating: Any, key: str) -> None:
    entry = turn(rating=rating, **{key: "Fair."})
    assert feedback(tmp_path, interaction=[entry]) == [Feedback({"helpfulness": 3}, "Fair.")]


def test_our_own_keys_hold_ratings_by_criterion_a_refinement_and_the_annotator(tmp_path: Path) -> None:
    ratings = {"honesty": 2, "harmlessness": "4"}
    rated = turn(rating=ratings, refinement="Count them.", annotator="judge")
    assert feedback(tmp_path, interaction=[rated, turn("And now?")]) == [
        Feedback({"honesty": 2, "harmlessness": 4}, "", "Count them.", "judge"),
        None,
    ]


@pytest.mark.parametrize(
    ("caption", "lines"),
    [
        ("A cup.", ["A cup."]),
        ("A cup.\n\nA table.", ["A cup.", "A table."]),
        (["A cup.", "A table."], ["A cup.", "A table."]),
        (None, []),
        ("", []),
    ],
)
def test_the_caption_is_what_judges_are_shown(tmp_path: Path, caption: Any, lines: list[str]) -> None:
    (ladder,) = rounds(tmp_path, caption=caption, interaction=[turn()])
    assert image_content(ladder) == lines


def test_annotations_stay_beside_the_caption(tmp_path: Path) -> None:
    (ladder,) = rounds(tmp_path, caption="A cup.", annotations={"objects": ["cup"]}, interaction=[turn()])
    assert ladder.annotations == {"objects": ["cup"], "image_content": ["A cup."]}


@pytest.mark.parametrize(
    ("image_id", "file"),
    [
        ("a.jpg", "a.jpg"),
        ("street/a", "street/a.jpg"),
        ("a", "a.jpeg"),
        ("a", "a.png"),
        (9, "000000000009.jpg"),
        ("9", "000000000009.jpg"),
        (9, "COCO_train2014_000000000009.jpg"),
        ("000000000009", "COCO_val2014_000000000009.jpg"),
        ("000000000009.jpg", "COCO_val2014_000000000009.jpg"),
        ("COCO_train2014_000000000009", "COCO_train2014_000000000009.jpg"),
        ("COCO_train2014_000000000009.jpg", "000000000009.jpg"),
        ("COCO_val2014_000000000009", "000000000009.jpg"),
    ],
)
def test_image_id_is_a_name_with_or_without_suffix_or_a_number_of_coco(
    tmp_path: Path, image_id: Any, file: str
) -> None:
    expected = picture(tmp_path / "pictures", file)
    (ladder,) = read(write(tmp_path / "n.json", [{"image_id": image_id, "interaction": [turn()]}]), expected.parent)
    if "/" in file:
        assert isinstance(ladder, Rejected)  # the folder below it was given
        (ladder,) = read(tmp_path / "n.json", tmp_path / "pictures")
    assert isinstance(ladder, Ladder)
    assert ladder.images[0].path == str(expected.resolve())


def test_image_goes_before_image_id_and_may_be_a_list(tmp_path: Path) -> None:
    (ladder,) = rounds(tmp_path, image=["b.png", "000000000009.jpg"], image_id="nope", interaction=[turn()])
    assert [Path(image.path).name for image in ladder.images] == ["b.png", "000000000009.jpg"]
    assert ladder.prompt == said("<image>\n<image>\nWhat is it?")


def bad(*turns: Any, **more: Any) -> dict[str, Any]:
    return {"image_id": 9, "interaction": [turn(rating="3"), *turns], **more}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (3, "not a mapping"),
        ({"image_id": 9}, "no interaction"),
        ({"image_id": 9, "interaction": []}, "no interaction"),
        ({"image_id": 9, "interaction": "Hi"}, "interaction is not a list of turns"),
        (bad("Hi"), "interaction[1] is not a mapping"),
        (bad(turn(rating="5")), "interaction[1].rating '5' is not a whole number from 1 to 4"),
        (bad(turn(rating="0")), "interaction[1].rating '0' is not a whole number from 1 to 4"),
        (bad(turn(rating=3.5)), "interaction[1].rating '3.5' is not a whole number from 1 to 4"),
        (bad(turn(rating="good")), "interaction[1].rating 'good' is not a whole number from 1 to 4"),
        (bad(turn(rating="")), "interaction[1].rating '' is not a whole number from 1 to 4"),
        (bad(turn(rating=float("nan"))), "interaction[1].rating 'nan' is not a whole number from 1 to 4"),
        (bad(turn(rating=True)), "interaction[1].rating is no number"),
        (bad(turn(rating=["3"])), "interaction[1].rating is no number"),
        (bad(turn(rating={"honesty": 7})), "interaction[1].rating '7' is not a whole number from 1 to 4"),
        (bad(turn(rating={"honesty": None})), "interaction[1].rating is no number"),
        (
            bad(turn(rating={"wit": 3})),
            "interaction[1].rating has the criterion 'wit', which is none of helpfulness, honesty, harmlessness",
        ),
        (bad(turn(rating="\ud800")), "interaction[1].rating holds half of a surrogate pair, which is no Unicode text"),
        (bad(turn(model=" ")), "interaction[1].model is empty"),
        (bad(turn(user="")), "interaction[1].user is empty"),
        (bad({"user": "Hi"}), "interaction[1].model is null, not a text"),
        (bad(turn(user=3)), "interaction[1].user is a number, not a text"),
        (bad(turn(**{"critique NLF": ["no"]})), "interaction[1].critique is a list, not a text"),
        (bad(turn(refinement=3)), "interaction[1].refinement is a number, not a text"),
        (bad(turn(annotator={})), "interaction[1].annotator is a mapping, not a text"),
        (bad(turn("<image> And this?")), "an <image> mark after the first question"),
        (bad(turn(model="An <image>.")), "turn 4 is an answer with an <image> mark"),
        (bad(image_id="nope"), "image 'nope' is missing"),
        (bad(image_id="../out"), "image '../out' leaves the image folder"),
        (bad(image_id=True), "image_id is true or false, not a whole number or a text"),
        (bad(image_id=9.5), "image_id is a number, not a whole number or a text"),
        (bad(image=3), "image is a number, not a text"),
        (bad(caption=3), "caption is a number, not a text"),
        (bad(caption=[3]), "a line of caption is a number, not a text"),
        (bad(annotations=[]), "annotations is a list, not a mapping"),
        (bad(id=[1]), "id is a list, not a whole number or a text"),
    ],
)
def test_a_record_with_a_bad_turn_is_set_aside_as_a_whole(tmp_path: Path, entry: Any, reason: str) -> None:
    picture(tmp_path, "out.jpg")
    folder = tmp_path / "inside"
    first, second, wrong = load(folder, PUBLIC, entry)
    assert isinstance(first, Ladder) and isinstance(second, Ladder)
    assert isinstance(wrong, Rejected)
    assert (wrong.where, wrong.reason) == ("nlf.json[1]", reason)


def test_of_two_records_with_one_id_the_longer_second_lends_no_round_to_the_first(tmp_path: Path) -> None:
    found = load(tmp_path, {"id": 1, "interaction": [turn()]}, {**PUBLIC, "id": 1})
    assert [entry.id for entry in found] == ["1#0", "1"]
    assert isinstance(found[1], Rejected)
    assert found[1].reason == "id seen before (the first record stays)"


def test_json_lines_are_told_by_interaction(tmp_path: Path) -> None:
    picture(tmp_path, "000000000009.jpg")
    (tmp_path / "n.json").write_text(f"{json.dumps(PUBLIC)}\n{json.dumps(PUBLIC)}\n")
    assert guess_format(tmp_path / "n.json") == "nlf"
    assert [entry.id for entry in read(tmp_path / "n.json")] == ["n-0#0", "n-0#1", "n-1#0", "n-1#1"]


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


def test_a_dialogue_is_a_record_of_its_rounds_with_the_feedback_at_the_last(tmp_path: Path) -> None:
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


def test_an_answer_is_round_0_of_the_rounds_that_go_on_from_it(tmp_path: Path) -> None:
    first, second = rounds(tmp_path, **PUBLIC)
    expert = Response(said("", "A bowl.")[1:], 1, {"kind": "given"}, feedback=Feedback({"honesty": 1}))
    whole = replace(first, id="x", responses=[*first.responses, expert], notes={})
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
                   notes={"interaction": "k/1", "round": 1})  # fmt: skip
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


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
    lambda inner: some.lists(inner, max_size=3)
    | some.dictionaries(some.sampled_from(["id", "image_id", "interaction", "user", "model", "rating"]), inner),
))  # fmt: skip
def test_no_json_value_stops_the_reading(tmp_path: Path, value: Any) -> None:
    good = {"id": "good", "interaction": [turn()], "query": "What?"}
    path = tmp_path / "n.json"
    path.write_text(json.dumps([value, {"interaction": [value]}, {"interaction": [turn(rating=value)]}, good]))
    for form in ("nlf", "vlsafe"):
        found = list(read(path, form=form))
        assert all(isinstance(entry, Ladder | Rejected) for entry in found)
        assert found[-1].id.startswith("good")

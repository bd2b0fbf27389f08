"""LVLM_NLF's interactions become a ladder a round, and come back as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from seelevel.formats import Rejected, guess_format, read
from seelevel.formats.sources import Source
from seelevel.judge import image_content
from seelevel.ladder import Feedback, Ladder
from seelevel.notes import RoundOf
from tests.formats.interactions import PUBLIC, load, rounds, said, turn
from tests.formats.made import picture, write

pytestmark = pytest.mark.unit


def feedback(folder: Path, **entry: Any) -> list[Feedback | None]:
    return [ladder.responses[0].feedback for ladder in rounds(folder, **entry)]


def test_each_round_is_a_ladder_with_the_history_as_prompt(tmp_path: Path) -> None:
    first, second = rounds(tmp_path, **PUBLIC)
    assert (first.id, first.round_of) == ("x#0", RoundOf("x", 0))
    assert (second.id, second.round_of) == ("x#1", RoundOf("x", 1, {"helpfulness": 1}))
    assert first.prompt == said("<image>\nWhat is it?")
    assert second.prompt == said("<image>\nWhat is it?", "A dog.", "Look at the table again.")
    assert [r.text for r in first.responses + second.responses] == ["A dog.", "A cup."]
    assert first.responses[0].origin == {"kind": "given"}
    assert first.images == second.images and len(first.images[0].sha256) == 64


def test_public_ratings_are_helpfulness_and_refinements_the_next_user_turn(tmp_path: Path) -> None:
    assert feedback(tmp_path, **PUBLIC) == [
        Feedback({"helpfulness": 1}, "There is no dog.", "Look at the table again."),
        Feedback({"helpfulness": 4}, "Right."),
    ]


@pytest.mark.parametrize("rating", ["3", "3.0", " 3 ", 3, 3.0])
@pytest.mark.parametrize("key", ["critique NLF", "critique_NLF"])
def test_ratings_may_be_texts_and_critiques_have_two_keys(tmp_path: Path, rating: Any, key: str) -> None:
    entry = turn(rating=rating, **{key: "Fair."})
    assert feedback(tmp_path, interaction=[entry]) == [Feedback({"helpfulness": 3}, "Fair.")]


def test_a_rating_of_nan_is_none(tmp_path: Path) -> None:
    assert feedback(tmp_path, interaction=[turn(rating=float("nan"), critique_NLF="Fair.")]) == [Feedback({}, "Fair.")]


def test_our_keys_hold_criteria_refinement_and_annotator(tmp_path: Path) -> None:
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
def test_image_id_is_a_file_name_or_a_coco_number(tmp_path: Path, image_id: Any, file: str) -> None:
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
        (bad(turn(rating=True)), "interaction[1].rating is not a number"),
        (bad(turn(rating=["3"])), "interaction[1].rating is not a number"),
        (bad(turn(rating={"honesty": 7})), "interaction[1].rating '7' is not a whole number from 1 to 4"),
        (bad(turn(rating={"honesty": None})), "interaction[1].rating is not a number"),
        (
            bad(turn(rating={"wit": 3})),
            "interaction[1].rating has the criterion 'wit', not one of helpfulness, honesty, harmlessness",
        ),
        (
            bad(turn(rating="\ud800")),
            "interaction[1].rating holds half of a surrogate pair, so it is not valid Unicode",
        ),
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
        (bad(image_id=[9]), "image_id is a list, not a whole number or a text"),
        (bad(image=3), "image is a number, not a text"),
        (bad(caption=3), "caption is a number, not a text"),
        (bad(caption=[3]), "a line of caption is a number, not a text"),
        (bad(annotations=[]), "annotations is a list, not a mapping"),
        (bad(id=[1]), "id is a list, not a whole number or a text"),
    ],
)
def test_one_bad_turn_sets_a_whole_record_aside(tmp_path: Path, entry: Any, reason: str) -> None:
    picture(tmp_path, "out.jpg")
    folder = tmp_path / "inside"
    first, second, wrong = load(folder, PUBLIC, entry)
    assert isinstance(first, Ladder) and isinstance(second, Ladder)
    assert isinstance(wrong, Rejected)
    assert (wrong.where, wrong.reason) == ("nlf.json[1]", reason)


def test_a_record_takes_no_rounds_from_another_with_its_id(tmp_path: Path) -> None:
    found = load(tmp_path, {"id": 1, "interaction": [turn()]}, {**PUBLIC, "id": 1})
    assert [entry.id for entry in found] == ["1#0", "1~2#0", "1~2#1"]
    assert [entry.interaction for entry in found if isinstance(entry, Ladder)] == ["1", "1~2", "1~2"]


def test_json_lines_are_told_by_interaction(tmp_path: Path) -> None:
    picture(tmp_path, "000000000009.jpg")
    (tmp_path / "n.json").write_text(f"{json.dumps(PUBLIC)}\n{json.dumps(PUBLIC)}\n")
    assert guess_format(Source(tmp_path / "n.json")) == "nlf"
    assert [entry.id for entry in read(tmp_path / "n.json")] == ["n-0#0", "n-0#1", "n-1#0", "n-1#1"]


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

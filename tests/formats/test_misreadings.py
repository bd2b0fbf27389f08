"""Records that could be read as something else than they say: they are read right, or set aside with the remedy."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from seelevel.errors import InputError
from seelevel.formats import Rejected, read
from tests.formats.made import essence, parsed, picture

pytestmark = pytest.mark.unit
ASKED = {"image": "a.png", "question": "What?"}
USER, GOOD, BAD = ({"role": "user", "content": "What?"}, {"role": "assistant", "content": "A cup."},
                   {"role": "assistant", "content": "A dog."})  # fmt: skip
PAIR = (["a.png"], ["<image>\nWhat?"], [(0, "A cup."), (1, "A dog.")])


def read_as(tmp_path: Path, entry: dict[str, Any]) -> Any:
    picture(tmp_path, "a.png")
    picture(tmp_path, "b.png", 9)
    return essence(parsed(entry, tmp_path))


@pytest.mark.parametrize(
    "entry",
    [
        {"image": "a.png", "chosen": json.dumps([USER, GOOD]), "rejected": json.dumps([USER, BAD])},
        {**ASKED, "chosen": json.dumps(GOOD), "rejected": json.dumps(BAD)},
        {"image": "a.png", "prompt": json.dumps([USER]), "chosen": "A cup.", "rejected": "A dog."},
        {"image": "a.png", "messages": json.dumps([USER, GOOD]), "rejected_response": json.dumps(BAD)},
    ],
)
def test_turns_in_a_tables_text_are_turns(tmp_path: Path, entry: dict[str, Any]) -> None:
    assert read_as(tmp_path, entry) == PAIR


def test_turns_as_python_writes_them_are_set_aside(tmp_path: Path) -> None:
    reason = read_as(tmp_path, {**ASKED, "chosen": str([USER, GOOD]), "rejected": str([USER, BAD])})
    assert reason == "chosen holds turns in a text that is not JSON; save the table as Parquet or JSON lines"


@pytest.mark.parametrize("label", [{"label": "False"}, {"label": 0}, {"kto_tag": "true"}, {"label": True}])
def test_one_answer_with_a_label_is_no_standard_response(tmp_path: Path, label: dict[str, Any]) -> None:
    entry = {"image": "a.png", "prompt": "What?", "completion": "A dog.", **label}
    assert "says whether one answer is good (KTO)" in read_as(tmp_path, entry)


def test_a_class_beside_an_answer_is_no_label_of_it(tmp_path: Path) -> None:
    assert read_as(tmp_path, {**ASKED, "answer": "A cup.", "label": 1})[2] == [(0, "A cup.")]


@pytest.mark.parametrize("key", ["choices", "options"])
def test_a_choice_without_its_choices_is_set_aside(tmp_path: Path, key: str) -> None:
    for choices in (["a cup", "a dog"], "['a cup', 'a dog']", {"A": "a cup", "B": "a dog"}):
        reason = read_as(tmp_path, {**ASKED, key: choices, "answer": 1})
        assert reason == f"the {key} are not in the question; write them into it, and the answer as a text"
    asked = {"image": "a.png", "question": "What? A. a cup B. a dog", key: ["a cup", "a dog"], "answer": "B"}
    assert read_as(tmp_path, asked)[2] == [(0, "B")]


def test_an_index_is_not_an_answer(tmp_path: Path) -> None:
    entry = {**ASKED, "responses": ["A cup.", "A dog."], "chosen": 0, "rejected": 1}
    assert read_as(tmp_path, entry) == "chosen and rejected are numbers beside responses; write the answers themselves"
    counts = {"image": "a.png", "question": "How many?", "chosen": 2, "rejected": 3}
    assert read_as(tmp_path, counts)[2] == [(0, "2"), (1, "3")]


@pytest.mark.parametrize("key", ["image_2", "image2", "images_1", "img-2"])
def test_a_numbered_picture_beside_another_is_not_lost(tmp_path: Path, key: str) -> None:
    reason = read_as(tmp_path, {**ASKED, key: "b.png", "answer": "A cup."})
    assert reason == f"'{key}' seems to hold another picture, but is not read; list all of them under images"
    assert read_as(tmp_path, {**ASKED, key: None, "answer": "A cup."})[0] == ["a.png"]


@pytest.mark.parametrize(
    "order", [{"winner": "output_2"}, {"preferred": 2}, {"scores": [1, 9]}, {"score_2": 9}, {"rank": [2, 1]}]
)
def test_outputs_with_an_order_that_is_not_read_are_set_aside(tmp_path: Path, order: dict[str, Any]) -> None:
    (key,) = order
    reason = read_as(tmp_path, {**ASKED, "output_1": "A dog.", "output_2": "A cup.", **order})
    assert reason == f"{key} seems to order the outputs, but is not read; put the best first, remove {key}"


@pytest.mark.parametrize("first, second", [("score_chosen", "score_rejected"), ("chosen_score", "rejected_score"),
                                           ("chosen-rating", "rejected-rating")])  # fmt: skip
def test_a_pair_against_its_scores_is_set_aside(tmp_path: Path, first: str, second: str) -> None:
    entry = {**ASKED, "chosen": "A dog.", "rejected": "A cup.", first: 1, second: 5}
    assert read_as(tmp_path, entry) == f"{first} 1 is below {second} 5"


@pytest.mark.parametrize("key", ["response_a", "response_1", "answer_b", "negative_messages"])
def test_lettered_answers_are_not_passed_over(tmp_path: Path, key: str) -> None:
    entry = {**ASKED, key: "A dog.", "winner": "model_b"}
    assert (
        read_as(tmp_path, entry) == f"{key} seems to hold another answer, but is not read; call it chosen or rejected"
    )


def test_a_list_of_texts_is_named_as_answers(tmp_path: Path) -> None:
    reason = read_as(tmp_path, {**ASKED, "output": ["A cup.", "A dog."]})
    assert reason == "output is a list of answers; call it responses, with scores or ranks, or name chosen and rejected"


def test_a_table_may_hold_a_large_picture_as_base64(tmp_path: Path) -> None:
    raw = picture(tmp_path, "a.png").read_bytes()
    text = base64.b64encode(raw + bytes(200_000)).decode()
    (tmp_path / "t.tsv").write_text(f"index\timage\tquestion\tanswer\n0\t{text}\tWhat?\tA cup.\n")
    (found,) = read(tmp_path / "t.tsv")
    assert not isinstance(found, Rejected) and len(found.images) == 1


def test_a_table_of_semicolons_is_split_at_them(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('\ufeffid;question;answer\r\n7;"What; where?";A cup, red.\r\n', encoding="utf-8")
    (found,) = read(tmp_path / "t.csv")
    assert essence(found) == ([], ["What; where?"], [(0, "A cup, red.")])


def test_a_folder_of_tables_is_read_in_order(tmp_path: Path) -> None:
    for number in (10, 2):
        (tmp_path / f"part-{number}.csv").write_text(f"question,answer\nq{number},x\n")
    assert [x.prompt[0]["content"] for x in read(tmp_path) if not isinstance(x, Rejected)] == ["q2", "q10"]


def test_a_table_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("question,answer\nWhat?,x\nWas für?,x\n".encode("latin-1"))
    with pytest.raises(InputError, match="line 3: not UTF-8 text"):
        list(read(tmp_path / "t.csv"))


def test_an_empty_question_after_an_answer_is_set_aside(tmp_path: Path) -> None:
    turns = [USER, GOOD, {"role": "user", "content": " "}]
    assert read_as(tmp_path, {"image": "a.png", "messages": turns}) == "turn 3 is an empty question"
    turns[2] = {"role": "user", "content": "<image>"}
    shown = {"image": ["a.png", "b.png"], "messages": [{**USER, "content": "<image>What?"}, *turns[1:]]}
    assert read_as(tmp_path, shown)[:2] == (["a.png", "b.png"], ["<image>What?", "A cup.", "<image>"])


def test_a_pointer_in_place_of_a_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "l.jpg").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    (tmp_path / "p.json").write_text(json.dumps([{"image": "l.jpg", "question": "What?"}]))
    (found,) = read(tmp_path / "p.json")
    assert isinstance(found, Rejected) and "git lfs pull" in found.reason


def test_a_table_with_one_name_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("question,answer,answer\nWhat?,A cup.,A dog.\n")
    with pytest.raises(InputError, match="line 1: the header has 'answer' twice; rename"):
        list(read(tmp_path / "t.csv"))

"""HallusionBench: figures by hand, with a judge's checks and from the answers themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seelevel.errors import InputError
from seelevel.scorers.files import Entry
from seelevel.scorers.hallusion import read_verdict, score, score_files

pytestmark = pytest.mark.unit
CHECK = "gpt4v_output_gpt_check"


def item(place: str, **more: Any) -> dict[str, Any]:
    """A record of 'VD/illusion/0/1/0': category, subcategory, set, figure, question."""
    names = ("category", "subcategory", "set_id", "figure_id", "question_id")
    return {**dict(zip(names, place.split("/"), strict=True)), "gt_answer": "1", **more}


def entries(*records: dict[str, Any]) -> list[Entry]:
    return [Entry(record, f"answers, record {n}") for n, record in enumerate(records, 1)]


def checked(**checks: str) -> list[Entry]:
    return entries(*(item(place, **{CHECK: check}) for place, check in checks.items()))


def test_two_categories_worked_out_by_hand() -> None:
    # pairs: VD question 0 is right on one of two figures, question 1 right; VS question 0 right, for unclear is right
    # without a figure. Figures: VD 0 right, VD 1 wrong in one question; VS 0 is none, VS 1 right.
    answers = checked(
        **{"VD/map/0/0/0": "1", "VD/map/0/1/0": "0", "VD/map/0/1/1": "1", "VS/map/0/0/0": "2", "VS/map/0/1/0": "1"}
    )
    found = score(answers)
    assert (found["a_acc"], found["q_acc"], found["f_acc"]) == (4 / 5, 2 / 3, 2 / 3)
    assert (found["n"], found["pairs"], found["figures"]) == (5, 3, 3)
    assert [found["per_category"][name]["a_acc"] for name in ("VD", "VS")] == [2 / 3, 1.0]


def test_an_unclear_answer_to_a_figure_is_wrong() -> None:
    assert score(checked(**{"VD/map/0/0/0": "2", "VS/map/0/1/0": "2"}))["a_acc"] == 0.0


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Yes.", 1),
        ("yes, there is", 1),
        ("1", 1),
        ("No", 0),
        ("There is no such line", 0),
        ("0", 0),
        ("2", 2),
        ("I am not", 0),
        ("It is hard to tell.", None),
        ("", None),
        (None, None),
    ],
)
def test_an_answer_is_read_as_yes_or_no(text: str | None, verdict: int | None) -> None:
    assert read_verdict(text, "yes") == verdict


def test_answers_without_checks_are_compared_with_the_truth() -> None:
    answers = entries(
        item("VD/map/0/0/0", model_prediction="Yes."),
        item("VD/map/0/1/0", model_prediction="<think>No?</think>No.", gt_answer=0),
        item("VS/map/0/0/0", model_prediction="Hard to tell."),
        item("VD/map/0/2/0", model_prediction="Hard to tell."),
    )
    published, strict = score(answers), score(answers, rule="strict")
    assert (published["a_acc"], published["n"], published["check"]) == (3 / 4, 4, None)
    assert (strict["a_acc"], strict["n"]) == (1.0, 2)
    assert published["unparsable_ids"] == strict["unparsable_ids"] == ["VS/map/0/0/0", "VD/map/0/2/0"]


def test_missing_and_doubled_items_are_named() -> None:
    questions = entries(item("VD/map/0/0/0"), item("VD/map/0/1/0"))
    answers = entries(item("VD/map/0/0/0", response="yes"), item("VD/map/0/0/0", response="no"))
    found = score(answers, questions)
    assert (found["missing_ids"], found["repeated_ids"]) == (["VD/map/0/1/0"], ["VD/map/0/0/0"])
    assert (found["a_acc"], found["n"]) == (1.0, 1)


@pytest.mark.parametrize(
    "text",
    [
        '\ufeff{"response": "Yes"}\r\n{"response": "No"}\r\n',
        '[{"response": "Yes"}, {"response": "No"}]',
        '{"0": "Yes", "1": "No"}',
    ],
)
def test_answers_in_the_questions_order_are_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "answers.json").write_text(text, newline="")
    (tmp_path / "questions.json").write_text(json.dumps([item("VD/map/0/0/0"), item("VD/map/0/1/0", gt_answer="0")]))
    assert score_files(tmp_path / "answers.json", tmp_path / "questions.json")["a_acc"] == 1.0


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"response": "yes"}], "record 1: a record needs category"),
        ([item("VD/map/0/0/0", **{CHECK: "3"})], "record 1: 'gpt4v_output_gpt_check' is '3'"),
        ([item("VD/map/0/0/0", a_gpt_check="1", b_gpt_check="0")], "several checks .a_gpt_check, b_gpt_check"),
        ([item("VD/map/0/0/0", response="yes", gt_answer="maybe")], "record 1: gt_answer is 'maybe'"),
    ],
)
def test_other_records_are_refused_with_their_place(records: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        score(entries(*records))


def test_one_of_several_checks_is_named() -> None:
    answers = entries(item("VD/map/0/0/0", a_gpt_check="1", b_gpt_check="0"))
    assert [score(answers, check=key)["a_acc"] for key in ("a_gpt_check", "b_gpt_check")] == [1.0, 0.0]
    with pytest.raises(InputError, match="not every record has the check 'c'"):
        score(answers, check="c")


def test_answers_must_be_all_or_name_their_questions() -> None:
    questions = entries(item("VD/map/0/0/0"), item("VD/map/0/1/0"))
    with pytest.raises(InputError, match="1 answers for 2 questions"):
        score(entries({"response": "yes"}), questions)
    with pytest.raises(InputError, match="no question is 'VD/map/9/0/0'"):
        score(entries(item("VD/map/9/0/0", response="yes")), questions)

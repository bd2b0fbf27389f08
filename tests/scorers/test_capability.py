"""Capability: exact match after normalisation, per category."""

from __future__ import annotations

from typing import Any

import pytest

from seelevel.scorers.capability import normal, score
from seelevel.scorers.files import Entry

pytestmark = pytest.mark.unit


def entries(records: list[dict[str, Any]]) -> list[Entry]:
    return [Entry(record, f"line {n}") for n, record in enumerate(records, 1)]


@pytest.mark.parametrize(
    ("said", "label"),
    [("Red.", "red"), ("  The  upper left!", "upper left"), ("two", "Two."), ("a dog", "dog"), ("**Red**.", "red")],
)
def test_case_articles_spaces_and_final_marks_do_not_count(said: str, label: str) -> None:
    assert normal(said) == normal(label)


@pytest.mark.parametrize(("said", "label"), [("two", "2"), ("red cup", "red"), ("upper", "upper left"), ("", "red")])
def test_anything_else_counts(said: str, label: str) -> None:
    assert normal(said) != normal(label)


def test_accuracy_over_all_and_by_category_with_missing_answers_named() -> None:
    questions = entries(
        [
            {"question_id": "c1", "text": "What colour?", "label": "red", "category": "colour"},
            {"question_id": "c2", "text": "What colour?", "label": "blue", "category": "colour"},
            {"question_id": "n1", "text": "How many?", "label": "two", "category": "count"},
            {"question_id": "n2", "text": "How many?", "label": "one", "category": "count"},
        ]
    )
    answers = entries(
        [
            {"question_id": "n1", "text": "Two."},
            {"question_id": "c1", "text": "Red."},
            {"question_id": "c2", "text": "Green."},
        ]
    )
    found = score(questions, answers)
    assert found["capability_accuracy"] == 2 / 3
    assert found["categories"] == {"colour": {"accuracy": 0.5, "n": 2}, "count": {"accuracy": 1.0, "n": 1}}
    assert found["missing_ids"] == ["n2"]

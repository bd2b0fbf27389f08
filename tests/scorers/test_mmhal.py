"""MMHal-Bench: ratings from replies, the figures by hand, and published ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seelevel.errors import InputError
from seelevel.scorers.files import Entry
from seelevel.scorers.mmhal import TYPES, published_rating, score, score_files, strict_rating

MMHAL = Path(__file__).parents[2].parent / "shared" / "data" / "mmhal"
real = pytest.mark.skipif(not MMHAL.is_dir(), reason="../shared/data/mmhal is not there")


def judgements(*records: dict[str, Any]) -> list[Entry]:
    return [Entry(record, f"judgements, record {n}") for n, record in enumerate(records, 1)]


@real
@pytest.mark.parametrize("questions", [None, "response_template.json"])
def test_the_published_figures_of_blip2_come_out(questions: str | None) -> None:
    # published_results.md of the data, row BLIP-2; item 24 (the 25th) has no rating
    found = score_files(MMHAL / "gpt4o_eval_blip2.json", MMHAL / questions if questions else None)
    assert (f"{found['score']:.2f}", f"{found['hallucination_rate']:.2f}", found["n"]) == ("1.31", "0.65", 96)
    assert [f"{found['per_type'][kind]:.2f}" for kind in TYPES] == [
        "0.83",
        "0.17",
        "1.67",
        "1.08",
        "1.58",
        "2.08",
        "2.33",
        "0.75",
    ]
    assert found["unparsable"] == 1


@real
def test_the_template_repeats_the_types_in_order() -> None:
    template = json.loads((MMHAL / "response_template.json").read_text())
    assert [item["question_type"] for item in template] == list(TYPES) * 12


@pytest.mark.unit
@pytest.mark.parametrize(
    ("reply", "published", "strict"),
    [
        ("- Rating: 4, somewhat informative", 4, 4),
        ("RATING: 0, not informative", 0, 0),
        ("**Rating**: 4", None, 4),
        ("**Rating: 4**", 4, 4),
        ('{"rating": 5}', None, 5),
        ("Rating: 4/6", 4, 4),
        ("Rating: 4/10", 4, None),
        ("**Rating:** 4 out of 5", None, None),
        ("Rating: 10", 1, None),
        ("Rating: 2.5", 2, None),
        ("Rating: 3 or Rating: 4", None, None),
        ("<think>Rating: 1?</think>Rating: 6", None, 6),
        ("No rating can be given.", None, None),
        ("", None, None),
    ],
)
def test_a_rating_is_read_by_either_rule(reply: str, published: int | None, strict: int | None) -> None:
    assert (published_rating(reply), strict_rating(reply)) == (published, strict)


@pytest.mark.unit
def test_an_unparsable_reply_counts_0_or_is_left_out() -> None:
    records = judgements(
        {"id": 1, "response": "Rating: 6", "question_type": "other"},
        {"id": 2, "response": "Rating: 2", "question_type": "other"},
        {"id": 3, "response": "none", "question_type": "relation"},
    )
    published, strict = score(records), score(records, rule="strict")
    assert (published["score"], published["hallucination_rate"], published["n"]) == (8 / 3, 2 / 3, 3)
    assert published["per_type"] == {"other": 4.0, "relation": 0.0}
    assert (strict["score"], strict["hallucination_rate"], strict["n"]) == (4.0, 1 / 2, 2)
    assert published["unparsable_ids"] == strict["unparsable_ids"] == ["3"]


@pytest.mark.unit
def test_missing_and_doubled_items_are_named() -> None:
    questions = judgements(*({"image_id": name, "question_type": "other"} for name in "abc"))
    records = judgements(
        {"image_id": "c", "rating": 5}, {"image_id": "a", "rating": "2"}, {"image_id": "a", "rating": 4}
    )
    published, strict = (score(records, questions, rule) for rule in ("published", "strict"))
    assert (published["missing_ids"], published["repeated_ids"]) == (["b"], ["a"])
    assert (published["score"], strict["score"]) == (11 / 3, 7 / 2)


@pytest.mark.unit
@pytest.mark.parametrize(
    "text",
    [
        '\ufeff{"response": "Rating: 4"}\r\n{"response": "Rating: 2"}\r\n',
        '["Rating: 4", "Rating: 2"]',
        '["{\\"choices\\": [{\\"message\\": {\\"content\\": \\"Rating: 4\\"}}]}", "Rating: 2"]',
        '[{"choices": [{"message": {"content": "Rating: 4"}}]}, {"choices": [{"text": "Rating: 2"}]}]',
        '{"custom_id": "0", "response": {"body": {"choices": [{"message": {"content": "Rating: 4"}}]}}}\n'
        '{"custom_id": "1", "response": {"body": {"choices": [{"message": {"content": "Rating: 2"}}]}}}',
        '{"0": "Rating: 4", "1": "Rating: 2"}',
        '[{"choices": [{"message": {"content": [{"type": "text", "text": "Rating: 4"}]}}]}, {"reply": "Rating: 2"}]',
        '[{"model_answer": "Rating: 0", "gpt_response": "Rating: 4"}, {"evaluation": "Rating: 2"}]',
    ],
)
def test_replies_are_read_in_the_forms_found(tmp_path: Path, text: str) -> None:
    (tmp_path / "judgements.json").write_text(text, newline="")
    assert score_files(tmp_path / "judgements.json")["score"] == 3.0


@pytest.mark.unit
@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"rating": 7}, "rating 7 is not"),
        ({"rating": True}, "rating True"),
        ({"model_answer": "Red"}, "no judge's reply"),
    ],
)
def test_other_judgements_are_refused_with_their_place(record: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"judgements, record 1: {message}"):
        score(judgements(record))


@pytest.mark.unit
def test_judgements_that_name_no_question_must_be_all() -> None:
    with pytest.raises(InputError, match="1 judgements for 2 questions"):
        score(judgements({"rating": 1}), judgements({"question": "a?"}, {"question": "b?"}))

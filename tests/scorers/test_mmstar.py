"""MMStar: figures by hand, both rules, and questions as people have them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from seelevel.errors import InputError
from seelevel.scorers import mmstar
from seelevel.scorers.choices import chosen_letter
from seelevel.scorers.intervals import figures
from seelevel.scorers.questions import Answer, Context
from seelevel.scorers.settings import EvaluateSettings

pytestmark = pytest.mark.unit
ROWS = [
    {"index": 0, "question": "Which? Options: A: one, B: two", "answer": "A", "category": "math"},
    {"index": 1, "question": "Who? Options: A: he, B: she", "answer": "B", "category": "math"},
    {"index": 2, "question": "Where? Options: A: in, B: out", "answer": "C", "category": "fine-grained perception"},
]


@pytest.mark.parametrize(
    ("answer", "published", "strict"),
    [
        ("B", True, "B"),
        ("b", True, "B"),
        ("(B) two", True, "B"),
        ("B. two", True, "B"),
        ("Option B", True, "B"),
        ("The answer is B.", True, "B"),
        ("**Answer: B**", False, "B"),
        ("The correct option is (B), because", False, "B"),
        (r"$\boxed{B}$", False, "B"),
        ("both", True, None),  # the published rule takes the first letter
        ("A or B", False, None),
        ("A dog is there", False, None),
        ("The answer is a cup", False, None),
        ("(A) or (B)", False, None),
        ("The answer is B, C", True, None),
        ("Option D/A", False, None),
        ("B, for it is red", True, "B"),
        ("E", False, None),
        ("", False, None),
    ],
)
def test_letters_by_both_rules(answer: str, published: bool, strict: str | None) -> None:
    assert mmstar.is_right(answer, "B", "published") is published
    assert chosen_letter(answer) == strict


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def parquet(path: Path) -> Path:
    """The questions as MMStar's file has them, with the pictures inside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = []
    for row in ROWS:
        buffer = io.BytesIO()
        Image.new("RGB", (9, 9), (row["index"], 0, 0)).save(buffer, "PNG")  # type: ignore[arg-type]
        pictures.append(buffer.getvalue())
    pq.write_table(pa.Table.from_pylist([{**row, "image": p} for row, p in zip(ROWS, pictures, strict=True)]), path)
    return path


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_figures_by_hand_with_a_missing_and_an_unreadable_answer(tmp_path: Path, form: str) -> None:
    questions = parquet(tmp_path / "q.parquet") if form == "parquet" else write(tmp_path / "q.jsonl", ROWS)
    answers = write(tmp_path / "a.jsonl", [{"index": 1, "response": "both"}, {"index": 0, "response": "A"}])
    published, strict = mmstar.score_files(questions, answers), mmstar.score_files(questions, answers, "strict")
    assert (published["accuracy"], published["n"]) == (1.0, 2)
    assert published["missing_ids"] == ["2"]
    assert published["per_category"] == {"math": {"accuracy": 1.0, "n": 2}}
    assert (strict["accuracy"], strict["n"], strict["unparsable_ids"]) == (1.0, 1, ["1"])


def test_a_label_that_is_no_letter_is_refused(tmp_path: Path) -> None:
    questions = write(tmp_path / "q.jsonl", [{**ROWS[0], "answer": "one"}])
    with pytest.raises(InputError, match=r"line 1: the right option is 'ONE'"):
        mmstar.score_files(questions, write(tmp_path / "a.jsonl", [{"index": 0, "response": "A"}]))


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_model_is_asked_every_question_with_its_picture(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEELEVEL_CACHE", str(tmp_path / "cache"))
    if form == "parquet":
        parquet(tmp_path / "mmstar" / "mmstar.parquet")
    else:
        Image.new("RGB", (9, 9)).save(tmp_path / "p.png")
        write(tmp_path / "mmstar" / "q.jsonl", [{**row, "image": "p.png", "B": "two"} for row in ROWS])
    benchmark = mmstar.benchmark(tmp_path, EvaluateSettings(data=str(tmp_path)))
    assert [Path(question.image).is_file() for question in benchmark.questions] == [True] * 3
    prompt = benchmark.questions[0].turns[0].split("\n")
    assert prompt[0] == ROWS[0]["question"] and prompt[-1].startswith("Answer with")
    assert ("B. two" in prompt) is (form == "jsonl")
    items = benchmark.items([Answer(("A",)), Answer(("A",)), Answer(("C",))], Context(None, tmp_path))
    found = figures(benchmark.measures, items)
    assert found["mmstar_accuracy"]["value"] == pytest.approx(2 / 3)
    assert found["mmstar_math_accuracy"]["value"] == 0.5
    assert found["mmstar_fine_grained_perception_accuracy"]["value"] == 1.0
    assert all(mmstar.SCORER.words(name) for name in found)

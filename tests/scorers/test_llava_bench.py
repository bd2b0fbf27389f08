"""LLaVA-Bench: scores from reviews, the figures by hand, and published ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seelevel.errors import InputError
from seelevel.scorers.files import Entry
from seelevel.scorers.llava_bench import Pair, published_pair, ratio, score, score_files, strict_pair

BENCH = Path(__file__).parents[2].parent / "shared" / "data" / "llava_bench"
real = pytest.mark.skipif(not BENCH.is_dir(), reason="../shared/data/llava_bench is not there")


def reviews(*records: dict[str, Any]) -> list[Entry]:
    return [Entry({"question_id": n, **record}, f"reviews, line {n}") for n, record in enumerate(records, 1)]


@real
def test_the_published_figures_of_llava_come_out() -> None:
    # data/README.md: overall 72.8 / 72.7 / 72.1, mean 72.5 (published)
    files = [BENCH / "wild" / f"reviews_llava-v1.5-13b-eval{n}.jsonl" for n in (1, 2, 3)]
    found = score_files(files)
    assert [f"{run['overall']:.1f}" for run in found["files"].values()] == ["72.8", "72.7", "72.1"]
    assert f"{found['overall']:.1f}" == "72.5"
    assert list(found["per_category"]) == ["llava_bench_complex", "llava_bench_conv", "llava_bench_detail"]


@real
def test_scores_stored_and_scores_in_the_text_agree() -> None:
    file = BENCH / "wild" / "reviews_llava-v1.5-13b-eval1.jsonl"
    stored = [json.loads(line) for line in file.read_text().splitlines()]
    for rule in ("published", "strict"):
        texts = [{key: value for key, value in record.items() if key != "tuple"} for record in stored]
        assert score(reviews(*texts), rule=rule) == score(reviews(*stored), rule=rule)


@real
def test_older_reviews_without_categories_are_read() -> None:
    found = score_files([BENCH / "coco" / "vicuna80_review_alpaca-13b.jsonl"], rule="strict")
    assert (found["n"], found["unparsable"], found["per_category"]) == (80, 0, {})


@pytest.mark.unit
@pytest.mark.parametrize(
    ("review", "published", "strict"),
    [
        ("8 9\nBoth", (8, 9), (8, 9)),
        ("8,9.5\nBoth", (8, 9.5), (8, 9.5)),
        ("8, 9\nBoth", None, (8, 9)),
        ("Assistant 1: 8, Assistant 2: 9\nBoth", None, (8, 9)),
        ("**8/10 9/10**", None, (8, 9)),
        ("<think>7 7</think>\n8 9", None, (8, 9)),
        ("Both are fine.\n8 9", None, None),
        ("8 9 7", None, None),
        ("-3 4\nBoth", (-3, 4), None),
        ("", None, None),
    ],
)
def test_two_scores_are_read_by_either_rule(review: str, published: Pair | None, strict: Pair | None) -> None:
    assert (published_pair(review), strict_pair(review)) == (published, strict)


@pytest.mark.unit
def test_the_published_means_are_rounded_first() -> None:
    pairs = [(8.0, 5.0), (8.0, 5.0), (7.0, 5.5)]
    assert ratio(pairs, "published") == 100 * 5.167 / 7.667
    assert ratio(pairs, "strict") == 100 * (15.5 / 3) / (23 / 3)


@pytest.mark.unit
def test_an_unparsable_review_counts_minus_1_or_is_left_out() -> None:
    listed = reviews(
        {"tuple": [8, 4], "category": "conv"}, {"content": "none", "category": "conv"}, {"tuple": [-1, -1]}
    )
    published, strict = score(listed), score(listed, rule="strict")
    assert (published["overall"], published["n"]) == (100 * round(2 / 3, 3) / 2.0, 3)
    assert (strict["overall"], strict["n"], strict["per_category"]) == (50.0, 1, {"conv": 50.0})
    assert published["unparsable_ids"] == strict["unparsable_ids"] == ["2", "3"]


@pytest.mark.unit
def test_missing_and_doubled_reviews_are_named_and_questions_give_categories() -> None:
    questions = reviews(*({"category": c, "text": "?"} for c in ("conv", "detail", "detail")))
    doubled = [*reviews({"tuple": [8, 4]}, {"tuple": [8, 8]}), *reviews({"tuple": [8, 8]})]
    published, strict = (score(doubled, questions, rule) for rule in ("published", "strict"))
    assert (published["missing_ids"], published["repeated_ids"]) == (["3"], ["1"])
    assert (published["per_category"], strict["per_category"]) == (
        {"conv": 75.0, "detail": 100.0},
        {"conv": 50.0, "detail": 100.0},
    )


@pytest.mark.unit
@pytest.mark.parametrize(
    "text",
    [
        '\ufeff{"question_id": 1, "content": "8 4\\nBoth"}\r\n{"question_id": 2, "content": "8 8"}\r\n',
        '[{"question_id": 1, "text": "8 4"}, {"question_id": 2, "score": [8, 8]}]',
        '{"1": "8 4", "2": "8 8"}',
        '{"doc": {"question_id": 1}, "gpt_eval_llava_all": {"review": "8 4\\nBoth", "scores": [8, 4]}}\n'
        '{"doc": {"question_id": 2}, "gpt_eval_llava_all": {"review": "8 8\\nBoth", "scores": [8, 8]}}',
    ],
)
def test_lines_lists_and_mappings_are_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "reviews.jsonl").write_text(text, newline="")
    assert score_files([tmp_path / "reviews.jsonl"])["overall"] == 75.0


@pytest.mark.unit
def test_other_scores_are_refused_with_their_place() -> None:
    with pytest.raises(InputError, match=r"reviews, line 2: scores \[8\] are not two numbers"):
        score(reviews({"tuple": [8, 4]}, {"tuple": [8]}))

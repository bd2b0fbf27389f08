"""MME: figures by hand, the authors' results, the release's folders, and the benchmark of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seelevel.errors import InputError
from seelevel.scorers import mme
from seelevel.scorers.files import Entry
from seelevel.scorers.intervals import figures
from seelevel.scorers.questions import Answer, Context
from seelevel.scorers.settings import EvaluateSettings

pytestmark = pytest.mark.unit
RESULTS = {
    "count.txt": "1.jpg\tAre there two?\tYes\tYes, there are.\n1.jpg\tAre there three?\tNo\tYes\n"
    "2.jpg\tIs there one?\tYes\tyes\n2.jpg\tAre there nine?\tNo\tno.\n",
    "OCR.txt": "a.png\tIs it 'stop'?\tYes\tThe sign says so.\na.png\tIs it 'go'?\tNo\tNo\n",
    "code_reasoning.txt": "1.png\tIs it 3?\tYes\tYes\n1.png\tIs it 4?\tNo\tNo\n",
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name, text in RESULTS.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_scores_worked_out_by_hand(results: Path) -> None:
    # count: 3 of 4 right, 1 of 2 pictures; OCR: 'The sign says so.' is neither, so 1 of 2 and 0 of 1
    found = mme.score_files(results)
    rows = found["per_category"]
    assert rows["count"] == {"acc": 0.75, "acc_plus": 0.5, "score": 125.0, "n": 4}
    assert rows["OCR"] == {"acc": 0.5, "acc_plus": 0.0, "score": 50.0, "n": 2}
    assert (found["perception"], found["cognition"]) == (175.0, 200.0)
    assert found["unparsable_ids"] == ["OCR/a.png"]
    assert "existence" in found["missing_categories"] and "count" not in found["missing_categories"]


def test_the_strict_rule_leaves_out_what_says_neither(results: Path) -> None:
    found = mme.score_files(results, rule="strict")
    assert found["per_category"]["OCR"] == {"acc": 1.0, "acc_plus": None, "score": None, "n": 1}
    assert (found["perception"], found["unpaired"]) == (None, 1)  # OCR has no score


@pytest.mark.parametrize(
    ("answer", "published", "strict"),
    [
        ("Yes", "yes", "yes"),
        ("There is no cup", "other", "no"),
        ("Nope", "no", None),
        ("  no.", "no", "no"),
        ("I see two", "other", "yes"),
        ("", "other", None),
    ],
)
def test_answers_by_both_rules(answer: str, published: str, strict: str | None) -> None:
    assert mme.read_answer(answer, "published") == published
    assert mme.read_answer(answer, "strict") == strict


def test_records_and_records_with_questions_have_the_figures_of_results(results: Path, tmp_path: Path) -> None:
    lines = [(Path(name).stem, *line.split("\t")) for name, text in RESULTS.items() for line in text.splitlines()]
    whole = [
        Entry({"category": c, "image": i, "question": q, "label": a, "response": r}, f"line {n}")
        for n, (c, i, q, a, r) in enumerate(lines, 1)
    ]
    asked = [Entry({key: e.record[key] for key in ("category", "image", "question", "label")}, e.where) for e in whole]
    answers = [Entry({key: e.record[key] for key in ("image", "question", "response")}, e.where) for e in whole]
    found = mme.score_files(results)
    assert mme.score(whole) == mme.score(answers, asked) == found


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("count.txt", "1.jpg\tAre there two?\tYes\n", "count.txt, line 1: 3 cells, not 4"),
        ("count.txt", "1.jpg\tAre there two?\tMaybe\tYes\n", "neither yes nor no"),
        ("counts.txt", "1.jpg\tAre there two?\tYes\tYes\n", "no results in it"),
    ],
)
def test_broken_results_are_refused_with_the_place(tmp_path: Path, name: str, text: str, part: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as refused:
        mme.score_files(tmp_path)
    assert part in str(refused.value)


def release(folder: Path) -> None:
    for category, texts, pictures in (("count", "", ""), ("posters", "questions_answers_YN", "images")):
        for part in (texts, pictures):
            (folder / "mme" / category / part).mkdir(parents=True, exist_ok=True)
        for name in ("1", "2"):
            Image.new("RGB", (8, 8), (int(name), 0, 0)).save(folder / "mme" / category / pictures / f"{name}.png")
            lines = f"Is it {name}?\tYes\nIs it 7?\tNo\n"
            (folder / "mme" / category / texts / f"{name}.txt").write_text(lines)


def test_a_model_is_asked_the_release_and_pairs_stay_together(tmp_path: Path) -> None:
    release(tmp_path)
    benchmark = mme.benchmark(tmp_path, EvaluateSettings(data=str(tmp_path)))
    assert [q.id for q in benchmark.questions][:3] == ["count/1.png/0", "count/1.png/1", "count/2.png/0"]
    assert benchmark.questions[0].turns == ("Is it 1?",)
    said = ["Yes", "No", "Yes", "Yes", "Yes", "Hm", "No", "No"]
    items = benchmark.items([Answer((text,)) for text in said], Context(None, tmp_path))
    found = figures(benchmark.measures, items)
    assert found["mme_perception"]["value"] == 100 * (3 / 4 + 1 / 2) + 100 * (2 / 4 + 0)
    assert found["mme_count_score"]["value"] == 125
    assert found["mme_accuracy"]["value"] == 5 / 8
    assert "mme_cognition" not in found
    rows: list[tuple[str, str, str | None, str]] = [
        (i["category"], i["cluster"], i["answered"], i["label"]) for i in items
    ]
    assert mme.totals(mme.items_of(rows))["perception"] == found["mme_perception"]["value"]


def test_a_text_without_its_picture_is_named(tmp_path: Path) -> None:
    release(tmp_path)
    (tmp_path / "mme" / "count" / "2.png").unlink()
    with pytest.raises(InputError, match=r"2\.txt: no picture 2"):
        mme.benchmark(tmp_path, EvaluateSettings(data=str(tmp_path)))


def test_an_unanswered_question_leaves_its_picture_out_of_acc_plus(tmp_path: Path) -> None:
    release(tmp_path)
    benchmark = mme.benchmark(tmp_path, EvaluateSettings(data=str(tmp_path), limit=2))
    answers: list[Any] = [Answer(("Yes",)), Answer(("",), "too long"), Answer(("Yes",)), Answer(("No",))]
    items = benchmark.items(answers, Context(None, tmp_path))
    found = figures(benchmark.measures, items)
    assert [item["both"] for item in items] == [None, None, True, None]
    assert found["mme_accuracy"] == {**found["mme_accuracy"], "value": 1.0, "n": 3}

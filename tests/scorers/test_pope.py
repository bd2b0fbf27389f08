"""POPE as published: joins, answers, figures; and the real files' published figures."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pictures

from seelevel.errors import InputError
from seelevel.scorers.capability import score as score_capability
from seelevel.scorers.files import Entry, read_entries
from seelevel.scorers.intervals import figures
from seelevel.scorers.joining import join
from seelevel.scorers.pope import benchmark, measures, published_answer, score, score_files, strict_answer
from seelevel.scorers.questions import Answer, Context
from seelevel.scorers.settings import EvaluateSettings

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "pope"
real = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data/pope is not there")
pytestmark = pytest.mark.unit


def entries(records: list[dict[str, Any]], name: str = "file") -> list[Entry]:
    return [Entry(record, f"{name}, line {n}") for n, record in enumerate(records, 1)]


QUESTIONS = entries(
    [
        {"question_id": 1, "image": "a.jpg", "text": "Is there a dog in the image?", "label": "yes"},
        {"question_id": 2, "image": "a.jpg", "text": "Is there a cat in the image?", "label": "no"},
        {"question_id": 3, "image": "b.jpg", "text": "Is there a dog in the image?", "label": "yes"},
        {"question_id": 4, "image": "b.jpg", "text": "Is there a cup in the image?", "label": "no"},
        {"question_id": 5, "image": "c.jpg", "text": "Is there a bus in the image?", "label": "yes"},
    ],
    "questions",
)


@pytest.mark.parametrize(
    ("text", "published", "strict"),
    [
        ("Yes", "yes", "yes"),
        ("No", "no", "no"),
        ("no, there is none", "no", "no"),
        ("NO", "yes", "no"),  # the published rule knows 'No' and 'no' only
        ("There isn't a dog.", "yes", "no"),
        ("It is not there. Yes.", "no", "no"),
        ("Yes. There is no cat.", "yes", "yes"),
        ("Yes and no", "no", None),
        ("A dog on a mat", "yes", None),
        ("There is a dog", "yes", "yes"),
        ("", "yes", None),
        ("No.", "no", "no"),
        ("Nothing", "yes", "no"),
    ],
)
def test_answers_are_read_by_both_rules(text: str, published: str, strict: str | None) -> None:
    assert published_answer(text) == published
    assert strict_answer(text) == strict


def test_figures_of_five_answers_worked_out_by_hand() -> None:
    answers = entries([{"question_id": i, "text": t} for i, t in enumerate(["Yes", "Yes", "No", "No", "Yes"], 1)])
    found = score(QUESTIONS, answers)
    assert [found[k] for k in ("tp", "fp", "tn", "fn")] == [2, 1, 1, 1]
    assert found["accuracy"] == 3 / 5
    assert found["precision"] == found["recall"] == 2 / 3
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["yes_ratio"] == 3 / 5
    assert (found["n"], found["missing"]) == (5, 0)


def test_strict_sets_aside_what_says_neither() -> None:
    answers = entries([{"question_id": i, "text": t} for i, t in enumerate(["Yes", "NO", "A cat", "no", "Yes"], 1)])
    strict = score(QUESTIONS, answers, rule="strict")
    assert [strict[k] for k in ("tp", "fp", "tn", "fn", "unscored")] == [2, 0, 2, 0, 1]
    published = strict["rules"]["published"]
    assert [published[k] for k in ("tp", "fp", "tn", "fn", "unscored")] == [3, 1, 1, 0, 0]


def test_vcds_rule_looks_for_the_letters_of_the_label() -> None:
    texts = ["Yes.", "I am not sure", "No, but yes", "Nothing", ""]  # labels: yes no yes no yes
    answers = entries([{"question_id": i, "text": t} for i, t in enumerate(texts, 1)])
    found = score(QUESTIONS, answers, rule="vcd")
    assert [found[k] for k in ("tp", "fp", "tn", "fn", "unscored")] == [2, 0, 2, 1, 0]
    assert (found["rule"], found["accuracy"], found["yes_ratio"]) == ("vcd", 4 / 5, 2 / 5)
    assert score(QUESTIONS, answers)["rules"]["vcd"]["tn"] == 2


def test_ids_join_in_any_order_and_missing_answers_are_named() -> None:
    answers = entries([{"question_id": i, "text": "Yes"} for i in (5, 3, 1)])
    found = score(QUESTIONS, answers)
    assert (found["n"], found["tp"], found["missing"], found["missing_ids"]) == (3, 3, 2, [2, 4])


def test_foreign_ids_fall_back_to_order_when_the_texts_agree() -> None:
    answers = entries(
        [
            {"question_id": 9000 + n, "prompt": f"{q.record['text']}\nAnswer with one word.", "text": "Yes"}
            for n, q in enumerate(QUESTIONS)
        ]
    )
    assert join(QUESTIONS, answers) == answers


def test_answers_to_other_questions_are_an_error_that_names_the_line() -> None:
    answers = entries(
        [{"question_id": n, "prompt": f"Is there a kite number {n}?", "text": "Yes"} for n in range(1, 6)], "answers"
    )
    with pytest.raises(InputError, match=r"answers, line 1: .* questions, line 1"):
        join(QUESTIONS, answers)


def test_ids_that_agree_with_another_text_do_not_join() -> None:
    texts = [q.record["text"] for q in QUESTIONS]
    moved = texts[1:] + texts[:1]
    answers = entries([{"question_id": n, "prompt": t, "text": "Yes"} for n, t in enumerate(moved, 1)])
    with pytest.raises(InputError):
        join(QUESTIONS, answers)


@pytest.mark.parametrize("ids", [[1, 77, 2, 3, 4], [77, 78, 79, 80, 81], [77]])
def test_an_unknown_id_is_named_and_never_joined_by_order(ids: list[int]) -> None:
    answers = entries([{"question_id": i, "text": "Yes"} for i in ids], "answers")
    with pytest.raises(InputError, match=r"answers, line [12]: no question has the id '77'"):
        join(QUESTIONS, answers)
    capability = entries([{**q.record, "label": "red"} for q in QUESTIONS])
    with pytest.raises(InputError, match="no question has the id '77'"):
        score_capability(capability, answers)


def test_an_id_at_another_questions_place_is_named() -> None:
    answers = entries([{"question_id": 2, "text": "Yes"}, *[{"text": "Yes"}] * 4], "answers")
    with pytest.raises(InputError, match=r"answers, line 1: answers question 2 in the place of questions, line 1"):
        join(QUESTIONS, answers)
    placed = entries([{"question_id": 1, "text": "Yes"}, *[{"text": "Yes"}] * 4], "answers")
    assert join(QUESTIONS, placed) == placed


def test_foreign_ids_join_by_picture_and_question_when_each_answer_is_found() -> None:
    answers = entries(
        [
            {
                "question_id": 7000 + n,
                "image": f"val/{q.record['image']}",
                "prompt": f"{q.record['text'].replace('image', 'imange')}\nAnswer with one word.",
                "text": "Yes",
            }
            for n, q in enumerate(QUESTIONS)
        ],
        "answers",
    )
    moved = [answers[n] for n in (4, 1, 2)]
    assert join(QUESTIONS, moved) == [None, answers[1], answers[2], None, answers[4]]
    stray = Entry({**answers[0].record, "image": "z.jpg"}, "answers, line 1")
    with pytest.raises(InputError, match="answers, line"):
        join(QUESTIONS, [*moved, stray])
    with pytest.raises(InputError, match="answers, line"):
        join(QUESTIONS, [*moved, answers[4]])


def test_answers_or_questions_without_ids_join_by_order() -> None:
    answers = entries([{"text": "Yes"}] * 5)
    assert join(QUESTIONS, answers) == answers
    bare = entries([{"text": q.record["text"], "label": "yes"} for q in QUESTIONS])
    numbered = entries([{"question_id": n, "text": "Yes"} for n in range(5)])
    assert join(bare, numbered) == numbered
    assert join(bare[:1], numbered[:1]) == numbered[:1]


def test_more_answers_than_questions_without_ids_are_an_error() -> None:
    with pytest.raises(InputError, match="6 answers for 5 questions"):
        join(QUESTIONS, entries([{"text": "Yes"}] * 6))


def test_fewer_answers_without_ids_or_texts_are_an_error() -> None:
    with pytest.raises(InputError, match="add question_id"):
        join(QUESTIONS, entries([{"text": "Yes"}] * 4))


def test_a_model_that_never_says_yes_has_no_precision() -> None:
    found = score(QUESTIONS, entries([{"question_id": i, "text": "No"} for i in range(1, 6)]))
    assert found["precision"] is None
    assert found["f1"] == 0.0


def test_a_line_that_is_not_json_is_named(tmp_path: Path) -> None:
    file = tmp_path / "q.json"
    file.write_text('{"question_id": 1}\n{"question_id": \n')
    with pytest.raises(InputError, match="line 2: not JSON"):
        read_entries(file)


@real
@pytest.mark.parametrize(
    ("name", "cells", "accuracy", "f1"),
    [
        ("random", (1182, 31, 1379, 318), 0.8801, 0.8714),
        ("popular", (1182, 59, 1441, 318), 0.8743, 0.8625),
        ("adversarial", (1182, 117, 1383, 318), 0.8550, 0.8446),
    ],
)
def test_published_figures_of_llava_come_out(
    tmp_path: Path, name: str, cells: tuple[int, ...], accuracy: float, f1: float
) -> None:
    folder = DATA / "answers_llava15_13b"
    answers = [entry.record for entry in read_entries(folder / "answers.jsonl")]
    category = [entry.record["category"] for entry in read_entries(folder / "questions_by_category.jsonl")]
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps(a) + "\n" for a, c in zip(answers, category, strict=True) if c == name))
    found = score_files(DATA / "questions" / f"coco_pope_{name}_aug2023.json", file)
    assert tuple(found[k] for k in ("tp", "fp", "tn", "fn")) == cells
    assert (round(found["accuracy"], 4), round(found["f1"], 4)) == (accuracy, f1)
    assert found["missing"] == 0


def test_one_answer_file_for_several_sets_is_split_by_category(tmp_path: Path) -> None:
    sets = {
        name: [{**q.record, "label": label} for q in QUESTIONS[:2]] for name, label in (("easy", "yes"), ("hard", "no"))
    }
    (tmp_path / "sets").mkdir()
    for name, rows in sets.items():
        (tmp_path / "sets" / f"coco_{name}.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = [q.record["text"] for q in QUESTIONS[:2]] * 2
    answers = [{"question_id": n, "prompt": text, "text": "Yes"} for n, text in enumerate(texts, 1)]
    names = [{"question_id": n, "category": "easy" if n < 3 else "hard"} for n in range(1, 5)]
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    (tmp_path / "names.json").write_text(json.dumps(names))
    found = score_files(tmp_path / "sets", tmp_path / "answers.json", categories=tmp_path / "names.json")
    assert {name: (s["tp"], s["fp"]) for name, s in found["sets"].items()} == {"coco_easy": (2, 0), "coco_hard": (0, 2)}
    assert (found["accuracy"], found["yes_ratio"]) == (1 / 2, 1.0)
    with pytest.raises(InputError, match="--categories"):
        score_files(tmp_path / "sets", tmp_path / "answers.json")
    (tmp_path / "answers.json").write_text(json.dumps([{**a, **n} for a, n in zip(answers, names, strict=True)]))
    assert score_files(tmp_path / "sets", tmp_path / "answers.json") == found


@real
def test_llavas_layout_is_scored_in_one_command() -> None:
    # LLaVA-1.5-13B, Liu et al. 2023, arXiv 2310.03744: F1 85.9. The folder has the sets of 2023 and the later ones.
    folder = DATA / "answers_llava15_13b"
    sets = score_files(DATA / "questions", folder / "answers.jsonl", categories=folder / "questions_by_category.jsonl")
    sets = sets["sets"]
    cells = {name: tuple(found[k] for k in ("tp", "fp", "tn", "fn")) for name, found in sets.items()}
    for version in ("", "_aug2023"):
        assert cells[f"coco_pope_popular{version}"] == (1182, 59, 1441, 318)
        assert cells[f"coco_pope_adversarial{version}"] == (1182, 117, 1383, 318)
    assert cells["coco_pope_random_aug2023"] == cells["coco_pope_random"] == (1182, 31, 1379, 318)
    assert (sets["coco_pope_random_aug2023"]["missing"], sets["coco_pope_random"]["missing"]) == (0, 90)
    published = [sets[f"coco_pope_{name}_aug2023"]["f1"] for name in ("random", "popular", "adversarial")]
    assert sum(published) / 3 == pytest.approx(0.859, abs=0.0005)


@real
def test_17910_answers_take_seconds_and_not_minutes() -> None:
    folder = DATA / "answers_llava15_13b"
    start = time.process_time()
    score_files(DATA / "questions", folder / "answers.jsonl", categories=folder / "questions_by_category.jsonl")
    assert time.process_time() - start < 20  # 1 to 2 s on an idle machine


@real
def test_answers_to_the_older_random_set_are_refused(tmp_path: Path) -> None:
    answers = DATA / "answers_llava15_13b" / "answers.jsonl"
    with pytest.raises(InputError):
        score_files(DATA / "questions" / "coco_pope_random.json", answers)


@pytest.mark.parametrize(
    ("cells", "accuracy", "chance"),
    [
        ({"tp": 2, "fp": 2}, 1 / 2, 1 / 2),  # always yes, balanced
        ({"tp": 2, "tn": 2}, 1.0, 1 / 2),  # all right, balanced
        ({"tp": 1, "fp": 3}, 1 / 4, 1 / 4),  # always yes, one question in four is true
        ({"tn": 3, "fn": 1}, 3 / 4, 3 / 4),  # always no, the same questions
        ({"tp": 1, "fp": 2, "tn": 1}, 1 / 2, 3 / 8),  # 1/4 · 3/4 + 3/4 · 1/4
    ],
)
def test_chance_is_the_accuracy_of_the_same_answers_in_random_order(
    cells: dict[str, int], accuracy: float, chance: float
) -> None:
    names = [cell for cell, count in cells.items() for _ in range(count)]
    items = [{"set": "a", "cell": cell, "cluster": n} for n, cell in enumerate(names)]
    found = figures(measures(["a"]), items)
    assert found["pope_accuracy"]["value"] == pytest.approx(accuracy)
    assert found["pope_chance"]["value"] == pytest.approx(chance)


def test_each_set_of_several_has_its_own_chance() -> None:
    items = [{"set": s, "cell": c, "cluster": c} for s, c in (("a", "tp"), ("a", "fp"), ("b", "tp"), ("b", "tp"))]
    found = figures(measures(["a", "b"]), items)
    assert [found[f"pope_{name}chance"]["value"] for name in ("a_", "b_", "")] == [0.5, 1.0, 0.75]


def test_empty_answers_are_counted_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    questions, answers = tmp_path / "q.jsonl", tmp_path / "a.jsonl"
    questions.write_text(
        "".join(json.dumps({"question_id": n, "text": "Is it?", "label": "no"}) + "\n" for n in range(3))
    )
    texts = ["", " \n", "No."]
    answers.write_text("".join(json.dumps({"question_id": n, "response": t}) + "\n" for n, t in enumerate(texts)))
    found = score_files(questions, answers)
    assert (found["fp"], found["tn"], found["empty"]) == (2, 1, 2)
    assert "2 answers are empty, which rule published counts as yes" in capsys.readouterr().err
    found = score_files(questions, answers, "strict")
    assert (found["tn"], found["unscored"], found["empty"]) == (1, 2, 2)
    assert "empty" not in capsys.readouterr().err
    (tmp_path / "sets").mkdir()
    questions.rename(tmp_path / "sets" / "random.jsonl")
    answers.write_text(answers.read_text().replace("{", '{"category": "random", '))
    assert score_files(tmp_path / "sets", answers)["empty"] == 2
    assert "2 answers are empty" in capsys.readouterr().err


def test_empty_answers_of_a_run_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pope").mkdir()
    (tmp_path / "images").mkdir()
    Pictures.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")
    (tmp_path / "pope" / "q.json").write_text(
        json.dumps({"question_id": 1, "text": "Is it?", "label": "no", "image": "a.png"})
    )
    for rule, said in (("published", True), ("strict", False)):
        made = benchmark(tmp_path, EvaluateSettings(data=str(tmp_path), benchmarks=["pope"], rule=rule))
        (row,) = made.items([Answer(("",))], Context(None, tmp_path))
        assert row["said"] == ("yes" if said else None)
        assert ("1 answer is empty" in capsys.readouterr().err) == said

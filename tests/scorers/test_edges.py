"""Files as people have them: the same figures in any form and order; what cannot be scored is named in one line."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from seelevel.errors import InputError
from seelevel.scorers import capability, chair, find_scorer, mrhal, pope
from seelevel.scorers.files import read_entries
from seelevel.scorers.settings import EvaluateSettings

pytestmark = pytest.mark.unit

Record = dict[str, Any]
KINDS = ("dog", "cat", "cup", "bus", "kite", "bed")
QUESTIONS = [
    {
        "question_id": n,
        "image": f"{n}.jpg",
        "text": f"Is there a {kind} in the image?",
        "label": "yes" if n % 2 else "no",
    }
    for n, kind in enumerate(KINDS, 1)
]
ANSWERS = [{"question_id": n, "text": text} for n, text in enumerate(["Yes", "No.", "No", "Yes, two", "Yes", "no"], 1)]
CAPTIONS = [
    {"image": "a.jpg", "caption": "A dog and a cat."},
    {"image": "b.jpg", "caption": "A\u2028cup\x0b.\u0000 A dog"},
]
OBJECTS = {"a.jpg": ["dog"], "b.jpg": ["cup", "dog"]}


def lines(records: Sequence[Record]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


FORMS: dict[str, Callable[[Sequence[Record]], bytes]] = {
    "lines": lambda records: lines(records).encode(),
    "array": lambda records: json.dumps(records).encode(),
    "indented array": lambda records: json.dumps(records, indent=2).encode(),
    "byte order mark": lambda records: b"\xef\xbb\xbf" + lines(records).encode(),
    "byte order mark and array": lambda records: b"\xef\xbb\xbf\n" + json.dumps(records).encode(),
    "CRLF": lambda records: lines(records).replace("\n", "\r\n").encode(),
    "blank lines": lambda records: ("\n\n" + lines(records).replace("\n", "\n  \n")).encode(),
    "no last line end": lambda records: lines(records).rstrip("\n").encode(),
    "characters as they are": lambda records: "".join(
        json.dumps(r, ensure_ascii=False) + "\n" for r in records
    ).encode(),
}


def write(path: Path, records: Sequence[Record], form: str = "lines") -> Path:
    path.write_bytes(FORMS[form](records))
    return path


def pope_figures(tmp_path: Path, answers: Sequence[Record], form: str = "lines") -> Record:
    return pope.score_files(
        write(tmp_path / "questions.json", QUESTIONS, form), write(tmp_path / "answers.jsonl", answers, form)
    )


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_a_file_changes_no_figure(tmp_path: Path, form: str) -> None:
    found = pope_figures(tmp_path, ANSWERS, form)
    # labels yes no yes no yes no; answers yes no no yes yes no
    assert [found[k] for k in ("tp", "fp", "tn", "fn", "n", "missing")] == [2, 1, 2, 1, 6, 0]
    (tmp_path / "objects.json").write_text(json.dumps(OBJECTS))
    (tmp_path / "synonyms.txt").write_text("dog\r\ncat\r\ncup\r\n")
    captions = write(tmp_path / "captions.jsonl", CAPTIONS, form)
    figures = chair.score_files(captions, tmp_path / "objects.json", tmp_path / "synonyms.txt")
    assert (figures["mentions"], figures["hallucinated_mentions"], figures["captions"]) == (4, 1, 2)
    judgements = write(tmp_path / "judgements.json", [{"id": 1, "rating": [6, 1]}, {"id": "b", "rating": [2]}], form)
    assert mrhal.score_files(judgements)["score_c"] == 3


@pytest.mark.parametrize("kind", [str, float, lambda n: f"{n}"])
def test_ids_join_as_numbers_and_as_texts_in_any_order(tmp_path: Path, kind: Callable[[int], Any]) -> None:
    answers = [{**answer, "question_id": kind(answer["question_id"])} for answer in ANSWERS]
    random.Random(0).shuffle(answers)
    found = pope_figures(tmp_path, answers)
    assert [found[k] for k in ("tp", "fp", "tn", "fn")] == [2, 1, 2, 1]


def test_a_null_answer_is_missing_and_one_without_a_key_is_named(tmp_path: Path) -> None:
    answers = [*ANSWERS[:3], {"question_id": 4, "text": None}, ANSWERS[4]]
    found = pope_figures(tmp_path, answers)
    assert (found["n"], found["missing"], found["missing_ids"]) == (4, 2, [4, 6])
    with pytest.raises(InputError, match=r"answers\.jsonl, line 2: no answer; it needs 'text' as the other"):
        pope_figures(tmp_path, [ANSWERS[0], {"question_id": 2, "txt": "No"}, *ANSWERS[2:]])
    questions = [{**q, "category": "colour", "label": "red"} for q in QUESTIONS]
    scores = capability.score_files(write(tmp_path / "q.jsonl", questions), write(tmp_path / "a.jsonl", answers))
    assert (scores["n"], scores["missing"]) == (4, 2)


@pytest.mark.parametrize("again", [ANSWERS[1], {"question_id": 2, "text": "Yes"}])
def test_a_question_answered_twice_is_named_with_both_lines(tmp_path: Path, again: Record) -> None:
    with pytest.raises(
        InputError, match=r"line 3: question 2 is answered already in .*answers\.jsonl, line 2; keep one"
    ):
        pope_figures(tmp_path, [*ANSWERS[:2], again, *ANSWERS[3:]])
    with pytest.raises(InputError, match="question 2 is answered already"):
        pope_figures(tmp_path, [*ANSWERS, again])


def test_concatenated_question_files_may_repeat_ids(tmp_path: Path) -> None:
    questions = write(tmp_path / "q.json", QUESTIONS * 3)
    found = pope.score_files(questions, write(tmp_path / "a.jsonl", ANSWERS * 3))
    assert [found[k] for k in ("tp", "fp", "tn", "fn")] == [6, 3, 6, 3]


def test_surplus_answers_are_an_error_unless_they_have_their_questions(tmp_path: Path) -> None:
    extra = [*ANSWERS, {"question_id": 77, "text": "Yes"}]
    with pytest.raises(InputError, match=r"answers\.jsonl, line 7: no question has the id '77'"):
        pope_figures(tmp_path, extra)
    asked = {q["question_id"]: q["text"] for q in QUESTIONS}
    carried = [{**a, "prompt": asked.get(a["question_id"], "Is there a zebra?")} for a in extra]
    assert pope_figures(tmp_path, carried)["n"] == 6


def test_control_characters_of_a_file_never_reach_the_terminal(tmp_path: Path) -> None:
    answers = [{**a, "prompt": "\u001b[31mIs there a \u0007zebra?"} for a in ANSWERS]
    with pytest.raises(InputError) as caught:
        pope_figures(tmp_path, answers)
    assert not set(str(caught.value)) & set(map(chr, range(32)))
    (tmp_path / "q.json").write_text(lines([{**QUESTIONS[0], "label": "\u001b[2J"}]))
    with pytest.raises(InputError, match=r"line 1: label '\\x1b\[2j' is neither"):
        pope.score_files(tmp_path / "q.json", write(tmp_path / "a.jsonl", ANSWERS[:1]))


@pytest.mark.parametrize("form", ["lines", "array", "indented array"])
def test_a_truncated_file_gives_one_line_or_its_whole_records(tmp_path: Path, form: str) -> None:
    questions, whole = write(tmp_path / "q.json", QUESTIONS), FORMS[form](ANSWERS)
    cut = tmp_path / "answers.jsonl"
    for size in range(0, len(whole), 7):
        cut.write_bytes(whole[:size])
        try:
            found = pope.score_files(questions, cut)
        except InputError as error:
            assert "\n" not in str(error)
            assert "answers.jsonl" in str(error)
        else:
            assert form == "lines"
            assert found["n"] + found["missing"] == 6


def test_synonyms_keep_their_case_in_cocos_list_only(tmp_path: Path) -> None:
    # COCO's list has 'iPhone', which lower-cased captions never hold: published figures rest on that.
    (tmp_path / "objects.json").write_text(json.dumps({"a.jpg": ["cell phone"]}))
    captions = write(tmp_path / "c.jsonl", [{"image": "a.jpg", "caption": "An iPhone, an iphone, a phone."}])
    phone, coco = "cell phone, phone, iPhone\n", "sports ball\npotted plant\nhair drier\n"
    (tmp_path / "own.txt").write_text(phone)
    (tmp_path / "coco.txt").write_text(phone + coco)
    score = lambda list_: chair.score_files(captions, tmp_path / "objects.json", tmp_path / list_)["mentions"]  # noqa: E731
    assert (score("coco.txt"), score("own.txt")) == (1, 3)


def test_objects_that_the_synonym_list_lacks_are_named(tmp_path: Path) -> None:
    (tmp_path / "objects.json").write_text(json.dumps({"a.jpg": ["Dog", "cup"], "b.jpg": ["unicorn"]}))
    (tmp_path / "synonyms.txt").write_text("dog\ncup\n")
    captions = write(tmp_path / "c.jsonl", CAPTIONS[:1])
    found = chair.score_files(captions, tmp_path / "objects.json", tmp_path / "synonyms.txt")
    assert found["unknown_objects"] == ["Dog"]


def test_a_repeated_judgement_counts_twice_and_is_named(tmp_path: Path) -> None:
    found = mrhal.score_files(write(tmp_path / "j.json", [{"id": 1, "rating": [6]}, {"id": "1", "rating": [0]}]))
    assert (found["dialogues"], found["repeated_ids"]) == (2, ["1"])


def test_a_record_over_several_lines_is_one_record(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(ANSWERS[0], indent=1))
    (entry,) = read_entries(tmp_path / "a.json")
    assert (entry.record, entry.where) == (ANSWERS[0], f"{tmp_path / 'a.json'}, record 1")


@pytest.mark.parametrize("name", ["pope", "chair", "capability"])
def test_a_question_with_more_marks_than_pictures_is_named(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (tmp_path / "a.jpg").write_bytes(b"")
    if name == "chair":
        (folder / "objects.json").write_text(json.dumps(OBJECTS))
        (folder / "synonyms.txt").write_text("dog\n")
    question = {"question_id": 1, "image": "a.jpg", "text": "<image>\nIs there a dog?", "label": "yes"}
    file = folder / ("random.json" if name == "pope" else "questions.jsonl")
    make = find_scorer(name).benchmark
    write(file, [question])
    assert len(make(tmp_path, EvaluateSettings(data="x")).questions) == 1
    write(file, [question, {**question, "text": "<image><image> Is there a dog?"}])
    with pytest.raises(InputError, match=r"line 2: 2 <image> marks, but a question has one picture"):
        make(tmp_path, EvaluateSettings(data="x"))


@pytest.mark.parametrize("key", ["index", "idx", "doc_id", "sample_id", "custom_id"])
def test_answers_numbered_in_another_order_are_refused(tmp_path: Path, key: str) -> None:
    (tmp_path / "q.json").write_text(json.dumps(QUESTIONS))
    rising = [{key: n, "response": "yes" if n % 2 else "no"} for n in range(1, 7)]
    (tmp_path / "a.json").write_text(json.dumps(rising))
    assert pope.score_files(tmp_path / "q.json", tmp_path / "a.json")["accuracy"] == 1
    (tmp_path / "a.json").write_text(json.dumps(rising[::-1]))
    with pytest.raises(InputError, match=f"'{key}' is 5 after 6, so the answers are not in the questions' order"):
        pope.score_files(tmp_path / "q.json", tmp_path / "a.json")

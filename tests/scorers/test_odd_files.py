"""Odd files of others: read to the same figures, or refused with file and line."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from seelevel.errors import InputError
from seelevel.scorers import chair, mrhal, pope

pytestmark = pytest.mark.unit
Record = dict[str, Any]


def lines(records: Sequence[Record]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


FORMS: dict[str, Callable[[Sequence[Record]], bytes]] = {
    "lines": lambda records: lines(records).encode(),
    "byte order mark": lambda records: ("\ufeff" + lines(records)).encode(),
    "Windows line ends": lambda records: lines(records).replace("\n", "\r\n").encode(),
    "list": lambda records: json.dumps(records).encode(),
    "printed list": lambda records: json.dumps(records, indent=2, ensure_ascii=False).encode(),
    "UTF-16": lambda records: lines(records).encode("utf-16"),
    "public CHAIR script": lambda records: json.dumps({"sentences": records, "overall_metrics": {}}, indent=4).encode(),
}


@pytest.fixture(params=sorted(FORMS))
def form(request: pytest.FixtureRequest) -> Callable[[Sequence[Record]], bytes]:
    return FORMS[request.param]


def scored_pope(folder: Path, answers: bytes, rule: str = "published") -> Record:
    texts = ["Is there a dog in the imange?", "Is there a café in the image?", "Is there a cat in the image?"]
    (folder / "questions.json").write_text(
        lines([{"question_id": n, "text": t, "label": "YES" if n == 1 else "no"} for n, t in enumerate(texts, 1)])
    )
    (folder / "answers.jsonl").write_bytes(answers)
    return pope.score_files(folder / "questions.json", folder / "answers.jsonl", rule)


def scored_chair(folder: Path, captions: bytes) -> Record:
    (folder / "objects.json").write_text(json.dumps({"1": ["dog"], "2": ["cat"]}))
    (folder / "synonyms.txt").write_text("dog\ncat\n")
    (folder / "captions.json").write_bytes(captions)
    return chair.score_files(folder / "captions.json", folder / "objects.json", folder / "synonyms.txt")


def scored_mrhal(folder: Path, judgements: bytes, rule: str = "published") -> Record:
    (folder / "judgements.json").write_bytes(judgements)
    return mrhal.score_files(folder / "judgements.json", rule)


def test_pope_reads_every_form_of_an_answer_file(tmp_path: Path, form: Callable[[Sequence[Record]], bytes]) -> None:
    prompts = ["Is there a dog in the image?", "Is there a café in the imange?", "Is there a cat in the image?"]
    texts = ["Yes.", "There is no café", "yes, there is"]
    records = [
        {"question_id": n, "prompt": p, "text": t} for n, (p, t) in enumerate(zip(prompts, texts, strict=True), 1)
    ]
    for rule in pope.RULES:
        found = scored_pope(tmp_path, form(records), rule)
        assert [found[cell] for cell in ("tp", "fp", "tn", "fn", "missing")] == [1, 1, 1, 0, 0]


def test_chair_reads_every_form_of_a_caption_file(tmp_path: Path, form: Callable[[Sequence[Record]], bytes]) -> None:
    records = [
        {"image_id": 1, "caption": "A DOG — and a cat at the café."},
        {"image_id": "000000000002", "caption": ""},
        {"image_id": 2, "caption": "<think>A dog?</think>A Cat."},
        {"image_id": 2, "caption": None},
    ]
    found = scored_chair(tmp_path, form(records))
    assert (found["mentions"], found["hallucinated_mentions"], found["captions"]) == (3, 1, 3)
    assert (found["unscored"], found["unscored_images"], found["repeated_images"]) == (1, ["2"], ["2"])


def test_mrhal_reads_every_form_of_a_judgement_file(tmp_path: Path, form: Callable[[Sequence[Record]], bytes]) -> None:
    records = [
        {"id": 1, "rounds": 2, "response": "Très bien.\nRATINGS: [6, N/A]"},
        {"id": 1, "rounds": 2, "response": "<think>[6, 6]</think>Ratings: [4, 0]"},
        {"id": "b", "rounds": 2, "response": ""},
    ]
    found = scored_mrhal(tmp_path, form(records))
    assert (found["score_c"], found["rounds"]) == (10 / 4, 4)
    assert (found["repeated_ids"], found["unscored_ids"]) == (["1"], ["b"])


@pytest.mark.parametrize(
    ("texts", "published", "strict"),
    [
        (("", "", ""), (1, 2, 0, 0), (0, 0, 0, 0)),
        (("YES", "NO", "NO."), (1, 2, 0, 0), (1, 0, 2, 0)),
        (("Yes, there is.", "There is no café.", "no"), (1, 0, 2, 0), (1, 0, 2, 0)),
        (("<think>no</think>Yes", "No", "No"), (1, 0, 2, 0), (1, 0, 2, 0)),
        (("<think>not cut", "No", "No"), (1, 0, 2, 0), (0, 0, 2, 0)),
    ],
)
def test_pope_reads_odd_answers_by_each_rule(
    tmp_path: Path, texts: Sequence[str], published: tuple[int, ...], strict: tuple[int, ...]
) -> None:
    found = scored_pope(tmp_path, lines([{"question_id": n, "text": t} for n, t in enumerate(texts, 1)]).encode())
    for rule, cells in (("published", published), ("strict", strict)):
        assert tuple(found["rules"][rule][cell] for cell in ("tp", "fp", "tn", "fn")) == cells


def test_unscored_answers_of_pope_are_named(tmp_path: Path) -> None:
    answers = lines([{"question_id": n, "text": t} for n, t in enumerate(("Yes", "A café", "No"), 1)]).encode()
    assert scored_pope(tmp_path, answers, "strict")["unscored_ids"] == [2]


@pytest.mark.parametrize(
    ("records", "place"),
    [
        ([{"question_id": 1, "text": "Yes"}, {"question_id": 1, "text": "No"}], r"answers\.jsonl, line 2: .*line 1"),
        ([{"question_id": 1, "text": ["Yes", "No"]}], r"answers\.jsonl, line 1: .*not a text"),
        ([{"question_id": 9, "text": "Yes"}], r"answers\.jsonl, line 1: no question has the id '9'"),
    ],
)
def test_pope_refuses_with_file_and_line(tmp_path: Path, records: Sequence[Record], place: str) -> None:
    with pytest.raises(InputError, match=place):
        scored_pope(tmp_path, lines(records).encode())


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (lines([{"image_id": 1, "caption": "A dog."}, {"image_id": 9, "caption": "A dog."}]), r"line 2: no object set"),
        (lines([{"image_id": 1, "caption": "A dog."}, {"image_id": 1}]), r"line 2: no answer"),
        (lines([{"image_id": 1, "caption": 5.5}, {"image_id": 1, "caption": {"a": 1}}]), r"line 2: .*not a text"),
        ('{"image_id": 1, "caption": "A dog."}\n{"image_id": 1, "capt\n', r"line 2: not JSON"),
        ('{\n "sentences": [\n  {"image_id": 1,\n  "caption": }]}', r"line 4: not JSON"),
    ],
)
def test_chair_refuses_with_file_and_line(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(InputError, match=rf"captions\.json, {place}"):
        scored_chair(tmp_path, text.encode())

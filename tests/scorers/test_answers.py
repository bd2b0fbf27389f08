"""Answer files as they are in the wild: the model's words are found, and the label or the question never scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seelevel.errors import InputError
from seelevel.language.mentions import Mentions
from seelevel.scorers import chair, pope
from seelevel.scorers.capability import score as score_capability
from seelevel.scorers.files import Entry, image_names, read_entries
from seelevel.scorers.objects import by_image

pytestmark = pytest.mark.unit
ASKED = ("fork", "plate", "bowl")
LABELS = ("yes", "no", "yes")
SAID = ("Yes.", "Yes, there is", "No")  # one right yes, one wrong yes, one wrong no
QUESTIONS = [
    {
        "question_id": n + 7,
        "image": "COCO_val2014_000000000139.jpg",
        "text": f"Is there a {thing} in the imange?",
        "label": LABELS[n],
    }
    for n, thing in enumerate(ASKED)
]
RIGHT = {"tp": 1, "fp": 1, "tn": 0, "fn": 1}


def entries(records: list[dict[str, Any]]) -> list[Entry]:
    return [Entry(record, f"answers, line {n}") for n, record in enumerate(records, 1)]


def cells(found: dict[str, Any]) -> dict[str, int]:
    return {cell: found[cell] for cell in RIGHT}


def scored(records: list[dict[str, Any]], rule: str = "published") -> dict[str, int]:
    return cells(pope.score(entries(QUESTIONS), entries(records), rule))


def question(n: int) -> str:
    return f"Is there a {ASKED[n]} in the image?"


def rows(make: Any) -> list[dict[str, Any]]:
    return [make(n, said) for n, said in enumerate(SAID)]


@pytest.mark.parametrize(
    "make",
    [
        lambda n, said: {"question_id": n + 7, "text": said},
        lambda n, said: {"question_id": f"{n + 7}", "answer": said},
        lambda n, said: {"question_id": float(n + 7), "response": said},
        lambda n, said: {"id": f"00{n + 7}", "outputs": [said]},
        lambda n, said: {"question_id": f"{n + 7}.0", "prediction": said, "answer": LABELS[n]},
        lambda n, said: {"question_id": n + 7, "generated_text": [{"text": said}]},
        lambda n, said: {**QUESTIONS[n], "answer": said},
        lambda n, said: {"question_id": n + 7, "answer": n % 2, "response": said},
        lambda n, said: {"question_id": n + 7, "question": question(n), "answer": LABELS[n], "response": said},
        lambda n, said: {"question_id": n + 7, "text": question(n), "answer": LABELS[n], "output": said},
        lambda n, said: {"doc": {**QUESTIONS[n], "answer": LABELS[n]}, "target": LABELS[n], "resps": [[said]]},
        lambda n, said: {"question": f"USER: <image>\n{question(n)} Answer yes or no. ASSISTANT:", "answer": said},
        lambda n, said: {"question_id": n + 7, "prompt": f"Answer with one word.\n{question(n)}", "text": said},
        lambda n, said: {"question_id": n + 7, "image": 139, "text": said},
        lambda n, said: {"question_id": n + 7, "image": "val2014/000000000139.jpg", "text": said},
        lambda n, said: {"question_id": n + 7, "image": {"bytes": None, "path": "139.jpg"}, "text": said},
    ],
)
def test_the_models_words_are_scored_in_every_layout(make: Any) -> None:
    assert scored(rows(make)) == RIGHT


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        # the hub's copy alone: every 'answer' is the label
        (
            lambda n, _: {"question_id": n + 7, "question": question(n), "answer": LABELS[n], "category": "random"},
            "label",
        ),
        (lambda n, said: {"question_id": n + 7, "text": said, "answer": LABELS[n]}, "both 'text' and 'answer'"),
        (lambda n, said: {"question_id": n + 7, "response": said, "output": "No"}, "both 'response' and 'output'"),
        (lambda n, _: {"question_id": n + 7, "prediction": n % 2}, "not the words"),
        (lambda n, _: {"question_id": n + 7, "prediction": True}, "not the words"),
        (lambda n, said: {"question_id": n + 7, "text": said, "image": 140}, "asks"),
        (lambda n, said: {"question_id": n + 7, "text" if n else "response": said}, "no answer|both"),
        (lambda n, said: {"question_id": n + 7, "outputs": [said, said]}, "not a text"),
        (lambda n, said: {"question_id": n + 7, "said": said}, "no answer"),
        (lambda n, _: QUESTIONS[n], "'text' is the question"),
    ],
)
def test_a_file_that_could_be_misread_is_refused(make: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        scored(rows(make))


def test_a_perfect_model_in_small_letters_is_scored_and_asked_about(capsys: pytest.CaptureFixture[str]) -> None:
    answers = [{"question_id": n + 7, "answer": label} for n, label in enumerate(LABELS)]
    assert scored(answers) == {"tp": 2, "fp": 0, "tn": 1, "fn": 0}
    assert "letter for letter" in capsys.readouterr().err


def test_thoughts_are_read_by_the_published_rule_alone_and_a_cut_one_is_unscored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    thoughts = ["<think>There is no fork? There is.</think>\n**Yes**", "not a plate</think>No", "<think>No bowl, or"]
    answers = [{"question_id": n + 7, "text": text} for n, text in enumerate(thoughts)]
    found = pope.score(entries(QUESTIONS), entries(answers), "strict")
    assert cells(found) == {"tp": 1, "fp": 0, "tn": 1, "fn": 0}
    assert (found["unscored"], found["missing"], found["thoughts"]) == (1, 0, 3)
    for name, records in (("q", QUESTIONS), ("a", answers)):
        (tmp_path / name).write_text(json.dumps(records))
    pope.score_files(tmp_path / "q", tmp_path / "a")
    assert "3 answers hold a model's thoughts" in capsys.readouterr().err


def test_a_null_or_nan_answer_is_missing_and_an_empty_one_is_not() -> None:
    answers = [
        {"question_id": 7, "text": None},
        {"question_id": 8, "text": float("nan")},
        {"question_id": 9, "text": ""},
    ]
    found = pope.score(entries(QUESTIONS), entries(answers), "strict")
    assert (found["missing"], found["missing_ids"], found["unscored"], found["n"]) == (2, [7, 8], 1, 0)


def test_capability_reads_the_same_layouts() -> None:
    colours = [{**q, "label": "Red"} for q in QUESTIONS]
    answers = [
        {"question_id": n + 7, "answer": "Red", "response": said}
        for n, said in enumerate(["red", "blue", "<think>red"])
    ]
    found = score_capability(entries(colours), entries(answers))
    assert (found["capability_accuracy"], found["n"], found["missing_ids"]) == (1 / 2, 2, [9])


OBJECTS = {"000000000139.jpg": ["fork"], "COCO_val2014_000000000285.jpg": ["plate"], "724": ["bowl"]}
MENTIONS = [["fork"], ["plate"], ["bowl"]]


@pytest.mark.parametrize(
    ("image", "there"),
    [
        *((name, "fork") for name in ("139", "COCO_val2014_000000000139.jpg", "val2014/000000000139.jpg", "139.jpg")),
        *((name, "plate") for name in (285, 285.0, "000000000285", "COCO_val2014_000000000285", ["285.png"])),
        *((name, "bowl") for name in ("724", "COCO_train2014_000000000724.jpg", {"path": "x/000000000724.jpg"})),
    ],
)
def test_an_image_is_found_in_every_form_of_its_name(image: Any, there: str) -> None:
    known = by_image(OBJECTS)
    for key in ("image", "image_id", "file_name"):
        assert chair.objects_of(Entry({key: image, "question_id": 724}, "x"), known) == [there]


def test_the_id_of_a_caption_with_an_unknown_image_is_not_taken_for_an_image() -> None:
    with pytest.raises(InputError, match="no object set"):
        chair.objects_of(Entry({"image": "other.jpg", "question_id": 724}, "x"), by_image(OBJECTS))


def test_a_name_that_two_images_share_is_found_only_in_full() -> None:
    known = by_image({"a/1.jpg": ["fork"], "b/1.jpg": ["plate"]})
    assert chair.objects_of(Entry({"image": "b/1.jpg"}, "x"), known) == ["plate"]
    with pytest.raises(InputError, match="no object set"):
        chair.objects_of(Entry({"image": "1.jpg"}, "x"), known)


@pytest.mark.parametrize(
    "make",
    [
        lambda caption: {"image_id": 139, "caption": caption},
        lambda caption: {"image_id": 139, "text": "Describe the plate.", "answer": caption},
        lambda caption: {"image_id": 139, "caption": "A plate.", "prediction": caption},
        lambda caption: {"image_id": 139, "outputs": [caption]},
        lambda caption: {"image_id": 139, "text": f"<think>A plate? No.</think>{caption}"},
    ],
)
def test_the_models_caption_is_counted_in_every_layout(make: Any) -> None:
    found = chair.score(entries([make("A fork and a bowl.")]), OBJECTS, Mentions(MENTIONS))
    assert (found["mentions"], found["hallucinated_mentions"], found["unscored"]) == (2, 1, 0)


def test_a_caption_that_is_only_thought_is_unscored() -> None:
    captions = [{"image": "139.jpg", "caption": "<think>A plate, or"}, {"image": "139.jpg", "caption": "A fork."}]
    found = chair.score(entries(captions), OBJECTS, Mentions(MENTIONS))
    assert (found["captions"], found["chair_s"], found["unscored"]) == (1, 0.0, 1)


def test_prompts_in_the_place_of_captions_are_refused() -> None:
    with pytest.raises(InputError, match="'text' is the prompt"):
        chair.score(entries([{"image": "139.jpg", "text": "Describe the fork."}]), OBJECTS, Mentions(MENTIONS))


def test_captions_of_two_texts_are_refused() -> None:
    captions = [{"image": "139.jpg", "text": "A fork.", "answer": "A plate."}]
    with pytest.raises(InputError, match="both 'text' and 'answer'"):
        chair.score(entries(captions), OBJECTS, Mentions(MENTIONS))


LINES = [{"question_id": n + 7, "text": said} for n, said in enumerate(SAID)]
LAYOUTS: dict[str, str] = {
    "lines": "\n".join(map(json.dumps, LINES)),
    "windows": "\ufeff" + "\r\n".join(map(json.dumps, LINES)) + "\r\n\r\n",
    "list": json.dumps(LINES, indent=2),
    "printed": "\n".join(json.dumps(row, indent=4) for row in LINES),
    "printed with commas": ",\n".join(json.dumps(row, indent=4) for row in LINES),
    "wrapped": json.dumps({"model": "x", "answers": LINES}, indent=1),
    "by id": json.dumps({str(row["question_id"]): row["text"] for row in LINES}),
    "by id, objects": json.dumps({str(row["question_id"]): {"text": row["text"]} for row in LINES}, indent=1),
    "by id, lists": json.dumps({str(row["question_id"]): [row["text"]] for row in LINES}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_is_read_in_every_layout(tmp_path: Path, layout: str) -> None:
    (tmp_path / "a.json").write_text(LAYOUTS[layout], encoding="utf-8", newline="")
    assert scored([entry.record for entry in read_entries(tmp_path / "a.json")]) == RIGHT


def test_a_utf16_file_of_powershell_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(LAYOUTS["lines"], encoding="utf-16")
    assert scored([entry.record for entry in read_entries(tmp_path / "a.json")]) == RIGHT


def test_a_line_separator_inside_a_text_does_not_end_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1, "text": "é\u2028ü"}\n{"id": 2, "text": "日本"}\n', encoding="utf-8")
    assert [entry.record["text"] for entry in read_entries(tmp_path / "a.jsonl")] == ["é\u2028ü", "日本"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{\n "id": 1,\n "text": "a"\n}\n{\n "id": 2\n "text": "b"\n}', "line 7: not JSON"),
        ('{"7": "yes", "7": "no"}', "'7' twice"),
        ('{"id": 1, "text": "yes", "text": "no"}', "'text' twice"),
        ('{"id": 1, "text": "yes', "line 1: not JSON"),
    ],
)
def test_a_broken_file_names_the_place(tmp_path: Path, text: str, place: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=place):
        read_entries(tmp_path / "a.json")


def test_names_of_an_image() -> None:
    assert "42" in image_names("COCO_val2014_000000000042.jpg") and "42" in image_names(42.0)
    assert image_names(float("nan")) == image_names(None) == image_names([1, 2]) == []
    assert image_names("v1.5") == ["v1.5"]

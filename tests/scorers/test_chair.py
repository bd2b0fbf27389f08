"""CHAIR on hand-made captions and on real ones whose figures were published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seelevel.errors import InputError
from seelevel.language.mentions import Mentions
from seelevel.scorers.chair import objects_of, read_objects, score, score_files
from seelevel.scorers.files import Entry

DATA = Path(__file__).parents[2].parent / "shared" / "data"
real = pytest.mark.skipif(not (DATA / "chair").is_dir(), reason="../shared/data/chair is not there")
SYNONYMS = [["dog", "puppy"], ["cat"], ["cup", "mug"], ["hot dog"]]
OBJECTS = {"a.png": ["dog", "cup"], "b.png": ["cat"], "310196": ["dog"]}


def captions(*pairs: tuple[str, str]) -> list[Entry]:
    return [Entry({"image": i, "caption": c}, f"captions, line {n}") for n, (i, c) in enumerate(pairs, 1)]


@pytest.mark.unit
def test_two_captions_worked_out_by_hand() -> None:
    # mentions: dog, mug, puppy | dog, cat, cats; wrong: the second dog; objects named: dog, cup of 2; cat of 1
    found = score(
        captions(("a.png", "A dog with a mug. The puppy sits."), ("b.png", "A dog and a cat. Cats sleep.")),
        OBJECTS,
        Mentions(SYNONYMS),
    )
    assert (found["mentions"], found["hallucinated_mentions"], found["captions"]) == (6, 1, 2)
    assert found["chair_i"] == 1 / 6
    assert found["chair_s"] == 1 / 2
    assert found["chair_recall"] == 1.0


@pytest.mark.unit
def test_captions_without_any_mention_have_no_chair_i() -> None:
    found = score(captions(("b.png", "A quiet place.")), OBJECTS, Mentions(SYNONYMS))
    assert found["chair_i"] is None
    assert (found["chair_s"], found["chair_recall"]) == (0.0, 0.0)


@pytest.mark.unit
@pytest.mark.parametrize(
    "record",
    [
        {"image": "COCO_val2014_000000310196.jpg"},
        {"image": "val2014/COCO_val2014_000000310196.jpg"},
        {"image_id": 310196},
        {"question_id": 7, "image_id": "310196"},
    ],
)
def test_an_image_is_found_by_name_or_coco_id(record: dict[str, Any]) -> None:
    assert objects_of(Entry(record, "x"), OBJECTS) == ["dog"]


@pytest.mark.unit
def test_an_image_without_object_set_is_named() -> None:
    with pytest.raises(InputError, match=r"captions, line 1: no object set .*z\.png"):
        score(captions(("z.png", "a dog")), OBJECTS, Mentions(SYNONYMS))


@pytest.mark.unit
def test_a_name_of_thousands_of_digits_is_looked_up_normally() -> None:
    long, zeros = "9" * 5000, "0" * 5000
    with pytest.raises(InputError, match="line 1: no object set") as caught:
        objects_of(Entry({"image": f"{long}.jpg"}, "captions, line 1"), OBJECTS)
    assert len(str(caught.value)) < 300
    assert objects_of(Entry({"image": f"{zeros}7.jpg"}, "x"), {"7": ["cup"]}) == ["cup"]
    assert objects_of(Entry({"image": f"{zeros}.jpg"}, "x"), {"0": ["cat"]}) == ["cat"]


@pytest.mark.unit
def test_object_sets_that_are_none_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "objects.json"
    file.write_text('["dog"]')
    with pytest.raises(InputError, match="one JSON object of lists"):
        read_objects(file)


@real
@pytest.mark.parametrize(
    ("name", "chair_i", "chair_s"),
    [
        ("Instruction1_llava", 18.8, 62.7),
        ("Instruction2_llava", 10.5, 32.7),
        ("Instruction1_minigpt-4", 9.2, 31.5),
        ("Instruction2_minigpt-4", 6.7, 9.5),
        ("Instruction1_instructblip", 2.5, 3.4),
        ("Instruction2_instructblip", 2.6, 3.7),
    ],
)
def test_the_pope_papers_figures_come_out_to_the_digit(name: str, chair_i: float, chair_s: float) -> None:
    # Li et al. 2023, arXiv 2305.10355: its instruction 1 is file 2; printed in percent with one digit
    found = score_files(
        DATA / "captions_pope" / f"{name}.json",
        DATA / "chair" / "coco2014_trainval_imid_to_objects.json",
        DATA / "chair" / "synonyms_lisaanne.txt",
    )
    assert found["captions"] == 2000
    assert 100 * found["chair_i"] == pytest.approx(chair_i, abs=0.05 + 1e-9)
    assert 100 * found["chair_s"] == pytest.approx(chair_s, abs=0.05 + 1e-9)


@real
@pytest.mark.parametrize(
    ("folder", "name", "reference"),
    [
        ("captions_opera", "llava-1.5_greedy.jsonl", "opera_chair/llava-1.5_greedy.jsonl"),
        ("captions_pope", "Instruction1_llava.json", "pope_captions/Instruction1_llava.json"),
        ("captions_pope", "Instruction2_instructblip.json", "pope_captions/Instruction2_instructblip.json"),
    ],
)
def test_figures_of_real_captions_come_out_to_the_digit(folder: str, name: str, reference: str) -> None:
    found = score_files(
        DATA / folder / name,
        DATA / "chair" / "coco2014_trainval_imid_to_objects.json",
        DATA / "chair" / "synonyms_lisaanne.txt",
    )
    known = json.loads((DATA / "chair" / "reference_scores.json").read_text())[reference]["singularize"]
    assert found["captions"] == known["captions"]
    assert found["mentions"] == known["mentions"]
    assert found["hallucinated_mentions"] == known["hallucinated_mentions"]
    assert found["hallucinated_captions"] == known["hallucinated_captions"]
    assert round(100 * found["chair_recall"], 2) == round(known["Recall"], 2)

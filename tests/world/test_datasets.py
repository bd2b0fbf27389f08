"""The world in public file forms."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seelevel.errors import InputError
from seelevel.world import model_path
from seelevel.world.pictures.scenes import KINDS, draw_scenes
from seelevel.world.texts.datasets import sample_sheet, write_evaluation, write_prompts

pytestmark = pytest.mark.unit


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_evaluation(tmp_path_factory.mktemp("dev"), "dev", limit=60)


def test_prompts_are_llava_conversations_that_start_with_the_image(tmp_path: Path) -> None:
    records = json.loads(write_prompts(tmp_path, limit=40).read_text())
    assert len(records) == 40
    for record in records:
        assert Image.open(tmp_path / "images" / record["image"]).size == (126, 126)
        speakers = [turn["from"] for turn in record["conversations"]]
        assert speakers == ["human", "gpt"] * (len(speakers) // 2)
        assert record["conversations"][0]["value"].startswith("<image>\n")
        assert set(record["annotations"]) == {"scene", "image_content"}


def test_prompts_are_mostly_descriptions_with_some_dialogues(tmp_path: Path) -> None:
    records = json.loads(write_prompts(tmp_path, limit=300).read_text())
    first = [record["conversations"][0]["value"].lower() for record in records]
    described = sum("descri" in text or "in detail" in text or "in one sentence" in text for text in first)
    rounds = Counter(len(record["conversations"]) // 2 for record in records)
    assert 0.65 < described / 300 < 0.9
    assert rounds[1] > 200
    assert set(rounds) <= {1, 2, 3, 4, 5}
    assert sum(rounds[n] for n in (2, 3, 4, 5)) > 30


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_prompts(tmp_path / folder / "prompts", limit=8)
        write_evaluation(tmp_path / folder / "test", "test", limit=8)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) > 20
    for path in files:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_chair_files_list_what_is_there(dev: Path) -> None:
    objects = json.loads((dev / "chair" / "objects.json").read_text())
    for scene in draw_scenes("dev", 60):
        assert set(objects[f"{scene.id}.png"]) == scene.kinds
    synonyms = [line.split(", ")[0] for line in (dev / "chair" / "synonyms.txt").read_text().splitlines()]
    assert synonyms == list(KINDS)
    questions = lines(dev / "chair" / "questions.jsonl")
    assert {question["image"] for question in questions} == set(objects)


@pytest.mark.parametrize("how", ["random", "popular", "adversarial"])
def test_pope_asks_for_as_many_absent_as_present_kinds(dev: Path, how: str) -> None:
    objects = json.loads((dev / "chair" / "objects.json").read_text())
    per_image: dict[str, Counter[str]] = {}
    for record in lines(dev / "pope" / f"{how}.json"):
        kind = record["text"].removesuffix(" in the image?").split()[-1]
        assert (kind in objects[record["image"]]) == (record["label"] == "yes")
        per_image.setdefault(record["image"], Counter())[record["label"]] += 1
    for image, labels in per_image.items():
        assert labels["yes"] == labels["no"] == len(objects[image])


def test_popular_questions_ask_for_more_frequent_kinds_than_random_ones(dev: Path) -> None:
    objects = json.loads((dev / "chair" / "objects.json").read_text())
    frequency = Counter(kind for kinds in objects.values() for kind in kinds)

    def mean(how: str) -> float:
        kinds = [r["text"].split()[-4] for r in lines(dev / "pope" / f"{how}.json") if r["label"] == "no"]
        return sum(frequency[kind] for kind in kinds) / len(kinds)

    assert mean("popular") > mean("random") + 2


def test_dialogues_have_two_to_five_rounds_three_on_average(tmp_path: Path) -> None:
    write_evaluation(tmp_path, "dev", limit=110)
    records = json.loads((tmp_path / "mrhal" / "dialogues.json").read_text())
    rounds = [len(record["revised"]) / 2 for record in records]
    assert len(records) >= 100
    assert set(rounds) == {2, 3, 4, 5}
    assert sum(rounds) / len(rounds) == pytest.approx(3, abs=0.25)
    assert records[0]["image_content"][0].startswith("setting: ")


def test_capability_labels_are_words_of_their_category(dev: Path) -> None:
    records = lines(dev / "capability" / "questions.jsonl")
    by_id = {f"{scene.id}.png": scene for scene in draw_scenes("dev", 60)}
    assert {record["category"] for record in records} == {"colour", "count", "place"}
    for record in records:
        groups = by_id[record["image"]].groups
        values = {"colour": {g.colour for g in groups}, "place": {g.place for g in groups}}
        assert record["label"] in values.get(record["category"], {"one", "two", "three"})
    assert len({record["question_id"] for record in records}) == len(records)


def test_a_contact_sheet_is_a_picture(tmp_path: Path) -> None:
    sample_sheet(tmp_path / "sheet.png", n=4, split="dev")
    assert Image.open(tmp_path / "sheet.png").size[0] == 900


def test_unknown_names_are_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such split"):
        write_prompts(tmp_path, split="tset")
    with pytest.raises(InputError, match="no such model"):
        model_path("xxl")

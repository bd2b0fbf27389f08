"""Object annotations in the layouts that people have."""

import json
from pathlib import Path

import pytest

from seelevel.errors import InputError
from seelevel.language.mentions import Mentions
from seelevel.scorers.objects import by_image, names_in, read_object_sets

pytestmark = pytest.mark.unit
COCO = {
    "images": [{"id": 9, "file_name": "COCO_val2014_000000000009.jpg"}, {"id": 11, "file_name": "11.jpg"}],
    "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}, {"id": 90, "name": "toothbrush"}],
    "annotations": [
        {"id": 1, "image_id": 9, "category_id": 18, "bbox": [0, 0, 5, 5]},
        {"id": 2, "image_id": 9, "category_id": 1},
        {"id": 3, "image_id": 9, "category_id": 18},
    ],
}


def written(folder: Path, value: object, name: str = "objects.json") -> Path:
    (folder / name).write_text(value if isinstance(value, str) else json.dumps(value))
    return folder / name


def test_coco_instances_give_each_image_its_categories_and_an_image_without_any_none(tmp_path: Path) -> None:
    sets = read_object_sets(written(tmp_path, COCO))
    assert sets.images == {"COCO_val2014_000000000009.jpg": ["dog", "person", "dog"], "11.jpg": []}
    assert list(sets.names) == ["person", "dog", "toothbrush"]  # a category that no picture holds can be invented
    assert by_image(sets.images)["9"] == ["dog", "person", "dog"]


def test_coco_captions_are_read_with_a_list_of_words_and_not_without(tmp_path: Path) -> None:
    captions = {
        "images": COCO["images"],
        "annotations": [{"image_id": 9, "id": 1, "caption": "A puppy."}, {"image_id": 9, "id": 2, "caption": "A man."}],
    }
    file = written(tmp_path, captions)
    sets = read_object_sets(file, Mentions([["dog", "puppy"], ["person", "man"]]))
    assert sets.images["COCO_val2014_000000000009.jpg"] == ["dog", "person"]
    with pytest.raises(InputError, match=r"objects\.json: captions name objects in many words"):
        read_object_sets(file)


def test_records_name_an_image_or_an_id_and_objects_with_or_without_boxes(tmp_path: Path) -> None:
    lines = [
        {"image": "a/1.jpg", "objects": ["dog"]},
        {"image": "a/1.jpg", "objects": [{"category": "cat", "bbox": [0, 0, 1, 1]}]},
        {"id": 7, "objects": []},
    ]
    for text in ("\n".join(map(json.dumps, lines)), json.dumps(lines), json.dumps({"records": lines})):
        sets = read_object_sets(written(tmp_path, text))
        assert sets.images == {"a/1.jpg": ["dog", "cat"]}
        assert sets.ids == {"7": []}
    assert read_object_sets(written(tmp_path, lines[0])).images == {"a/1.jpg": ["dog"]}


def test_one_object_of_lists_is_read_by_image(tmp_path: Path) -> None:
    sets = read_object_sets(written(tmp_path, {"9": ["dog"], "b.jpg": [{"name": "cat"}]}))
    assert (sets.images, sets.ids) == ({"9": ["dog"], "b.jpg": ["cat"]}, {})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('{"image": "a.jpg", "objects": ["dog"]}\n{"image": "b.jpg"}', "line 2: no list `objects` of names"),
        ('{"image": "a.jpg", "objects": ["dog"]}\n{"objects": ["dog"]}', "line 2: no image or id"),
        ('{"image": "a.jpg", "objects": ["dog"]}\n{"image": ', "line 2: not JSON"),
        ({**COCO, "annotations": [{"image_id": 9, "category_id": 5}]}, "annotation 1: it needs image_id, and"),
        ({**COCO, "annotations": [{"category_id": 1}]}, "annotation 1: it needs image_id, and"),
        ([3], "object sets are one JSON object of lists"),
    ],
)
def test_what_is_no_annotation_is_refused_with_its_place(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_object_sets(written(tmp_path, value))


@pytest.mark.parametrize("objects", ["dog", None, {"dog": 1}, ["dog", 3], [{"bbox": []}], ["dog", " "]])
def test_objects_without_names_are_no_list_of_objects(objects: object) -> None:
    assert names_in(objects) is None

"""Which objects are in which picture: annotations in the layouts that people have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.json_text import loads
from seelevel.language.mentions import Mentions
from seelevel.scorers.files import ID_KEYS, LISTS, Entry, image_names, plain_id, read_entries, read_text

IMAGE_KEYS = ("image", "image_id", "image_path", "image_file", "file_name", "filename", "image_name", "img_id")
NAME_KEYS = ("name", "kind", "category", "class", "label", "object")
"""Keys of an object's name, if an object is a mapping with a box or a colour."""
LAYOUTS = (
    "object sets are one JSON object of lists, {'image': ['dog', ...]}, COCO's instances or captions, or records such "
    "as {'image': 'a.jpg', 'objects': ['dog', ...]}"
)


@dataclass
class ObjectSets:
    """Objects by image, and by id for records that name no image. `names`: every object that the file knows."""

    images: dict[str, list[str]] = field(default_factory=dict)
    ids: dict[str, list[str]] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)

    def add(self, kind: dict[str, list[str]], key: str, names: Iterable[str]) -> None:
        """More objects of an image or id."""
        listed = list(names)
        kind.setdefault(key, []).extend(listed)
        self.names.update(dict.fromkeys(listed))


def read_object_sets(path: Path, mentions: Mentions | None = None) -> ObjectSets:
    """The object sets of a file: {image: names}, COCO's instances or captions, or records with `objects`.

    Records are read as answers are (see `read_entries`). `mentions` finds the objects that captions name. Raises
    `InputError` with the place of anything else, and for captions without `mentions`.
    """
    try:
        value = loads(read_text(path))
    except (ValueError, RecursionError):  # JSON lines, or broken: reading the records says where
        return _of_records(read_entries(path))
    if not isinstance(value, dict):
        if not isinstance(value, list) or not all(isinstance(record, dict) for record in value):
            raise InputError(f"{path}: {LAYOUTS}")
        return _of_records(read_entries(path))
    if (annotations := _listed(value, "annotations")) and {"category_id", "caption"} & annotations[0].keys():
        return _of_coco(path, value, annotations, mentions)
    if "objects" in value or any(_listed(value, key) for key in LISTS):
        return _of_records(read_entries(path))
    sets = ObjectSets()
    for image, objects in value.items():
        if (names := names_in(objects)) is None:
            raise InputError(f"{path}: the object set of {image!r:.60} is not a list of names like ['dog', ...]")
        sets.add(sets.images, image, names)
    return sets


def names_in(objects: Any) -> list[str] | None:
    """The names in a list of objects, which are texts or mappings with a name; None for anything else."""
    if not isinstance(objects, list):
        return None
    names = list[str]()
    for one in objects:
        name = next((one[key] for key in NAME_KEYS if key in one), None) if isinstance(one, dict) else one
        if not isinstance(name, str) or not name.strip():
            return None
        names.append(name)
    return names


def by_image(objects: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The object sets under every name of their images. A name that two images with other objects share is left out."""
    found, shared = dict(objects), set[str]()
    for image, names in objects.items():
        for name in image_names(image):
            if found.setdefault(name, names) != names and name not in objects:
                shared.add(name)
    return {name: names for name, names in found.items() if name not in shared}


def _listed(value: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The list of mappings under a key; empty if there is none."""
    listed = value.get(key)
    return listed if isinstance(listed, list) and listed and all(isinstance(one, dict) for one in listed) else []


def _of_records(entries: Sequence[Entry]) -> ObjectSets:
    sets = ObjectSets()
    for entry in entries:
        names = names_in(entry.get(("objects",)))
        if names is None:
            raise InputError(f"{entry.where}: no list `objects` of names; {LAYOUTS}")
        image = next((image_names(entry.record[key]) for key in IMAGE_KEYS if image_names(entry.record.get(key))), None)
        if image is not None:
            sets.add(sets.images, image[0], names)
        else:
            sets.add(sets.ids, plain_id(entry.text(ID_KEYS, "image or id")), names)
    return sets


def _of_coco(
    path: Path, value: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]], mentions: Mentions | None
) -> ObjectSets:
    """An image of the file without an annotation holds no object."""
    sets = ObjectSets()
    categories = {one.get("id"): str(one.get("name")) for one in _listed(value, "categories")}
    sets.names.update(dict.fromkeys(categories.values()))
    images = {one.get("id"): str(one.get("file_name", one.get("id"))) for one in _listed(value, "images")}
    for image in images.values():
        sets.add(sets.images, image, [])
    captioned = [(n, one) for n, one in enumerate(annotations, 1) if isinstance(one.get("caption"), str)]
    if captioned and mentions is None:
        raise InputError(f"{path}: captions name objects in many words; give a list of them as synonyms")
    found = [] if mentions is None else mentions.find_all(one["caption"] for _, one in captioned)
    in_caption = {n: {m.object for m in named} for (n, _), named in zip(captioned, found, strict=True)}
    for n, one in enumerate(annotations, 1):
        names = in_caption.get(n)
        if names is None and one.get("category_id") in categories:
            names = {categories[one["category_id"]]}
        if names is None or "image_id" not in one:
            raise InputError(f"{path}, annotation {n}: it needs image_id, and a caption or a category_id of the file")
        sets.add(sets.images, images.get(one["image_id"], str(one["image_id"])), sorted(names))
    return sets

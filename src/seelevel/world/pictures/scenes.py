"""Scenes: the contents of pictures, drawn by seed, and the combinations that training never shows.

A scene is a setting and one to four groups of things. Each setting has two *companions*, kinds that are in about 35% of
its scenes. Pre-training descriptions also name them in scenes without them (see ``language``), so a model that cannot
see well names them by prior.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

KINDS: tuple[str, ...] = (
    "car", "bus", "truck", "bicycle", "sign",
    "cow", "horse", "pig", "barn", "tractor", "dog",
    "cup", "bowl", "bottle", "apple", "chair", "clock",
    "bed", "lamp", "book", "cat",
    "boat", "ball", "umbrella", "bucket",
    "tree", "bench", "flower", "bird", "kite",
)  # fmt: skip
PLURALS: dict[str, str] = {kind: kind + ("es" if kind.endswith(("s", "ch")) else "s") for kind in KINDS}
SETTINGS: tuple[str, ...] = ("street", "farm", "kitchen", "bedroom", "beach", "park")
COLOURS: tuple[str, ...] = ("red", "yellow", "green", "blue", "purple", "brown", "white", "black")
SIZES: tuple[str, ...] = ("small", "large")
NUMBERS: dict[int, str] = {1: "one", 2: "two", 3: "three"}
PLACES: tuple[str, ...] = (
    "upper left", "upper middle", "upper right",
    "middle left", "center", "middle right",
    "lower left", "lower middle", "lower right",
)  # fmt: skip
"""Cells of the 3×3 grid in reading order: place number = 3 · row + column."""

NATIVES: dict[str, tuple[str, ...]] = {
    "street": ("bus", "truck", "bicycle", "tree"),
    "farm": ("horse", "pig", "barn", "tractor"),
    "kitchen": ("bowl", "bottle", "apple", "clock"),
    "bedroom": ("bed", "cat", "clock", "chair"),
    "beach": ("boat", "bucket", "kite", "dog"),
    "park": ("tree", "flower", "bicycle", "kite"),
}
COMPANIONS: dict[str, tuple[str, ...]] = {
    "street": ("car", "sign"),
    "farm": ("dog", "cow"),
    "kitchen": ("cup", "chair"),
    "bedroom": ("lamp", "book"),
    "beach": ("umbrella", "ball"),
    "park": ("bench", "bird"),
}
COMPANION_PRESENT = 0.35
NATIVE = 0.75
MOST_GROUPS = 4
SPLITS: dict[str, int] = {"pretrain": 11, "prompts": 22, "dev": 33, "test": 44, "finetune": 55, "instruct": 66}
"""Seed of each split."""
TRAINED = ("pretrain", "prompts", "finetune", "instruct")


@dataclass(frozen=True)
class Group:
    """One to three things of a kind, all of one colour and size, in one cell of the grid."""

    kind: str
    count: int
    size: str
    colour: str
    place: str

    @property
    def noun(self) -> str:
        return self.kind if self.count == 1 else PLURALS[self.kind]

    def line(self) -> str:
        """As a line of image content: '2 small red cups in the upper left'."""
        return f"{self.count} {self.size} {self.colour} {self.noun} in the {self.place}"


@dataclass(frozen=True)
class Scene:
    """The contents of a picture. Groups are in reading order; no two have the same kind or the same place."""

    id: str
    setting: str
    groups: tuple[Group, ...]
    seed: int

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(group.kind for group in self.groups)

    def find(self, kind: str) -> Group | None:
        return next((group for group in self.groups if group.kind == kind), None)

    def annotations(self) -> dict[str, Any]:
        """JSON-able record: {"setting", "objects": [{"kind", "count", "size", "colour", "place"}]}."""
        objects = [
            {"kind": g.kind, "count": g.count, "size": g.size, "colour": g.colour, "place": g.place}
            for g in self.groups
        ]
        return {"setting": self.setting, "objects": objects}

    def content_lines(self) -> list[str]:
        """The same as text: 'setting: kitchen', then one line per group."""
        return [f"setting: {self.setting}", *(group.line() for group in self.groups)]


def held_out(kind: str, colour: str, place: str) -> bool:
    """True if training never shows a combination: about one in twelve; each kind keeps every colour and place."""
    code = 7 * KINDS.index(kind) + 3 * COLOURS.index(colour) + 5 * PLACES.index(place)
    return code % 12 == 0


def draw_look(rng: random.Random, kind: str, place: str, trained: bool) -> tuple[str, str]:
    """A (size, colour) for a thing at a place; never a held-out combination if the scene is `trained` on."""
    colours = [c for c in COLOURS if not (trained and held_out(kind, c, place))]
    return rng.choice(SIZES), rng.choice(colours)


def draw_kinds(rng: random.Random, setting: str) -> list[str]:
    """The kinds of a scene: one to three from its setting or from elsewhere, and its companions by chance."""
    companions = [kind for kind in COMPANIONS[setting] if rng.random() < COMPANION_PRESENT]
    others = [kind for kind in KINDS if kind not in COMPANIONS[setting] and kind not in NATIVES[setting]]
    wanted = min(rng.choices((1, 2, 3), weights=(1, 5, 4))[0], MOST_GROUPS - len(companions))
    kinds: list[str] = []
    while len(kinds) < wanted:
        kind = rng.choice(NATIVES[setting] if rng.random() < NATIVE else others)
        if kind not in kinds:
            kinds.append(kind)
    return kinds + companions


def draw_groups(rng: random.Random, setting: str, trained: bool) -> tuple[Group, ...]:
    """Groups of a scene in reading order."""
    kinds = draw_kinds(rng, setting)
    groups = []
    for kind, cell in zip(kinds, rng.sample(range(9), len(kinds)), strict=True):
        size, colour = draw_look(rng, kind, PLACES[cell], trained)
        count = rng.choices((1, 2, 3), weights=(70, 18, 12))[0]
        groups.append(Group(kind, count, size, colour, PLACES[cell]))
    return tuple(sorted(groups, key=lambda group: PLACES.index(group.place)))


def belongs(split: str, setting: str, groups: tuple[Group, ...]) -> bool:
    """True if a scene may be in a split. Only its contents decide, so no two splits share a scene, with one exception:
    pretrain, finetune and instruct are drawn from the same contents, and share a few scenes by chance.

    Scenes for training (`TRAINED`) have no held-out combination, those of dev and test have at least one.
    """
    content = zlib.crc32("|".join([setting, *(group.line() for group in groups)]).encode())
    unseen = any(held_out(g.kind, g.colour, g.place) for g in groups)
    match split:
        case "pretrain" | "finetune" | "instruct":
            return not unseen and content % 8 != 0
        case "prompts":
            return not unseen and content % 8 == 0
        case "dev":
            return unseen and content % 2 == 0
        case "test":
            return unseen and content % 2 == 1
        case _:
            raise ValueError(f"{split}: no such split; {', '.join(SPLITS)} exist")


def draw_scene(split: str, number: int, seed: int = 0) -> Scene:
    """Scene `number` of a split: the same for the same three arguments."""
    rng = random.Random(f"{SPLITS[split]}/{seed}/{number}")
    trained = split in TRAINED
    setting = SETTINGS[number % len(SETTINGS)]
    while True:
        groups = draw_groups(rng, setting, trained)
        if belongs(split, setting, groups):
            return Scene(f"{split}-{number:05d}", setting, groups, rng.getrandbits(32))


def draw_scenes(split: str, limit: int, seed: int = 0) -> Iterator[Scene]:
    """The first `limit` scenes of a split; settings take turns. Except in pretrain, no contents come twice."""
    contents: set[tuple[str, tuple[Group, ...]]] = set()
    number = yielded = 0
    while yielded < limit:
        scene = draw_scene(split, number, seed)
        number += 1
        key = (scene.setting, scene.groups)
        if split != "pretrain" and key in contents:
            continue
        contents.add(key)
        yielded += 1
        yield scene

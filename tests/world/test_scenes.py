"""Scenes: the same for the same seed, companions as often as said, held-out combinations never in training."""

from __future__ import annotations

import numpy as np
import pytest

from seelevel.world.pictures.drawing import SIDE, draw
from seelevel.world.pictures.scenes import (
    COLOURS,
    COMPANIONS,
    KINDS,
    NATIVES,
    PLACES,
    PLURALS,
    SETTINGS,
    Group,
    Scene,
    draw_scenes,
    held_out,
)
from seelevel.world.pictures.sprites import COLOUR_RGB, SPRITES, sprite

pytestmark = pytest.mark.unit


def content(scene: Scene) -> tuple[str, ...]:
    return tuple(scene.content_lines())


def test_every_kind_has_a_sprite_and_every_colour_a_value() -> None:
    assert set(SPRITES) == set(KINDS)
    assert set(COLOUR_RGB) == set(COLOURS)


def test_no_two_kinds_look_alike() -> None:
    pictures = [sprite(kind, "blue", 32) for kind in KINDS]
    for index, first in enumerate(pictures):
        for second in pictures[index + 1 :]:
            assert np.abs(first - second).mean() > 10


def test_the_same_seed_draws_the_same_scenes_and_pixels() -> None:
    first, second = list(draw_scenes("dev", 20)), list(draw_scenes("dev", 20))
    assert first == second
    assert np.array_equal(draw(first[7]), draw(second[7]))
    assert draw(first[7]).shape == (SIDE, SIDE, 3)


def test_another_seed_draws_other_scenes() -> None:
    assert list(draw_scenes("prompts", 20, seed=1)) != list(draw_scenes("prompts", 20, seed=2))


def test_only_dev_and_test_hold_held_out_combinations_and_always() -> None:
    for split, unseen in (
        ("pretrain", False),
        ("prompts", False),
        ("finetune", False),
        ("dev", True),
        ("test", True),
    ):
        for scene in draw_scenes(split, 1500 if not unseen else 600):
            assert any(held_out(g.kind, g.colour, g.place) for g in scene.groups) is unseen


def test_every_kind_keeps_every_colour_and_every_place_in_training() -> None:
    for kind in KINDS:
        trained = [(colour, place) for colour in COLOURS for place in PLACES if not held_out(kind, colour, place)]
        assert {colour for colour, _ in trained} == set(COLOURS)
        assert {place for _, place in trained} == set(PLACES)
        assert 0.8 < len(trained) / 72 < 1


def test_no_two_splits_share_a_scene() -> None:
    splits = {split: {content(s) for s in draw_scenes(split, 1500)} for split in ("pretrain", "prompts", "dev", "test")}
    names = list(splits)
    for index, name in enumerate(names):
        for other in names[index + 1 :]:
            assert not splits[name] & splits[other]


def test_finetune_shares_no_scene_with_prompts_dev_and_test() -> None:
    apart = {content(s) for s in draw_scenes("finetune", 3000)}
    for other in ("prompts", "dev", "test"):
        assert not apart & {content(s) for s in draw_scenes(other, 1500)}


@pytest.mark.parametrize("split", ["prompts", "finetune", "dev", "test"])
def test_no_scene_comes_twice(split: str) -> None:
    scenes = [content(scene) for scene in draw_scenes(split, 1500)]
    assert len(set(scenes)) == len(scenes)


def test_a_companion_is_in_35_percent_of_its_settings_scenes() -> None:
    scenes = list(draw_scenes("pretrain", 6000))
    for setting in SETTINGS:
        among = [scene for scene in scenes if scene.setting == setting]
        for companion in COMPANIONS[setting]:
            assert sum(companion in scene.kinds for scene in among) / len(among) == pytest.approx(0.35, abs=0.06)


def test_one_to_four_groups_differ_in_kind_and_place() -> None:
    for scene in draw_scenes("prompts", 500):
        assert 1 <= len(scene.groups) <= 4
        assert len(scene.kinds) == len(scene.groups) == len({group.place for group in scene.groups})


def test_no_kind_is_both_native_and_companion_of_a_setting() -> None:
    for setting in SETTINGS:
        assert not set(NATIVES[setting]) & set(COMPANIONS[setting])
        assert {*NATIVES[setting], *COMPANIONS[setting]} <= set(KINDS)


def test_annotations_and_content_lines_have_the_documented_form() -> None:
    groups = (Group("cup", 2, "small", "red", "upper left"), Group("bus", 1, "large", "blue", "center"))
    scene = Scene("x", "kitchen", groups, 0)
    assert scene.content_lines() == [
        "setting: kitchen",
        "2 small red cups in the upper left",
        "1 large blue bus in the center",
    ]
    assert scene.annotations() == {
        "setting": "kitchen",
        "objects": [
            {"kind": "cup", "count": 2, "size": "small", "colour": "red", "place": "upper left"},
            {"kind": "bus", "count": 1, "size": "large", "colour": "blue", "place": "center"},
        ],
    }


def test_plurals_are_english() -> None:
    assert (PLURALS["bus"], PLURALS["bench"], PLURALS["apple"]) == ("buses", "benches", "apples")

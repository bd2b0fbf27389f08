"""Training on second pictures: layouts, passes, resuming, the world."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seelevel.errors import InputError
from seelevel.ladder import Ladder
from seelevel.training import trainer
from seelevel.training.fit import fit
from seelevel.training.objectives.picture_settings import CopoSettings, SymmpoSettings
from seelevel.training.packing import BEGINS, Batch, collate
from seelevel.training.packing.tokens import ImageReader
from seelevel.training.prepare import Prepared, prepare
from seelevel.training.settings import TrainSettings
from seelevel.training.show import first_step
from seelevel.training.trainer import PreferenceTrainer
from seelevel.world import model_path
from seelevel.world.pictures.scenes import draw_scenes
from seelevel.world.texts.datasets import prompt_ladder, write_prompts
from tests.training.test_trainer import Killed, contents
from tests.training.tiny import make_interaction, make_ladder, make_model, make_processor
from tests.training.weights import share_of_the_way

MDPO = {"name": "mpo", "terms": [{"name": "dpo"}, {"name": "copo"}, {"name": "ancpo"}], "weights": [1, 1, 1]}
SYMMPO = {"name": "mpo", "terms": [{"name": "dpo"}, {"name": "symmpo"}, {"name": "copo"}], "weights": [1, 0.5, 0.1]}


@pytest.fixture(scope="module")
def ladders(tmp_path_factory: pytest.TempPathFactory) -> list[Ladder]:
    folder = tmp_path_factory.mktemp("pictures")
    return [
        *(make_ladder(folder, n, k=2 + n % 3) for n in range(8)),
        *make_interaction(folder, 8, conditions=False)[:1],
    ]


def settings(**changes: Any) -> TrainSettings:
    plain = {
        "ladders_per_step": 4,
        "epochs": 2,
        "save_steps": 2,
        "learning_rate": 1e-3,
        "device": "cpu",
        "cache": False,
    }
    return TrainSettings(**{**plain, "objective": MDPO, **changes})


def steps(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def prepared(ladders: list[Ladder], **changes: Any) -> Prepared:
    processor = make_processor()
    return prepare(ladders, processor, ImageReader(processor), settings(**changes), make_model(processor).config)


def beginnings(batch: Batch) -> int:
    return sum(len(segment.mask) for segment in batch.segments if segment.parent == BEGINS)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Batch]]:
    """The batches that are trained on."""
    seen, whole = list[Batch](), trainer.collate

    def watched(*args: Any) -> Batch:
        seen.append(whole(*args))
        return seen[-1]

    monkeypatch.setattr(trainer, "collate", watched)
    yield seen


@pytest.mark.parametrize(
    "objective", [MDPO, SYMMPO, {"name": "copo", "corruption": "other"}], ids=["mdpo", "symmpo", "other"]
)
def test_every_layout_and_split_gives_the_same_losses_and_weights(
    base: Path, ladders: list[Ladder], tmp_path: Path, objective: Any
) -> None:
    changes: list[dict[str, Any]] = [{}, {"tokens_per_batch": 1}, {"answers_per_pass": 1}, {"layout": "rows"}]
    for number, change in enumerate(changes):
        fit(ladders, str(base), settings(objective=objective, dtype="float64", **change), tmp_path / str(number))
    assert abs(steps(tmp_path / "0")[-1]["image_margin"]) > 1e-6
    for number in range(1, len(changes)):
        assert share_of_the_way(tmp_path / str(number) / "model", tmp_path / "0" / "model", base) <= 1e-4
        for one, entry in zip(steps(tmp_path / "0"), steps(tmp_path / str(number)), strict=True):
            assert entry == pytest.approx(one, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("objective", [MDPO, SYMMPO], ids=["mdpo", "symmpo"])
def test_a_killed_training_on_second_pictures_ends_in_the_same_bytes(
    base: Path, ladders: list[Ladder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: Any
) -> None:
    asked, whole = settings(objective=objective), PreferenceTrainer.training_step
    fit(ladders, str(base), asked, tmp_path / "whole", seed=3)

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 3:
            raise Killed
        return whole(self, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(PreferenceTrainer, "training_step", step)
        fit(ladders, str(base), asked, tmp_path / "cut", seed=3)
    assert (tmp_path / "cut" / "checkpoints" / "checkpoint-2").is_dir()
    fit(ladders, str(base), asked, tmp_path / "cut", seed=3)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


@pytest.mark.parametrize(("term", "more"), [("copo", 1), ("symmpo", 1 + 2)])
def test_each_picture_goes_through_the_model_once_whatever_the_number_of_answers(
    ladders: list[Ladder], term: str, more: int
) -> None:
    """The partner's answer, given the ladder's own picture, goes on from the ladder's prefix."""
    wide = next(ladder for ladder in ladders if len(ladder.responses) == 4)
    objective = {"name": "mpo", "terms": [{"name": "dpo"}, {"name": term}], "weights": [1, 1]}
    data = prepared([wide, *(ladder for ladder in ladders if ladder is not wide)], objective=objective)
    places, views = data.with_views([0])
    batch = collate([data.tokenised[place] for place in places], data.images, "shared")
    assert all(None not in found for found in views.values())
    assert beginnings(batch) == 2
    assert sum(len(segment.mask) for segment in batch.segments) - beginnings(batch) == 4 + more


def test_a_ladder_and_its_views_are_in_one_pass_within_the_budget(
    base: Path, ladders: list[Ladder], tmp_path: Path, batches: list[Batch]
) -> None:
    def real(batch: Batch) -> int:
        return sum(s.input_ids.numel() if s.parent == BEGINS else int(s.mask.sum()) for s in batch.segments)

    sizes = {}
    for budget in (200, 300, 500, 900):
        batches.clear()
        fit(ladders, str(base), settings(objective=SYMMPO, epochs=1, tokens_per_batch=budget), tmp_path / str(budget))
        for batch in batches:
            owners = {name.partition(" (")[0] for name in batch.ids}
            assert len(batch.ids) == 4 * len(owners)  # the ladder, two views for symmpo, one for copo
            assert real(batch) <= budget or len(owners) == 1
        sizes[budget] = len(batches)
    assert sizes[200] > sizes[500] > sizes[900]


def test_the_same_picture_as_second_one_teaches_nothing(base: Path, ladders: list[Ladder], tmp_path: Path) -> None:
    for name, kept in (("whole", (1 - 1e-9, 1)), ("part", (0, 0.2))):
        fit(ladders, str(base), settings(objective={"name": "copo", "kept": kept}, epochs=4), tmp_path / name)
    assert {entry["image_accuracy"] for entry in steps(tmp_path / "whole")} == {0.5}
    assert steps(tmp_path / "whole")[-1]["loss"] == pytest.approx(math.log(2))
    assert steps(tmp_path / "part")[-1]["loss"] < math.log(2) - 1e-3


def test_ladders_without_a_second_picture_train_by_the_other_terms_alone(
    base: Path, ladders: list[Ladder], tmp_path: Path
) -> None:
    blind = replace(ladders[0], id="blind", images=[], prompt=[{"role": "user", "content": "Is there a boat?"}])
    given = [*ladders, blind]
    facts = fit(given, str(base), settings(epochs=1), tmp_path / "mdpo")
    assert (facts["ladders"], facts["left_out"]) == (len(given), {})
    facts = fit(given, str(base), settings(objective={"name": "copo"}, epochs=1), tmp_path / "copo")
    assert (facts["ladders"], facts["left_out"]) == (len(ladders), {"no second picture": 1})
    for name in ("copo", "symmpo"):
        with pytest.raises(InputError, match=f"objective {name} needs"):
            fit([blind], str(base), settings(objective={"name": name}), tmp_path / "none")


def test_a_ladder_that_does_not_fit_is_nobodys_partner(tmp_path: Path) -> None:
    long = replace(make_ladder(tmp_path, 0, k=2, rounds=9), id="long")
    with pytest.raises(InputError, match="1 × does not fit, 1 × no second picture"):
        prepared([make_ladder(tmp_path, 1), long], objective={"name": "symmpo"}, max_length=120)


def test_prefixes_of_unequal_length_can_be_kept_apart_within_a_pass(tmp_path: Path) -> None:
    data = prepared([make_ladder(tmp_path, 0), make_ladder(tmp_path, 1, pictures=2), make_ladder(tmp_path, 2)])
    places, _ = data.with_views([0, 1, 2])
    tokens = [data.tokenised[place] for place in places]
    together, apart = (collate(tokens, data.images, "shared", None, unequal) for unequal in (True, False))
    assert any(segment.padded_left for segment in together.segments)
    assert not any(segment.padded_left for segment in apart.segments)
    assert beginnings(together) == beginnings(apart) == 6


def test_second_views_are_shown_with_the_first_step(base: Path, ladders: list[Ladder]) -> None:
    blocks = [block.plain for block in first_step(ladders, str(base), settings(objective=SYMMPO), seed=0)]
    assert len(blocks) == 4 * 4
    [answer] = [block for block in blocks if block.startswith("tiny-1 (similar answer): 1 response")]
    assert "; with tiny-1 in a row of" in answer and answer.count("<image × 16>") == 1
    assert sum("crop 0-0.2" in block.splitlines()[0] for block in blocks) == 4


@pytest.mark.parametrize("asked", [CopoSettings(), SymmpoSettings()], ids=["copo", "symmpo"])
def test_the_world_learns_to_prefer_the_right_picture(tmp_path: Path, asked: Any) -> None:
    pictures = write_prompts(tmp_path, limit=32).parent / "images"
    scenes = draw_scenes("prompts", 32)
    ladders = [prompt_ladder(scene, "prompts", str(pictures / f"{scene.id}.png")) for scene in scenes]
    wanted = settings(objective=asked.model_dump(), ladders_per_step=8, epochs=3, warmup_steps=0)
    fit(ladders, str(model_path("xs")), wanted, tmp_path / "out")
    log = steps(tmp_path / "out")
    assert log[0]["image_accuracy"] == 0.5
    assert sum(entry["image_accuracy"] for entry in log[-3:]) / 3 > 0.7
    assert log[-1]["image_margin"] > 1

"""A finished run of the world, small enough to be made in seconds: its training is real, its other stages are laid."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from seelevel import align
from seelevel.facts import AlignFacts
from seelevel.formats import read
from seelevel.formats.parquet import write_shard
from seelevel.formats.records import Rejected
from seelevel.image_store import ImageStore
from seelevel.ladder import Ladder, Message, Response
from seelevel.naming import Names
from seelevel.recipe import Recipe, load_recipe
from seelevel.stages import settings_digest
from seelevel.store import StageFolder, write_json
from seelevel.world.texts.datasets import prompts_file, write_prompts

WORSE = "A purple giraffe sits in a boat."
RECIPE: dict[str, Any] = {
    "name": "small",
    "data": {"prompts": "world:prompts", "limit": 4},
    "generate": {"experts": ["world:m"]},
    "check": {"encoder": "world:clip"},
    "align": {
        "model": "world:s",
        "lora": {"r": 4, "alpha": 16},
        "epochs": 4,
        "ladders_per_step": 2,
        "learning_rate": 0.02,
        "warmup_steps": 0,
        "scheduler": "constant",
        "device": "cpu",
        "cache": False,
    },
    "evaluate": {"data": "world:dev", "judge": "world:oracle", "benchmarks": ["chair", "capability"]},
}


def figure(value: float, low: float, high: float, n: int = 30) -> dict[str, float]:
    return {"value": value, "low": low, "high": high, "n": n}


METRICS = {
    "base": {"chair_i": figure(0.209, 0.155, 0.264), "capability_accuracy": figure(0.6, 0.5, 0.7)},
    "aligned": {"chair_i": figure(0.105, 0.062, 0.151), "capability_accuracy": figure(0.4, 0.3, 0.5)},
    "differences": {"chair_i": figure(-0.104, -0.157, -0.054), "capability_accuracy": figure(-0.2, -0.3, -0.1)},
    "settings": {"unscored": {"base": {"chair": 0}, "aligned": {"chair": 0}}},
}


def world_ladders(root: Path, count: int = 4) -> Iterator[Ladder]:
    """The standard responses of the world's first prompts, and a worse one; pictures in the run's folder."""
    write_prompts(root / "inputs", split="prompts", limit=3 * count)
    store = ImageStore(root)
    found = read(root / "inputs" / prompts_file("prompts"), root / "inputs" / "images")
    short = [ladder for ladder in found if not isinstance(ladder, Rejected) and ladder.responses[0].rounds == 1]
    for ladder in short[:count]:
        [better] = ladder.responses
        worse = Response([Message(role="assistant", content=WORSE)], 1, {"kind": "expert", "model": "world:m"})
        images = [store.put(image.path) for image in ladder.images]
        yield replace(ladder, images=images, responses=[better, worse])


def make_run(root: Path, **of_align: Any) -> Recipe:
    """A run folder whose stages are all done. `of_align`: other settings of `align`."""
    root.mkdir(parents=True, exist_ok=True)
    asked = {**RECIPE, "align": {**RECIPE["align"], **of_align}}
    (root / "asked.yaml").write_text(yaml.safe_dump(asked), encoding="utf-8")
    recipe = load_recipe(str(root / "asked.yaml"))
    (root / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")), encoding="utf-8")
    (root / "asked.yaml").unlink()
    for name in ("data", "generate", "check", "align", "evaluate"):
        stage = StageFolder(root / name, name)
        stage.begin()
        facts: dict[str, Any] = {
            "seconds": 2.5,
            "settings": settings_digest(recipe, "generate" if name == "data" else name),
        }
        if name == "check":
            write_shard(stage.shard(0), list(world_ladders(root)), root)
        if name == "align":
            model = Names(recipe, root).model(recipe.align.model)
            trained = align.run(root / "check", stage, recipe.align, model, root, recipe.seed)
            assert isinstance(trained, AlignFacts)
            facts |= {**trained.written(), "words": recipe.align.words, "source": "check"}
        if name == "evaluate":
            facts |= {"aligned": "align", "questions": {"chair": 30, "capability": 30}}
        stage.finish(**facts)
    write_json(root / "metrics.json", METRICS)
    return recipe


def json_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

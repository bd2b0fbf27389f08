"""One job: make ladders, or train a model on them and score it. Each can be stopped and started again."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.reproduce.experiments import ORDERS, SOURCES, Experiment
from seelevel.evaluate import chosen_benchmarks, score_model
from seelevel.ladder import Ladder
from seelevel.models.base import ModelRef
from seelevel.scorers.intervals import Measure, ratio
from seelevel.scorers.questions import Benchmark
from seelevel.scorers.settings import EvaluateSettings
from seelevel.store import read_manifest, write_json
from seelevel.training.settings import TrainSettings

STEPS = 336
"""Optimiser steps of every training, whatever its ladders: about four epochs of those that make a pair."""


def evaluation(out: Path, split: str) -> Path:
    """The folder of questions, written once."""
    from seelevel.world.texts.datasets import write_evaluation

    folder = out / f"questions-{split}"
    if not (folder / "done").exists():
        write_evaluation(folder, split)
        (folder / "done").touch()
    return folder


def ladders(out: Path, source: str, order: str, seed: int) -> list[Ladder]:
    """Ladders of a source in an order, generated and checked by the pipeline where that has not been done yet."""
    from seelevel.formats.parquet import read_ladders
    from seelevel.pipeline import Run
    from seelevel.recipe import load_recipe

    recipe, overrides = SOURCES[source]
    check = ORDERS[order]
    settings = load_recipe(recipe, [*overrides, *(check or []), f"seed={seed}"])
    folder = out / "ladders"
    run = Run(settings, folder / f"{source}-{'checked' if check is None else order}-{seed}")
    stage = run.out / ("generate" if check is None else "check")
    if read_manifest(stage) is None:  # made before the trainings, which read it side by side
        generated = folder / f"{source}-checked-{seed}"
        if not run.out.exists() and read_manifest(generated / "generate") is not None:
            for part in ("inputs", "images", "data", "generate"):
                shutil.copytree(generated / part, run.out / part)
        run.alone("generate")
        run.alone("check")
    return read_ladders(stage, run.out)


def source_seed(source: str, seed: int) -> int:
    """Greedy answers of given models are the same whatever the seed; what draws at random is drawn for each."""
    return 0 if source.startswith("meg") else seed


def settings_of(experiment: Experiment, found: Sequence[Ladder]) -> TrainSettings:
    """The recipe's training with the experiment's objective, at `STEPS` steps whatever the number of ladders."""
    from seelevel.recipe import load_recipe

    kept = set(TrainSettings.model_fields) - {"objective", "epochs"}
    recipe = load_recipe(SOURCES[experiment.source][0]).align.model_dump(include=kept)
    if experiment.learning_rate is not None:
        recipe["learning_rate"] = experiment.learning_rate
    settings = TrainSettings(**recipe, objective=experiment.objective)
    counted = sum(bool(ladder.responses) and settings.objective.has_signal(ladder.levels) for ladder in found)
    return settings.model_copy(update={"epochs": STEPS * settings.ladders_per_step / max(counted, 1)})


def train(out: Path, experiment: Experiment, seed: int, split: str, benchmarks: Sequence[str] = ()) -> None:
    """Train one experiment with one seed and score it; the result is `out/<split>/<name>-<seed>/items.json`."""
    from seelevel.training.fit import fit

    name = f"{experiment.name}-{seed}"
    result, model = out / split / name, out / "models" / name
    if (result / "items.json").exists():
        return
    start = time.monotonic()
    found = ladders(out, experiment.source, experiment.order, source_seed(experiment.source, seed))
    facts = fit(found, str(_base()), settings_of(experiment, found), model, seed=seed)
    facts = {**facts, "seconds": time.monotonic() - start}
    score(out, result, ModelRef(experiment.name, str(model / "model")), split, facts, benchmarks)


def score(
    out: Path, result: Path, model: ModelRef, split: str, facts: dict[str, Any], benchmarks: Sequence[str] = ()
) -> None:
    """Answer benchmarks, all if none is named, with a model; items of each, with the clusters they are resampled in."""
    from seelevel.world.oracle import Oracle

    data = evaluation(out, split)
    settings = EvaluateSettings(data=str(data), **({"benchmarks": list(benchmarks)} if benchmarks else {}))
    found = score_model(result, model.name, model, chosen_benchmarks(settings, data), settings, Oracle(), out)
    with (result / "chair.jsonl").open(encoding="utf-8") as lines:
        texts = [json.loads(line)["answer"] for line in lines]
    found["text"] = [
        {**repetition(text), "id": item["id"], "cluster": item["cluster"]}
        for text, item in zip(texts, found["chair"], strict=True)
    ]
    write_json(result / "items.json", {"items": found, "facts": facts})


def _base() -> Path:
    from seelevel.world import model_path

    return model_path("s")


def score_base(out: Path, split: str, benchmarks: Sequence[str] = ()) -> None:
    result = out / split / "base"
    if not (result / "items.json").exists():
        score(out, result, ModelRef("world:s", str(_base())), split, {}, benchmarks)


def repetition(text: str, n: int = 4) -> dict[str, int]:
    """Words, n-grams, and how many n-grams the text had said before (seq-rep-4 of arXiv 1908.04319)."""
    words = text.split()
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return {"words": len(words), "grams": len(grams), "repeated": len(grams) - len(set(grams))}


TEXT_MEASURES = [
    Measure("repetition", lambda item: (item["repeated"], item["grams"]), ratio),
    Measure("words", lambda item: (item["words"], 1), ratio),
]


def measures(benchmarks: Sequence[Benchmark]) -> dict[str, list[Measure]]:
    """Each benchmark's measures, and those of the text itself."""
    return {**{b.name: b.measures for b in benchmarks}, "text": TEXT_MEASURES}

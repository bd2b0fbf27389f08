"""Gives a small run a control: its training, its answers and its figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from seelevel.store import MANIFEST, StageFolder, read_mapping, write_json
from seelevel.training.settings import AlignSettings

from .make_run import METRICS, RECIPE, answers, figure

ALIGNED = "a" * 16
CONTROL = "c" * 16
FIGURES: dict[str, dict[str, Any]] = {
    "control": {
        **METRICS["base"],
        "chair_i": figure(0.171, 0.02), "chair_s": figure(0.2, 0.03), "capability_accuracy": figure(0.69, 0.02),
    },
    "differences_from_control": {
        **METRICS["differences"],
        "chair_i": figure(-0.042, 0.015), "chair_s": figure(0.042, 0.02), "capability_accuracy": figure(-0.009, 0.02),
    },
}  # fmt: skip
"""CHAIRi is better than the control's, CHAIRs worse, Capability not clearly different."""


def add_control(root: Path) -> Path:
    """Add a finished control of the alignment in `root`, evaluated as the other models are."""
    align = {**RECIPE["align"], "control": True}
    recipe = yaml.safe_load((root / "recipe.yaml").read_text())
    (root / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "align": align}, sort_keys=False))
    aligned = read_mapping(root / "align" / MANIFEST) or {}
    write_json(root / "align" / MANIFEST, {**aligned, "fingerprint": ALIGNED})
    stage = StageFolder(root / "control", CONTROL)
    stage.begin()
    words = AlignSettings.model_validate(align).of_control.words
    stage.finish(steps=63, ladders=20, words=words, source=ALIGNED, seconds=10.0)
    folder = root / "evaluate" / "control"
    folder.mkdir(parents=True, exist_ok=True)
    for benchmark, items in answers(root, "control").items():
        (folder / f"{benchmark}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    evaluated = read_mapping(root / "evaluate" / MANIFEST) or {}
    write_json(root / "evaluate" / MANIFEST, {**evaluated, "aligned": ALIGNED, "control": CONTROL})
    metrics = read_mapping(root / "metrics.json") or {}
    unscored = {**metrics["settings"]["unscored"], "control": {"chair": 0, "mrhal": 2}}
    write_json(root / "metrics.json", {**metrics, **FIGURES, "settings": {"unscored": unscored}})
    return root

"""A model that answers by a rule, evaluated on a benchmark, for tests of benchmarks that need no judge."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import seelevel.models
from seelevel import evaluate
from seelevel.models.base import Completion, ModelRef, Prompt, Sampling
from seelevel.scorers.settings import EvaluateSettings
from seelevel.store import StageFolder

Answers = Callable[[Prompt], str]


class Speaker:
    """Answers by a rule, and keeps what it was asked."""

    def __init__(self, answers: Answers) -> None:
        self.name, self.answers = "speaker", answers
        self.asked: list[tuple[Prompt, Sampling]] = []

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        self.asked += [(prompt, sampling) for prompt in prompts]
        return [Completion(self.answers(prompt), 3, True) for prompt in prompts]


def run(
    root: Path, data: Path, monkeypatch: pytest.MonkeyPatch, settings: Mapping[str, Any], **answers: Answers
) -> tuple[dict[str, Speaker], dict[str, Any]]:
    """Evaluate a model for each of `base` and `aligned`; returns the models and metrics.json."""
    speakers = {side: Speaker(rule) for side, rule in answers.items()}
    monkeypatch.setattr(seelevel.models, "load_model", lambda path: speakers[path])
    stage = StageFolder(root / "evaluate", "0" * 16)
    stage.begin()
    evaluate.run(
        stage,
        EvaluateSettings(data=str(data), **settings),
        data,
        {side: ModelRef(side, side) for side in speakers},
        None,
        root,
        seed=0,
    )
    stage.finish()
    return speakers, json.loads((root / "metrics.json").read_text())


def values(metrics: Mapping[str, Any], side: str = "base") -> dict[str, float | None]:
    return {name: figure["value"] for name, figure in metrics[side].items()}


def asked(prompt: Prompt) -> tuple[str, str]:
    """The picture's file name and the question of a prompt."""
    image = Path(prompt.images[0]).name if prompt.images else ""
    return image, str(prompt.messages[-1]["content"]).removeprefix("<image>\n")

"""The page says what the levels are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from seelevel.report.facts import run_facts
from seelevel.report.ladders import say_origin
from seelevel.report.reading import read_run
from seelevel.store import write_json

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ({"kind": "standard"}, "standard response"),
        ({"kind": "expert", "model": "large"}, "expert large"),
        ({"kind": "fine-tuned", "model": "small on part 1 of 2"}, "fine-tuned small on part 1 of 2"),
        ({"kind": "perturbation", "share": 0.1}, "perturbation of 10%"),
        ({}, "origin not noted"),
    ],
)
def test_a_responses_origin_is_said_in_a_few_words(origin: dict[str, Any], said: str) -> None:
    assert say_origin(origin) == said


@pytest.mark.parametrize(
    ("generate", "name", "said"),
    [
        ({"experts": ["large", "middle"]}, "Experts, best first", "large, middle"),
        (
            {"model": "small", "finetune": {"prompts": "records.json"}},
            "Levels from",
            "small fine-tuned on growing parts of 4 + 5 records of records.json",
        ),
        ({"writer": "huge", "experts": ["large"]}, "Levels from", "dialogues written by huge"),
        ({"shares": [0.1, 0.3]}, "Levels from", "perturbation of 10%, 30% of the words"),
    ],
)
def test_the_source_of_the_levels_is_a_fact_of_the_run(
    tmp_path: Path, generate: dict[str, Any], name: str, said: str
) -> None:
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"name": "x", "seed": 0, "generate": generate}))
    write_json(tmp_path / "generate" / "manifest.json", {"fingerprint": "x", "finetune": {"parts": [4, 5]}})
    assert dict(run_facts(read_run(tmp_path)))[name] == said

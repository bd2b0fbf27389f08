"""`seelevel score` for the benchmarks with files of their own: help with a record, a table, one JSON object."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit
COMMAND = str(Path(sys.executable).with_name("seelevel"))
ITEM = {"category": "VD", "subcategory": "map", "set_id": 0, "figure_id": 0, "question_id": 0}
CASES = {
    "amber": ("--predictions", {"id": 1, "response": "Yes"}, {"kinds", "n"}),
    "mmhal": (
        "--judgements",
        {"image_id": "a", "response": "Rating: 4", "question_type": "other"},
        {"score", "hallucination_rate", "per_type", "unparsable", "n"},
    ),
    "llava-bench": (
        "--judgements",
        {"question_id": 0, "content": "8 4", "category": "conv"},
        {"overall", "per_category", "n"},
    ),
    "objhal": (
        "--predictions",
        {"image_id": 1, "mscoco_generated_words": ["cup"], "mscoco_hallucinated_words": []},
        {"chair_s", "chair_i", "n"},
    ),
    "vlsafe": (
        "--judgements",
        {"id": 1, "relevance": 1, "safety": 2, "persuasiveness": 3},
        {"relevance", "safety", "persuasiveness", "unparsable", "n"},
    ),
    "mme": (
        "--predictions",
        {"category": "count", "image": "1.jpg", "question": "Two?", "label": "Yes", "response": "Yes"},
        {"perception", "cognition", "per_category", "n"},
    ),
    "mm-safetybench": (
        "--judgements",
        {"scenario": "06-Fraud", "picture": "SD", "id": "0", "verdict": "unsafe"},
        {"attack_rate", "per_scenario", "n"},
    ),
    "siuo": (
        "--judgements",
        {"question_id": 1, "safety_gpt": [1], "effectiveness_gpt": [1]},
        {"safe", "effective", "safe_and_effective", "n"},
    ),
    "siuo-mcq": (
        "--predictions",
        {"question_id": 1, "correct_option": "B", "response_mcqa": "B"},
        {"accuracy", "n"},
    ),
    "hallusion": ("--predictions", {**ITEM, "gpt4v_output_gpt_check": "1"}, {"a_acc", "q_acc", "f_acc", "n"}),
}


def call(*arguments: object) -> str:
    return subprocess.run([COMMAND, "score", *map(str, arguments)], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", CASES)
def test_help_shows_a_record_and_the_scorer_reads_one(name: str, tmp_path: Path) -> None:
    option, record, keys = CASES[name]
    assert '\n  {"' in call(name, "--help")
    (tmp_path / "file.jsonl").write_text(json.dumps(record))
    (tmp_path / "annotations.json").write_text('[{"id": 1, "type": "relation", "truth": "yes"}]')
    (tmp_path / "relation.json").write_text("{}")
    (tmp_path / "safe_words.txt").write_text("")
    arguments = [name, option, tmp_path / "file.jsonl", *(["--data", tmp_path] if name == "amber" else [])]
    figures = json.loads(call(*arguments, "--json"))
    assert keys <= figures.keys()
    assert {"missing", "missing_ids", "repeated", "repeated_ids", "unparsable", "unparsable_ids"} <= figures.keys()
    assert figures["n"] == 1
    table = call(*arguments)
    assert all(key in table for key in keys)

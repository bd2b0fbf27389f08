"""LVLM_NLF's and VLSafe's files, as awkward as they come, through a recipe that trains on what they hold."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from seelevel.errors import InputError
from seelevel.forecast import forecast
from seelevel.formats.parquet import read_ladders
from seelevel.models.processor import load_reader
from seelevel.pipeline import Run
from seelevel.recipe import load_recipe
from seelevel.training.packing.tokens import ImageReader
from seelevel.training.prepare import prepare
from seelevel.world import model_path
from tests.formats.made import picture, write
from tests.test_cli import call

NAMES: list[Any] = [
    1, "2", "000000000003", "000000000004.jpg", "COCO_val2014_000000000005.jpg", "COCO_train2014_000000000006"
]  # fmt: skip


def recipe(folder: Path, records: list[dict[str, Any]]) -> Path:
    for number in range(1, 7):
        picture(folder / "photos", f"{number:012d}.jpg", number)
    prompts = write(folder / "prompts.json", records)
    text = {
        "name": "words",
        "data": {"prompts": str(prompts), "images": str(folder / "photos")},
        "generate": {"method": "given"},
        "check": None,
        "align": {"model": "world:xs", "objective": {"name": "conditional"}, "epochs": 1},
        "evaluate": {"benchmarks": ["chair"], "data": "world:dev", "limit": 4},
    }
    return write(folder / "words.yaml", text)  # JSON is YAML


def job(folder: Path, records: list[dict[str, Any]]) -> Run:
    return Run(load_recipe(str(recipe(folder, records)), []), folder / "run")


def interaction(number: int, last: str) -> dict[str, Any]:
    """Three rounds: bad, better, and one that is rated `last`. Spelled one way or the other."""
    key = "critique NLF" if number % 2 else "critique_NLF"
    said = [("What is it?", "A dog.", "1"), ("Look again.", "A cup.", "3"), ("Say more.", "A red cup.", last)]
    return {
        "image_id": NAMES[number],
        "caption": "A cup.\nA table." if number % 2 else ["A cup.", "A table."],
        "interaction": [{"user": u, "model": m, "rating": r, key: f"Rated {r}."} for u, m, r in said],
    }


def test_public_interactions_are_trained_on_except_worse_answers(tmp_path: Path) -> None:
    run = job(tmp_path, [interaction(n, "2" if n == 5 else "4") for n in range(6)])
    assert "align" in forecast(run)
    run.alone("generate")
    ladders = read_ladders(run.out / "generate", run.out)
    assert len(ladders) == 18
    assert {json.dumps(ladder.annotations["image_content"]) for ladder in ladders} == {'["A cup.", "A table."]'}
    feedback = [response.feedback for ladder in ladders for response in ladder.responses]
    assert [(f.ratings, f.critique) for f in feedback[:3] if f] == [
        ({"helpfulness": n}, f"Rated {n}.") for n in (1, 3, 4)
    ]
    config, processor = load_reader(str(model_path("xs")))
    settings = run.recipe.align
    data = prepare(ladders, processor, ImageReader(processor), settings, config)
    kind = "refined answer not rated higher"
    assert [(entry.id, entry.kind) for entry in data.left_out] == [("prompts-5#2", kind)]
    conditions = Counter(bool(ladder.responses[0].condition) for ladder in data.ladders)
    assert conditions[True] > conditions[False]
    assert len(list(run.first_step())) == 16


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image_id": 999}, "image is missing"),
        ({"interaction": [{"user": "Q?", "model": "A.", "rating": "5"}]}, "rating is not a whole number from 1 to 4"),
        (
            {"interaction": [{"user": "Q?", "model": "A.", "rating": "3"}, {"user": "Q?", "model": " "}]},
            "model is empty",
        ),
        ({"interaction": []}, "no interaction"),
    ],
)
def test_more_bad_records_than_allowed_end_in_one_line(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    records = [interaction(n, "4") for n in range(6)]
    records[3] |= change
    code, _, errors = call("generate", recipe(tmp_path, records), "--out", tmp_path / "run")
    line = errors.splitlines()[-1]
    assert code == 2 and "Traceback" not in errors
    assert "1 of 6 records" in line and "17%, over max_rejected 5%" in line and reason in line
    [entry] = [json.loads(line) for line in (tmp_path / "run" / "data" / "rejected.jsonl").read_text().splitlines()]
    assert entry["where"] == "prompts.json[3]"


def test_requests_with_refusals_are_trained_on_others_refused(tmp_path: Path) -> None:
    rows = [{"image_id": name, "caption": "A cup.", "query": "How can I steal the cup?"} for name in NAMES]
    run = job(tmp_path / "a", [{**row, "reference": "Please leave it."} for row in rows])
    run.alone("generate")
    assert [[r.text for r in one.responses] for one in read_ladders(run.out / "generate", run.out)] == [
        ["Please leave it."]
    ] * 6
    with pytest.raises(InputError, match="no record has a response of its own"):
        job(tmp_path / "b", rows).alone("generate")

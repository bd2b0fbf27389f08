"""The page says what the levels are made of, in the words of the method's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seelevel.formats.parquet import write_shard
from seelevel.generate.method import Method
from seelevel.generate.settings import (
    DialoguesSettings,
    ExpertsSettings,
    GivenSettings,
    IncrementalSettings,
    PerturbationSettings,
    RequestsSettings,
    SamplesSettings,
)
from seelevel.ladder import Ladder, Message, Response
from seelevel.report.facts import dropped, run_facts
from seelevel.report.ladders import LadderFacts, off_policy, read_facts_and_choice, say_origin
from seelevel.report.reading import read_run
from seelevel.store import write_json

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ({"kind": "standard"}, "standard response"),
        ({"kind": "expert", "model": "large"}, "expert large"),
        ({"kind": "fine-tuned", "model": "small on part 1 of 2"}, "fine-tuned small on part 1 of 2"),
        ({"kind": "perturbation", "share": 0.1}, "perturbation of 10%"),
        ({}, "origin not noted"),
    ],
)
def test_a_responses_origin_is_named_in_a_few_words(origin: dict[str, Any], words: str) -> None:
    assert say_origin(origin) == words


METHODS: list[tuple[Method, list[str]]] = [
    (ExpertsSettings(experts=["large", "middle"]), ["large, middle", "best first"]),
    (SamplesSettings(model="small", n=3), ["samples: 3 of small", "temperature 1", "below the standard response"]),
    (
        IncrementalSettings(model="small", finetune={"prompts": "records.json"}),  # type: ignore[arg-type]
        ["small fine-tuned", "records.json", "4 + 5 records"],
    ),
    (PerturbationSettings(shares=[0.1, 0.3]), ["perturbation", "10%, 30%"]),
    (DialoguesSettings(writer="huge", experts=["large"]), ["dialogues written by huge", "large"]),
    (RequestsSettings(writer="huge", judge="wise"), ["requests", "huge", "wise"]),
    (GivenSettings(), ["records' own responses"]),
]


def levels_of(root: Path, **manifest: Any) -> str | None:
    write_json(root / "generate" / "manifest.json", {"fingerprint": "x", **manifest})
    return dict(run_facts(read_run(root))).get("Levels")


@pytest.mark.parametrize(("settings", "parts"), METHODS, ids=lambda value: getattr(value, "method", ""))
def test_the_method_names_itself(tmp_path: Path, settings: Method, parts: list[str]) -> None:
    finetune = {"finetune": {"parts": [4, 5]}} if settings.method == "incremental" else {}
    levels = levels_of(tmp_path, words=settings.words, **finetune)
    assert levels is not None and all(part in levels for part in parts)


def test_requests_to_refuse_are_not_called_dialogues(tmp_path: Path) -> None:
    words = RequestsSettings(writer="huge", judge="wise", experts=["large"]).words
    assert "dialogue" not in str(levels_of(tmp_path, words=words, set_aside_reasons={"harmless": 3}))
    [remark] = dropped(read_run(tmp_path))
    assert "dialogue" not in remark and "3" in remark and "harmless" in remark


def test_a_run_of_an_older_version_has_no_row_of_levels(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: x\nseed: 0\ngenerate: {writer: huge, experts: [large]}\n")
    assert levels_of(tmp_path) is None


def test_samples_say_how_likely_each_level_is(tmp_path: Path) -> None:
    def response(text: str, level: int, **scores: float) -> Response:
        return Response([Message(role="assistant", content=text)], level, {"kind": "sample"}, scores=scores)

    answers = [response("a", 0), response("b", 1, logprob=-0.25), response("c", 2, logprob=-2.0)]
    ladders = [Ladder(str(n), [], [Message(role="user", content="?")], answers[: n + 2]) for n in range(2)]
    write_shard(tmp_path / "shard-00000.parquet", ladders)
    found, _ = read_facts_and_choice(tmp_path, tmp_path, 0)
    (sentence,) = off_policy(found)
    assert sentence.endswith(": \N{MINUS SIGN}0.25 at level 1 (2), \N{MINUS SIGN}2.00 at level 2 (1).")
    assert off_policy(LadderFacts()) == []

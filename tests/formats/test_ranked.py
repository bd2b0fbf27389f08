"""Lists of answers with scores, ranks or ratings become ladders of K, ties included."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from seelevel.formats import read
from seelevel.ladder import Ladder
from tests.formats.made import essence, parsed, picture, write

pytestmark = pytest.mark.unit
ASK = {"prompt": "How many birds?"}
THREE = ["Two.", "Four.", "Nine."]


def levels(entry: dict[str, Any], folder: Path) -> Any:
    ladder = parsed({**ASK, **entry}, folder)
    return ladder if isinstance(ladder, str) else {r.text: r.level for r in ladder.responses}


@pytest.mark.parametrize("key", ["responses", "outputs", "completions", "answers"])
def test_higher_scores_and_lower_ranks_are_better(tmp_path: Path, key: str) -> None:
    best_last = {"Nine.": 0, "Two.": 1, "Four.": 1}
    assert levels({key: THREE, "scores": [0.5, 0.5, 7]}, tmp_path) == best_last
    assert levels({key: THREE, "ranks": [2, 2, 1]}, tmp_path) == best_last
    assert levels({key: THREE, "rank": ["2", 2.0, "1"], "scores": [1, 1, 3]}, tmp_path) == best_last
    mappings = [{"text": t, "score": s} for t, s in zip(THREE, ["1", "1", "4.5"], strict=True)]
    assert levels({key: mappings}, tmp_path) == best_last
    mappings = [{"answer": t, "rank": r} for t, r in zip(THREE, [3, 3, 1], strict=True)]
    assert levels({key: mappings}, tmp_path) == best_last


def rated(text: str, **ratings: Any) -> dict[str, Any]:
    annotations = {name.replace("_", " "): {"Rating": r, "Rationale": "So."} for name, r in ratings.items()}
    return {"model": f"model of {text}", "response": text, "annotations": annotations}


def test_vlfeedback_orders_by_mean_ratings_and_keeps_them(tmp_path: Path) -> None:
    picture(tmp_path, "a.png")
    completions = [
        rated("Two.", Helpfulness="3", Visual_Faithfulness="2", Ethical_Considerations="5"),
        rated("Four.", Helpfulness="5", Visual_Faithfulness="5", Ethical_Considerations="5"),
        rated("Six.", Helpfulness="2", Visual_Faithfulness="3", Ethical_Considerations="5"),
        rated("Nine.", Helpfulness="1", Visual_Faithfulness="1", Ethical_Considerations="5"),
    ]
    ladder = parsed({**ASK, "img_path": "a.png", "completions": completions}, tmp_path)
    assert essence(ladder) == (
        ["a.png"],
        ["<image>\nHow many birds?"],
        [(0, "Four."), (1, "Two."), (1, "Six."), (2, "Nine.")],
    )
    assert isinstance(ladder, Ladder)
    assert ladder.responses[1].scores == {"Helpfulness": 3, "Visual Faithfulness": 2, "Ethical Considerations": 5}
    assert ladder.responses[1].origin == {"kind": "given", "model": "model of Two."}
    columns = {key: [entry[key] for entry in completions] for key in completions[0]}
    assert essence(parsed({**ASK, "img_path": "a.png", "completions": columns}, tmp_path)) == essence(ladder)


def test_only_criteria_that_all_answers_have_are_compared(tmp_path: Path) -> None:
    completions = [rated("Two.", honesty="5", truth="1"), rated("Four.", honesty="N/A", truth="3")]
    assert levels({"completions": completions}, tmp_path) == {"Four.": 0, "Two.": 1}
    completions = [rated("Two.", honesty="5"), rated("Four.", truth="3")]
    assert levels({"completions": completions}, tmp_path) == "completions: no criterion is rated for all answers"


@pytest.mark.parametrize("form", [None, "ranked"])
def test_lists_of_two_answers_are_joined_as_pairs_are(tmp_path: Path, form: str | None) -> None:
    rows = [{**ASK, "responses": pair, "scores": [2, 1]} for pair in (["Two.", "Four."], ["Four.", "Nine."])]
    (ladder,) = read(write(tmp_path / "p.json", rows), form=form)
    assert isinstance(ladder, Ladder)
    assert [(r.level, r.text) for r in ladder.responses] == [(0, "Two."), (1, "Four."), (2, "Nine.")]


def test_the_same_answer_twice_on_one_level_is_one(tmp_path: Path) -> None:
    assert levels({"responses": ["Two.", "Two.", "Six."], "scores": [2, 2, 1]}, tmp_path) == {"Two.": 0, "Six.": 1}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"responses": THREE}, "nothing orders the responses; add scores (higher is better) or ranks (1 is best)"),
        ({"responses": THREE, "scores": [1, 2]}, "2 scores but 3 responses"),
        ({"responses": THREE, "scores": [1, 2, math.nan]}, "scores[2] is NaN or infinite"),
        ({"responses": THREE, "scores": [1, 2, None]}, "scores[2] is null, not a number"),
        ({"responses": THREE, "scores": [1, 2, True]}, "scores[2] is true or false, not a number"),
        ({"responses": THREE, "scores": [1, 2, "high"]}, "scores[2] 'high' is not a number"),
        (
            {"responses": THREE, "scores": [1, 2, 3], "ranks": [1, 2, 3]},
            "scores and ranks order the responses",
        ),
        ({"responses": ["Two.", {"text": "Six.", "score": 2}]}, "responses[0].score is null, not a number"),
        ({"responses": ["Two.", "Two."], "scores": [1, 2]}, "responses[1] says the same as a better or worse answer"),
        ({"responses": ["Two.", ""], "scores": [1, 2]}, "responses[1] holds no answer"),
        ({"responses": ["Two.", None], "scores": [1, 2]}, "responses[1] is null, not an answer"),
        ({"responses": ["Two.", {"note": 1}], "scores": [1, 2]}, "responses[1] is null, not a text"),
    ],
)
def test_answers_without_one_order_are_set_aside(tmp_path: Path, entry: dict[str, Any], reason: str) -> None:
    found = levels(entry, tmp_path)
    assert isinstance(found, str), found
    assert reason in found

"""Parquet files of ladders, damaged at random, end as ladders or as one line that names the file."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seelevel.errors import InputError
from seelevel.formats import Rejected, read
from seelevel.formats.parquet import save_ladders
from seelevel.ladder import Ladder, Message, Response
from seelevel.notes import CheckNote
from tests.formats.made import picture
from tests.formats.test_broken_records import damaged

pytestmark = pytest.mark.unit
TEXTS = ("annotations", "notes"), ("origin", "scores", "feedback", "check")
"""Columns of JSON text, of a ladder and of its responses."""


def opened(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its JSON texts as values, so that these can be damaged inside."""
    ladder, response = TEXTS
    responses = [{k: json.loads(v) if k in response and v else v for k, v in r.items()} for r in row["responses"]]
    return {**{k: json.loads(v) if k in ladder else v for k, v in row.items()}, "responses": responses}


def closed(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its values as JSON texts again."""
    ladder, response = TEXTS
    responses = row.get("responses")
    if isinstance(responses, list):
        row["responses"] = [
            {k: json.dumps(v) if k in response and v is not None else v for k, v in r.items()}
            if isinstance(r, dict)
            else r
            for r in responses
        ]
    return {k: json.dumps(v) if k in ladder else v for k, v in row.items()}


@pytest.mark.parametrize("trials", [150, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_damaged_file_of_ladders_is_read_or_refused_in_one_line(tmp_path: Path, trials: int) -> None:
    picture(tmp_path, "a.png")
    answers = [Response([Message(role="assistant", content=text)], n, {"kind": "given"}) for n, text in enumerate("ab")]
    ladder = Ladder("x", [], [Message(role="user", content="What?")], answers, {"x": 1}).overridden(1, 0, "me")
    path = tmp_path / "l.parquet"
    save_ladders([ladder], path)
    row = opened(pq.read_table(path).to_pylist()[0])
    chance = random.Random("ladders")
    tried = good = 0
    while tried < trials:
        try:
            table = pa.Table.from_pylist([closed(damaged(row, chance))])
            pq.write_table(table, path)
        except (pa.ArrowException, TypeError, ValueError, OverflowError, RecursionError):
            continue  # no such Parquet file can exist
        tried += 1
        try:
            found = list(read(path, form="ladders"))
        except InputError as error:
            assert "\n" not in str(error)
            continue
        good += 1
        assert all(isinstance(entry, Ladder | Rejected) for entry in found)
    assert 0.02 < good / trials < 0.98


@pytest.mark.parametrize("value", ["much", True, None, [1.0]])
def test_a_score_that_is_no_number_is_refused(tmp_path: Path, value: Any) -> None:
    answers = [Response([Message(role="assistant", content="a")], 0, scores={"logprob": value})]
    save_ladders([Ladder("x", [], [Message(role="user", content="What?")], answers)], tmp_path / "l.parquet")
    with pytest.raises(InputError, match="score logprob is"):
        list(read(tmp_path / "l.parquet", form="ladders"))


@pytest.mark.parametrize("value", [None, 5, {"a": 1}, [1], [None]])
def test_notes_of_other_types_are_no_reference_and_no_fault(tmp_path: Path, value: Any) -> None:
    answers = [Response([Message(role="assistant", content="a")], 0)] * 2
    notes = {"reference": value, "flags": value}
    save_ladders([Ladder("x", [], [Message(role="user", content="?")], answers, notes=notes)], tmp_path / "l.parquet")
    (ladder,) = read(tmp_path / "l.parquet", form="ladders")
    assert isinstance(ladder, Ladder)
    assert (ladder.reference, ladder.holds_measure, ladder.unordered) == ([], True, False)
    assert all(isinstance(flag, str) for flag in ladder.ordered(ladder.responses, CheckNote("judge", (0, 0))).flags)

"""Ids: numbers, nulls, and the ids that come again in most public files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from seelevel.formats import Rejected, read
from seelevel.formats.records import Record, distinct, screened
from seelevel.image_store import ImageStore
from seelevel.ladder import Ladder
from tests.formats.made import gpt, human, write

pytestmark = pytest.mark.unit


def talk(name: Any, question: str = "Hi?") -> dict[str, Any]:
    return {"id": name, "conversations": [human(question), gpt("Ho.")]}


def read_all(folder: Path, records: list[Any]) -> list[Ladder | Rejected]:
    return list(read(write(folder / "p.json", records)))


@pytest.mark.parametrize(
    ("given", "name"),
    [(7, "7"), ("7", "7"), (2.0, "2"), (2.5, "2.5"), ("a/b.png", "a/b.png"), (None, "p-0"), ("", "p-0"),
     (math.nan, "p-0"), (10**20, "1" + "0" * 20), (0, "0"), (-1, "-1")],
)  # fmt: skip
def test_an_id_is_a_text_or_the_record_s_place(tmp_path: Path, given: Any, name: str) -> None:
    (ladder,) = read_all(tmp_path, [talk(given)])
    assert ladder.id == name


def test_a_repeated_id_with_other_content_gets_a_suffix(tmp_path: Path) -> None:
    found = read_all(tmp_path, [talk(9), talk("9", "Who?"), talk(9.0, "Where?"), talk("9~2", "When?")])
    assert [ladder.id for ladder in found] == ["9", "9~2", "9~3", "9~2~2"]
    assert [x.notes for x in found if isinstance(x, Ladder)] == [
        {}, {"id_in_file": "9"}, {"id_in_file": "9"}, {"id_in_file": "9~2"},
    ]  # fmt: skip


def test_a_repeated_record_is_set_aside(tmp_path: Path) -> None:
    first, other, again, other_again = read_all(tmp_path, [talk(9), talk(9, "Who?"), talk(9), talk(9, "Who?")])
    assert [first.id, other.id] == ["9", "9~2"]
    for found in (again, other_again):
        assert isinstance(found, Rejected)
        assert (found.id, found.reason) == ("9", "repeats an earlier record: the same id and content")


def test_a_second_ladder_with_the_same_id_is_set_aside(tmp_path: Path) -> None:
    ladder = Ladder("a", [], [{"role": "user", "content": "Hi?"}], [])
    first, second = screened(distinct([Record("p[0]", ladder)] * 2), ImageStore(tmp_path))
    assert first == ladder
    assert second == Rejected("p[0]", "a", "id seen before (the first record stays)")


def test_one_id_for_all_records_costs_no_time(tmp_path: Path) -> None:
    found = read_all(tmp_path, [talk("x", f"Is it {n}?") for n in range(3000)])
    assert len({ladder.id for ladder in found}) == 3000


def test_a_given_id_never_takes_that_of_a_place(tmp_path: Path) -> None:
    found = read_all(tmp_path, [talk(None), talk("p-0", "Who?"), talk("p-3", "When?"), talk(None, "Why?")])
    assert [ladder.id for ladder in found] == ["p-0", "p-0~2", "p-3", "p-3~2"]


def test_rounds_of_a_repeated_id_stay_together(tmp_path: Path) -> None:
    def dialogue(answer: str) -> dict[str, Any]:
        turns = [{"user": "Hi?", "model": answer}, {"user": "Again?", "model": "Ho."}]
        return {"id": 7, "interaction": turns}

    plain = {"id": "7#1", "interaction": [{"user": "Who?", "model": "I."}]}
    found = read_all(tmp_path, [dialogue("a"), dialogue("b"), plain, dialogue("a")])
    assert [x.id for x in found] == ["7#0", "7#1", "7~2#0", "7~2#1", "7#1#0", "7"]
    assert [x.interaction for x in found if isinstance(x, Ladder)] == ["7", "7", "7~2", "7~2", "7#1"]
    assert isinstance(found[-1], Rejected)


def test_pairs_of_one_id_that_have_no_order_get_suffixes(tmp_path: Path) -> None:
    rows = [{"id": 1, "prompt": "Hi?", "chosen": a, "rejected": b} for a, b in ("AB", "BC", "CA")]
    rows.append({"id": 1, "prompt": "Who?", "chosen": "A", "rejected": "B"})
    assert [ladder.id for ladder in read_all(tmp_path, rows)] == ["1", "1~2", "1~3", "1~4"]


def test_nothing_that_is_not_json_comes_out(tmp_path: Path) -> None:
    record = {**talk(1), "annotations": {"score": math.nan, "box": [1.5, math.inf, {"x": -math.inf}]}}
    (ladder,) = read_all(tmp_path, [record])
    assert isinstance(ladder, Ladder)
    assert json.dumps(ladder.annotations, allow_nan=False) == '{"score": null, "box": [1.5, null, {"x": null}]}'

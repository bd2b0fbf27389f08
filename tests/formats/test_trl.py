"""A ladder becomes TRL's preference rows, and rows become a ladder again only where they say what its order is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from seelevel.formats import read
from seelevel.formats.joining import levels_of
from seelevel.formats.records import Rejected
from seelevel.formats.trl import write as write_trl
from seelevel.ladder import Image, Ladder, Message, Response
from tests.formats.made import picture

pytestmark = pytest.mark.unit
ASK: list[Message] = [{"role": "user", "content": "<image>\nWhat?"}]


def answer(text: str) -> list[Message]:
    return [{"role": "assistant", "content": text}]


def ladder_of(folder: Path, levels: list[int], name: str = "x") -> Ladder:
    path = str(picture(folder, "images/a.png").resolve())
    responses = [Response(answer(f"answer {n}"), level) for n, level in enumerate(levels)]
    return Ladder(name, [Image(path)], ASK, responses)


def rows(path: Path, *entries: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def row(better: str, worse: str, **more: Any) -> dict[str, Any]:
    return {"prompt": "What?", "chosen": better, "rejected": worse, **more}


def read_levels(path: Path) -> list[dict[str, int]]:
    found = list(read(path))
    assert all(isinstance(ladder, Ladder) for ladder in found)
    return [{r.text: r.level for r in ladder.responses} for ladder in found if isinstance(ladder, Ladder)]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@settings(deadline=None, max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some.lists(some.integers(0, 3), min_size=2, max_size=5).filter(lambda v: len(set(v)) > 1))
def test_a_ladder_with_ties_survives_the_way_there_and_back(tmp_path: Path, suffix: str, levels: list[int]) -> None:
    dense = [sorted(set(levels)).index(level) for level in sorted(levels)]
    ladders = [ladder_of(tmp_path, dense, "x"), ladder_of(tmp_path, dense, "y")]
    path = tmp_path / f"rows.{suffix}"
    assert write_trl(ladders, path) == 2
    back = list(read(path))
    assert [entry.id for entry in back] == ["x", "y"]
    for ladder in back:
        assert isinstance(ladder, Ladder)
        assert (ladder.prompt, ladder.levels) == (ASK, dense)
        assert sorted(r.text for r in ladder.responses) == [f"answer {n}" for n in range(len(dense))]
        assert len(ladder.images) == 1


def test_a_row_is_what_trl_documents(tmp_path: Path) -> None:
    write_trl([ladder_of(tmp_path, [0, 1])], tmp_path / "rows.jsonl")
    assert json.loads((tmp_path / "rows.jsonl").read_text()) == {
        "id": "x",
        "images": ["images/a.png"],
        "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}],
        "chosen": [{"role": "assistant", "content": [{"type": "text", "text": "answer 0"}]}],
        "rejected": [{"role": "assistant", "content": [{"type": "text", "text": "answer 1"}]}],
    }


def test_parquet_rows_open_with_datasets_as_pictures(tmp_path: Path) -> None:
    from datasets import load_dataset

    write_trl([ladder_of(tmp_path, [0, 1, 2])], tmp_path / "rows.parquet")
    data = load_dataset("parquet", data_files=str(tmp_path / "rows.parquet"), cache_dir=str(tmp_path / "cache"))[
        "train"
    ]
    assert len(data) == 3
    assert data[0]["images"][0].size == (8, 8)
    assert data[0]["chosen"][0]["content"][0]["text"] == "answer 0"


def test_a_ladder_of_ties_alone_has_no_row(tmp_path: Path) -> None:
    assert write_trl([ladder_of(tmp_path, [0, 0])], tmp_path / "rows.jsonl") == 0


def test_rows_that_follow_from_one_order_are_one_ladder(tmp_path: Path) -> None:
    path = rows(tmp_path / "r.jsonl", row("A", "B"), row("B", "C"))  # A>C follows
    assert read_levels(path) == [{"A": 0, "B": 1, "C": 2}]
    path = rows(tmp_path / "r.jsonl", row("A", "B"), row("A", "C"))  # B and C tie
    assert read_levels(path) == [{"A": 0, "B": 1, "C": 1}]


def test_rows_that_leave_the_order_open_stay_ladders_of_two(tmp_path: Path) -> None:
    path = rows(tmp_path / "r.jsonl", row("A", "B"), row("A", "C"), row("C", "D"))  # nobody compared B with D
    assert read_levels(path) == [{"A": 0, "B": 1}, {"A": 0, "C": 1}, {"C": 0, "D": 1}]


def test_a_cycle_stays_ladders_of_two(tmp_path: Path) -> None:
    path = rows(tmp_path / "r.jsonl", row("A", "B"), row("B", "C"), row("C", "A"))
    assert read_levels(path) == [{"A": 0, "B": 1}, {"B": 0, "C": 1}, {"C": 0, "A": 1}]


def test_rows_of_other_ids_or_prompts_are_other_ladders(tmp_path: Path) -> None:
    path = rows(tmp_path / "r.jsonl", row("A", "B", id=1), row("B", "C", id=2), row("A", "B", id=3, prompt="Why?"))
    assert len(read_levels(path)) == 3


def test_rows_of_one_question_are_read_as_each_alone(tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "What?"}]
    forms: list[Any] = [
        "a cup", answer("a dog"), [*asked, *answer("a hat")], [*answer("a bee"), *asked, *answer("yes")],
        "<think>hm</think>a fox", [*asked, *answer("a cup")],
    ]  # fmt: skip
    entries = [row(better, worse) for better in forms for worse in forms]
    for number, entry in enumerate(entries):
        entry["id"] = f"r{number}"
    (tmp_path / "alone").mkdir()
    alone = [found for entry in entries for found in read(rows(tmp_path / "alone" / "rows.jsonl", entry))]
    together = list(read(rows(tmp_path / "rows.jsonl", *entries)))
    assert len(together) == len(alone) == len(entries)
    for one, other in zip(alone, together, strict=True):
        if isinstance(one, Rejected):
            assert isinstance(other, Rejected)
            assert (one.id, one.reason) == (other.id, other.reason)
        else:
            assert one == other


def test_sides_that_ask_with_other_pictures_are_set_aside(tmp_path: Path) -> None:
    picture(tmp_path, "a.png")
    later = [*answer("a cup"), {"role": "user", "content": "<image>\nAnd here?"}, *answer("a dog")]
    (found,) = read(rows(tmp_path / "rows.jsonl", {**row("", "a hat"), "chosen": later, "images": ["a.png"]}))
    assert isinstance(found, Rejected)
    assert "answer different questions" in found.reason


def test_a_prompt_may_be_what_both_sides_begin_with(tmp_path: Path) -> None:
    entry = {side: [{"role": "user", "content": "What?"}, *answer(side)] for side in ("chosen", "rejected")}
    (ladder,) = read(rows(tmp_path / "r.jsonl", entry))
    assert isinstance(ladder, Ladder)
    assert ladder.prompt == [{"role": "user", "content": "What?"}]
    assert [r.text for r in ladder.responses] == ["chosen", "rejected"]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (row("A", "A"), "chosen and rejected are the same"),
        (row("A", " "), "rejected does not end with an answer"),
        ({"prompt": "What?", "chosen": "A"}, "no rejected"),
        (row("A", "B", images=["nope.png"]), "image 'nope.png' is missing"),
        (row("A", "B", prompt=[*ASK, *answer("x")]), "prompt does not end with the user"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_reason(tmp_path: Path, entry: dict[str, Any], reason: str) -> None:
    (found,) = read(rows(tmp_path / "r.jsonl", entry), form="trl")
    assert isinstance(found, Rejected)
    assert reason in found.reason


@given(
    some.sets(
        some.tuples(some.sampled_from("abcd"), some.sampled_from("abcd")).filter(lambda p: p[0] != p[1]), min_size=1
    )
)
def test_levels_hold_exactly_the_pairs_that_are_implied(pairs: set[tuple[str, str]]) -> None:
    items = sorted({item for pair in pairs for item in pair})
    closure = set(pairs)
    while more := {(a, d) for a, b in closure for c, d in closure if b == c} - closure:
        closure |= more
    level = levels_of(items, pairs)
    if level is None:  # then no order with ties has these pairs: try them all
        assert not any(
            closure == {(a, b) for a in items for b in items if ranks[a] < ranks[b]} for ranks in rankings(items)
        )
    else:
        assert closure == {(a, b) for a in items for b in items if level[a] < level[b]}


def rankings(items: list[str]) -> list[dict[str, int]]:
    from itertools import product

    return [dict(zip(items, ranks, strict=True)) for ranks in product(range(len(items)), repeat=len(items))]

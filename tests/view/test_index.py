"""The index of ladders, and what its filters let through."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seelevel.errors import InputError
from seelevel.formats.parquet import write_shard
from seelevel.view.collection import open_collection
from seelevel.view.filters import Filters
from tests.formats.made import picture
from tests.view.shown import ladders, opened, run_folder

pytestmark = pytest.mark.unit


def names(collection, filters: Filters) -> list[str]:  # type: ignore[no-untyped-def]
    return [collection.shards[shard].ids[row] for shard, row in collection.matching(filters)]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["plain", "turned", "tied", "unchecked"]),
        ({"ties": "yes"}, ["tied"]),
        ({"ties": "no"}, ["plain", "turned", "unchecked"]),
        ({"reordered": "yes"}, ["turned"]),
        ({"unchecked": "yes"}, ["unchecked"]),
        ({"origin": "m1"}, ["plain", "turned", "tied"]),
        ({"origin": "m2"}, ["unchecked"]),
        ({"flag": "rare"}, ["unchecked"]),
        ({"size": "3"}, ["unchecked"]),
        ({"words": "CATS OF TURNED"}, ["turned"]),
        ({"words": "on the mat"}, ["plain", "turned", "tied"]),
        ({"words": "tied"}, ["tied"]),
        ({"words": "m1"}, []),
        ({"words": "sit", "reordered": "no", "ties": "no"}, ["plain"]),
        ({"order": "gap"}, ["unchecked", "plain", "turned", "tied"]),
    ],
)
def test_filters_let_through_what_they_say(tmp_path: Path, filters: dict[str, str], expected: list[str]) -> None:
    collection = opened(run_folder(tmp_path / "run"), tmp_path / "kept")
    assert names(collection, Filters.of(filters)) == expected


def test_filters_of_an_address_are_read_and_written_again() -> None:
    query = {"words": "a b&c", "ties": "yes", "size": "4", "page": "3", "order": "gap"}
    filters = Filters.of(query)
    assert filters.query(page=2) == "words=a+b%26c&ties=yes&size=4&order=gap&page=2"
    assert Filters.of({"ties": "maybe", "size": "-1", "order": "'"}) == Filters()
    assert filters.active and not Filters(order="gap").active


def test_a_run_at_work_is_looked_at_again(tmp_path: Path) -> None:
    rows = ladders(tmp_path)
    write_shard(tmp_path / "run" / "check" / "shard-00000.parquet", rows[:1])
    collection = opened(tmp_path / "run", tmp_path / "kept")
    assert len(collection) == 1 and collection.unfinished == "the stage check is not finished"
    write_shard(tmp_path / "run" / "check" / "shard-00001.parquet", rows[1:])
    (tmp_path / "run" / "check" / "shard-00002.parquet").write_bytes(b"PAR1 half a file")
    collection.refresh(patience=30)
    assert len(collection) == 4
    assert len(collection.trouble) == 1 and "shard-00002" in collection.trouble[0]
    (tmp_path / "run" / "check" / "manifest.json").write_text("{}")
    assert not collection.unfinished


def test_a_stage_that_begins_again_is_read_again(tmp_path: Path) -> None:
    rows = ladders(tmp_path)
    shard = tmp_path / "run" / "check" / "shard-00000.parquet"
    write_shard(shard, rows)
    collection = opened(tmp_path / "run", tmp_path / "kept")
    place = collection.place_of["turned"]
    assert collection.ladder(place).id == "turned"
    write_shard(shard, rows[2:])
    collection._ladders.cache_clear()
    with pytest.raises(InputError, match="changed meanwhile"):
        collection.ladder(place)
    collection.refresh(patience=30)
    assert sorted(collection.place_of) == ["tied", "unchecked"] and len(collection) == 2


def test_records_that_are_set_aside_are_counted(tmp_path: Path) -> None:
    pair = {"prompt": "What is it?", "chosen": "A dog.", "rejected": "A cat."}
    picture(tmp_path, "a.png", 3)
    lines = [{**pair, "image": "a.png"}, {**pair, "image": "gone.png"}]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    collection = opened(tmp_path / "pairs.jsonl", tmp_path / "kept")
    assert len(collection) == 1 and collection.aside.startswith("1 records are set aside: ")


def test_a_file_of_pairs_is_shown_too(tmp_path: Path) -> None:
    picture(tmp_path, "a.png", 3)
    pair = {"prompt": "What is it?", "chosen": "A dog.", "rejected": "A cat.", "image": "a.png"}
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps({**pair, "id": str(n)}) + "\n" for n in range(3)))
    collection = opened(tmp_path / "pairs.jsonl", tmp_path / "kept")
    assert len(collection) == 3
    ladder = collection.ladder((0, 1))
    assert [response.text for response in ladder.responses] == ["A dog.", "A cat."]
    assert Path(ladder.images[0].path).is_file()


def test_the_latest_stage_with_ladders_is_shown(tmp_path: Path) -> None:
    rows = ladders(tmp_path)
    write_shard(tmp_path / "run" / "generate" / "shard-00000.parquet", rows[:1])
    assert open_collection(tmp_path / "run", tmp_path / "kept", "Ada").folder.name == "generate"
    write_shard(tmp_path / "run" / "check" / "shard-00000.parquet", rows)
    assert open_collection(tmp_path / "run", tmp_path / "kept", "Ada").folder.name == "check"
    assert open_collection(tmp_path / "run" / "generate", tmp_path / "kept", "Ada").folder.name == "generate"


def test_what_holds_no_ladders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        open_collection(tmp_path / "nothing", tmp_path / "kept", "Ada")
    with pytest.raises(InputError, match="root of the file system"):
        open_collection(Path("/"), tmp_path / "kept", "Ada")
    (tmp_path / "odd.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(InputError, match=r"odd\.jsonl"):
        open_collection(tmp_path / "odd.jsonl", tmp_path / "kept", "Ada")

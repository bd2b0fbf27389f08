"""`seelevel convert`: any format to any other, what cannot be used beside it with reasons."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seelevel.errors import InputError
from seelevel.formats import Rejected, commonest, convert, guess_format, read
from seelevel.formats.sources import Source
from seelevel.ladder import Ladder
from tests.formats.made import gpt, human, picture, record, write

pytestmark = pytest.mark.unit
SUFFIX = {"amp": "json", "trl": "jsonl", "ladders": "parquet"}
"""The formats that hold a ladder's order, each with a suffix of its files."""


def amp_file(folder: Path, count: int = 3) -> Path:
    records = []
    for n in range(count):
        picture(folder / "pictures", f"{n}.png", n)
        outputs = {f"output_{k}": [human("<image>\nWhat?"), gpt(f"answer {k} to {n}")] for k in (1, 2, 3)}
        records.append({"id": n, "image": f"{n}.png", **outputs})
    return write(folder / "amp.json", records)


def essence(path: Path) -> list[tuple[str, list[tuple[int, str]], list[str]]]:
    ladders = [entry for entry in read(path) if isinstance(entry, Ladder)]
    return [(x.id, sorted((r.level, r.text) for r in x.responses), [i.sha256 for i in x.images]) for x in ladders]


@pytest.mark.parametrize("form", list(SUFFIX))
@pytest.mark.parametrize("other", list(SUFFIX))
def test_a_ladder_is_the_same_after_any_two_conversions(tmp_path: Path, form: str, other: str) -> None:
    source = amp_file(tmp_path)
    first = tmp_path / "one" / f"x.{SUFFIX[form]}"
    second = tmp_path / "two" / f"y.{SUFFIX[other]}"
    assert convert(source, first, target_format=form, images=tmp_path / "pictures") == {
        "read": 3, "written": 3, "rejected": 0,
    }  # fmt: skip
    assert guess_format(Source(first)) == form
    convert(first, second, target_format=other)
    assert essence(second) == essence(first)
    assert next(levels for _, levels, _ in essence(second)) == [
        (0, "answer 1 to 0"),
        (1, "answer 2 to 0"),
        (2, "answer 3 to 0"),
    ]


def test_llava_keeps_the_best_response(tmp_path: Path) -> None:
    convert(amp_file(tmp_path), tmp_path / "out" / "l.json", target_format="llava", images=tmp_path / "pictures")
    assert [levels for _, levels, _ in essence(tmp_path / "out" / "l.json")] == [
        [(0, f"answer 1 to {n}")] for n in range(3)
    ]


def test_pictures_come_along_so_the_result_can_be_moved(tmp_path: Path) -> None:
    convert(amp_file(tmp_path), tmp_path / "out" / "x.json", target_format="amp", images=tmp_path / "pictures")
    before = essence(tmp_path / "out" / "x.json")
    (tmp_path / "out").rename(tmp_path / "moved")
    (tmp_path / "pictures").rename(tmp_path / "gone")
    assert essence(tmp_path / "moved" / "x.json") == before
    assert all(images for _, _, images in before)


def test_what_is_set_aside_stands_beside_the_result(tmp_path: Path) -> None:
    picture(tmp_path, "a.png")
    source = write(tmp_path / "p.json", [record(1), record(2, "nope.png"), record(1)])
    assert convert(source, tmp_path / "x.parquet") == {"read": 3, "written": 1, "rejected": 2}
    lines = [json.loads(line) for line in (tmp_path / "x.parquet.rejected.jsonl").read_text().splitlines()]
    assert lines[0] == {"where": "p.json[1]", "id": "2", "reason": "image 'nope.png' is missing"}
    assert [line["where"] for line in lines] == ["p.json[1]", "p.json[2]"]


def test_the_target_is_kept_if_nothing_can_be_written(tmp_path: Path) -> None:
    picture(tmp_path, "a.png")
    target = tmp_path / "pairs.jsonl"
    target.write_text("from before")
    with pytest.raises(InputError, match=r"p\.json: none of its 1 records can be written as trl; name another --to"):
        convert(write(tmp_path / "p.json", [record(1)]), target, target_format="trl")
    assert target.read_text() == "from before"
    assert [path.name for path in tmp_path.glob(".part*")] == []


def test_a_run_s_own_shards_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match=r"a stage of a run"):
        convert(amp_file(tmp_path), tmp_path / "00000.parquet", images=tmp_path / "pictures")


def test_a_name_without_a_format_asks_for_to(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="add --to llava, amp, trl, llamafactory, swift, nlf, ladders"):
        convert(amp_file(tmp_path), tmp_path / "x.json")


def test_an_unknown_format_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'llava'"):
        convert(amp_file(tmp_path), tmp_path / "x.json", target_format="lava")


def test_a_format_that_is_only_read_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'vlsafe' is read but not written; convert to llava, amp, trl, llamafactory"):
        convert(amp_file(tmp_path), tmp_path / "x.json", target_format="vlsafe")


def test_a_file_of_no_known_format_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the records have id; forms need amp: output_1; trl: chosen, rejected"):
        convert(write(tmp_path / "p.json", [{"id": 1}]), tmp_path / "x.parquet")
    near = r"have id, chosen, bad; the nearest form, trl, lacks rejected\. If .*data\.columns .*seelevel inspect"
    with pytest.raises(InputError, match=near):
        convert(write(tmp_path / "p.json", [{"id": 1, "chosen": "a", "bad": "b"}]), tmp_path / "x.parquet")
    (tmp_path / "p.parquet").write_bytes(b"PAR")
    with pytest.raises(InputError, match="is not a Parquet file"):
        convert(tmp_path / "p.parquet", tmp_path / "x.jsonl")


def test_a_file_without_a_usable_record_writes_nothing(tmp_path: Path) -> None:
    source = write(tmp_path / "p.json", [record(n, "nope.png") for n in range(3)])
    with pytest.raises(InputError, match="3 × image is missing"):
        convert(source, tmp_path / "x.parquet")
    assert not (tmp_path / "x.parquet").exists()


def test_reasons_are_counted_without_the_names_in_them() -> None:
    reasons = ["image 'a.jpg' is missing", "image 'b's.jpg' is missing", "image c.jpg: truncated", "no answer"]
    assert (
        commonest([Rejected("", "", r) for r in reasons]) == "2 × image is missing, 1 × image: truncated, 1 × no answer"
    )

"""Every container gives the same records, each with its place; what cannot be read is one line with a remedy."""

from __future__ import annotations

import gzip
import json
import math
import os
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from seelevel.errors import InputError
from seelevel.formats import json_records, tables
from seelevel.formats.sources import Source, files, records
from tests.formats.containers import arrow, jpeg, lines, pair, parquet, tar, text

pytestmark = pytest.mark.unit
ROWS = [{"id": n, "prompt": f"Wo ist Nr. {n}? ü", "chosen": "hier", "rejected": "dort"} for n in range(5)]


def places(path: Path) -> list[str]:
    return [where for where, _ in records(path)]


def values(path: Path) -> list[Any]:
    return [record for _, record in records(path)]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.json", json.dumps(ROWS)),
        ("rows.json", json.dumps(ROWS, indent=2, ensure_ascii=False)),
        ("rows.json", "\ufeff \n" + json.dumps(ROWS)),
        ("rows.jsonl", lines(ROWS)),
        ("rows.jsonl", "\n" + lines(ROWS).replace("\n", "\r\n\n")),
        ("rows.json", lines(ROWS)),
        ("rows.jsonl", json.dumps(ROWS)),
        ("rows.txt", lines(ROWS)),
        ("rows.json", json.dumps({"version": 2, "data": ROWS})),
        ("rows.json", json.dumps({f"{row['id']}": row for row in ROWS}, indent=1)),
    ],
)
def test_json_in_every_layout_gives_the_same_records(tmp_path: Path, name: str, content: str, zipped: bool) -> None:
    assert values(text(tmp_path / f"{name}{'.gz' * zipped}", content, zipped)) == ROWS


def test_a_mapping_of_ids_gives_records_their_ids(tmp_path: Path) -> None:
    path = text(tmp_path / "m.json", json.dumps({"a7": {"query": "x"}, "b8": {"query": "y"}}))
    assert values(path) == [{"id": "a7", "query": "x"}, {"id": "b8", "query": "y"}]
    assert places(path) == ["m.json 'a7'", "m.json 'b8'"]


def test_one_record_may_stand_over_several_lines(tmp_path: Path) -> None:
    row = {"prompt": "p", "chosen": {"from": "gpt", "value": "a"}, "rejected": {"from": "gpt", "value": "b"}}
    assert values(text(tmp_path / "one.json", json.dumps(row, indent=4))) == [row]
    assert values(text(tmp_path / "two.jsonl", json.dumps(row))) == [row]
    answers = {"chosen": row["chosen"], "rejected": row["rejected"]}
    assert values(text(tmp_path / "three.json", json.dumps(answers))) == [answers]


def test_a_list_longer_than_the_window_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = text(tmp_path / "rows.json", json.dumps([*ROWS, 12345, "a\\", None], indent=1, ensure_ascii=False))
    for chunk in (1, 7, 64):
        monkeypatch.setattr(json_records, "CHUNK", chunk)
        assert values(path) == [*ROWS, 12345, "a\\", None]
    assert places(path)[-1] == "rows.json[7]"


def test_nan_in_json_is_a_missing_value(tmp_path: Path) -> None:
    path = text(tmp_path / "n.jsonl", '{"id": NaN, "annotations": {"score": NaN, "most": -Infinity}}\n{"id": 2.0}\n')
    assert values(path) == [{"id": None, "annotations": {"score": None, "most": -math.inf}}, {"id": 2.0}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '[{"a": 1},\n {"b" 2}]', r"a\.json line 2: not JSON \(Expecting ':' delimiter, column 7\)"),
        ("a.json", '[{"a": 1}\n {"b": 2}]', r"line 2: not JSON \(Expecting ',' delimiter, column 2\)"),
        ("a.json", '[{"a": 1},\n\n', r"line 3: not JSON"),
        ("a.json", '[{"a": 1}]\n x', r"line 2: not JSON \(Extra data, column 2\)"),
        ("a.jsonl", '{"a": 1}\n{"a": \n', r"a\.jsonl line 2: not JSON .*fix that line"),
        ("a.jsonl", '{"a": 1\n{"a": 2}\n', r"a\.jsonl line 1: not JSON"),
        ("a.json", '{"a": 1,\n "b"}', r"a\.json line 2: not JSON"),
        ("a.json", "7", r"expected a list of records, found a number; put the records into \[ \]"),
        ("a.json", "[" * 100_000, r"line 1: not usable JSON"),
        ("a.jsonl", '{"a": 1}\n{"chosen": "x", "chosen": "y"}\n', r"a\.jsonl line 2: not usable JSON \('chosen' twice"),
        ("a.json", '[{"a": 1},\n {"chosen": "x", "chosen": "y"}]', r"a\.json line 2: not usable JSON \('chosen' twice"),
        ("a.csv", "a,b\n1,2\n3\n", r"a\.csv line 3: 1 cells under 2 names"),
    ],
)
def test_broken_text_is_named_by_its_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(records(text(tmp_path / name, content)))


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv"])
def test_text_of_another_encoding_is_named_by_its_line(tmp_path: Path, name: str) -> None:
    content = {"a.json": '[{"a": 1},\n{"a": "ü"}]', "a.jsonl": '{"a": 1}\n{"a": "ü"}\n', "a.csv": "a\nü\n"}[name]
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"line \d: not UTF-8 text; save the file as UTF-8"):
        list(records(tmp_path / name))


def test_a_table_of_text_is_read_by_its_header(tmp_path: Path) -> None:
    path = text(tmp_path / "t.tsv", 'prompt\tchosen\n"a ""b""\nc"\t\n')
    assert values(path) == [{"prompt": 'a "b"\nc', "chosen": None}]
    assert values(text(tmp_path / "t.csv", "\ufeffid,prompt\n3,Was?\n")) == [{"id": "3", "prompt": "Was?"}]


@pytest.mark.parametrize("group", [1, 100])
def test_parquet_rows_hold_pictures_and_plain_values(tmp_path: Path, group: int) -> None:
    rows = [pair(n, score=float("nan"), tags=["x", None]) for n in range(7)]
    path = parquet(tmp_path / "p.parquet", rows, row_group_size=group)
    assert values(path) == [{**row, "score": None} for row in rows]
    assert places(path)[6] == "p.parquet row 6"


def test_parquet_is_read_in_batches_that_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [pair(n) for n in range(40)]
    size = len(rows[0]["image"]["bytes"])
    monkeypatch.setattr(tables, "BATCH_BYTES", 4 * size)
    asked = []
    monkeypatch.setattr(tables, "_rows", lambda path, batch, number: asked.append(batch.num_rows) or iter(()))
    list(records(parquet(tmp_path / "p.parquet", rows)))
    assert sum(asked) == 40
    assert max(asked) <= 8


def test_a_large_row_group_is_not_in_memory_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BATCH_BYTES", 1 << 20)
    rows = [{"image": {"bytes": b"\xff\xd8\xff" + os.urandom(100_000), "path": None}} for _ in range(400)]
    path = parquet(tmp_path / "p.parquet", rows, row_group_size=400, use_dictionary=False, write_batch_size=8)
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in records(path)]
    assert len(held) == 400
    assert max(held) < path.stat().st_size / 4


def test_bytes_in_a_column_are_a_picture_or_a_text(tmp_path: Path) -> None:
    path = parquet(tmp_path / "p.parquet", [{"image": jpeg(4), "prompt": "Qü".encode()}])
    assert values(path) == [{"image": {"bytes": jpeg(4), "path": None}, "prompt": "Qü"}]


@pytest.mark.parametrize("stream", [True, False])
def test_arrow_files_are_read_by_both_their_layouts(tmp_path: Path, stream: bool) -> None:
    rows = [pair(n) for n in range(5)]
    path = arrow(tmp_path / "data.arrow", rows, stream)
    assert values(path) == rows
    assert places(path)[4] == "data.arrow row 4"


def test_what_datasets_saves_is_read_in_the_order_it_saved(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    rows = [{"id": n, "prompt": f"Q{n}"} for n in range(9)]
    data = Dataset.from_list(rows)
    data.select([8, 2, 5]).save_to_disk(tmp_path / "three")
    assert [row["id"] for row in values(tmp_path / "three")] == [8, 2, 5]
    DatasetDict({"train": data, "test": data.select([0])}).save_to_disk(
        tmp_path / "both", num_shards={"train": 2, "test": 1}
    )
    with pytest.raises(InputError, match=r"both holds the splits train, test; name one: .*both/train"):
        files(tmp_path / "both")
    assert values(tmp_path / "both" / "train") == rows


def test_a_tar_s_files_of_one_name_are_one_record(tmp_path: Path) -> None:
    talk = {"image": "a.jpg", "conversations": [{"from": "human", "value": "<image>\nWhat?"}]}
    path = tar(
        tmp_path / "s.tar",
        [
            ("./00/a.jpg", jpeg(1)),
            ("./00/a.json", json.dumps(talk).encode()),
            ("./00/b.json", json.dumps({"id": 9, "images": ["b.2.png", "b.1.png"], "prompt": "Q"}).encode()),
            ("./00/b.1.png", jpeg(2)),
            ("./00/b.2.png", jpeg(3)),
            ("./00/c.txt", "A cüp.".encode()),
            ("./00/c.jpg", b"<html>not found</html>"),
        ],
    )
    a, b, c = values(path)
    assert a == {**talk, "id": "00/a", "image": {"bytes": jpeg(1), "path": "a.jpg"}}
    assert (b["id"], [picture["path"] for picture in b["images"]]) == (9, ["b.2.png", "b.1.png"])
    assert (c["text"], c["image"]["bytes"][:6]) == ("A cüp.", b"<html>")
    assert places(path) == ["s.tar 00/a", "s.tar 00/b", "s.tar 00/c"]
    zipped = tmp_path / "s.tar.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert values(zipped) == [a, b, c]


def test_a_heic_picture_in_a_tar_is_not_lost(tmp_path: Path) -> None:
    heic = b"\0\0\0\x18ftypheic" + bytes(40)
    ((record,), (asked,)) = (
        values(tar(tmp_path / "s.tar", [(name, heic), ("a.txt", b"What?")])) for name in ("a.heic", "a.bin")
    )
    assert record["image"]["bytes"] == asked["image"]["bytes"] == heic


def test_links_and_devices_in_a_tar_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text('{"prompt": "secret"}')
    special = []
    for name, kind in (("x.json", tarfile.SYMTYPE), ("y.json", tarfile.LNKTYPE), ("z.json", tarfile.CHRTYPE)):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, str(tmp_path / "secret.json")
        special.append((name, info))
    path = tar(tmp_path / "s.tar", [*special, ("../../w.json", b'{"prompt": "Q"}')])
    assert [record["prompt"] for record in values(path)] == ["Q"]
    assert sorted(place.name for place in tmp_path.iterdir()) == ["s.tar", "secret.json"]


def test_a_tar_s_file_over_the_limit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LARGEST_MEMBER", 10)
    with pytest.raises(InputError, match=r"a\.json has 11 bytes, over 10; leave it out"):
        list(records(tar(tmp_path / "s.tar", [("a.json", b'{"a": 1234}')])))


def test_a_folder_s_shards_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        parquet(tmp_path / "data" / f"set_{number}.parquet", [{"prompt": f"Q{number}"}])
    text(tmp_path / "data" / "README.md", "# card")
    text(tmp_path / "data" / "dataset_info.json", "{}")
    text(tmp_path / "data" / "extra.json", "{}")
    text(tmp_path / "README.md", "# card")
    assert [record["prompt"] for record in values(tmp_path)] == ["Q1", "Q9", "Q10"]
    assert Source(tmp_path).described() == "folder of 3 Parquet files"
    assert Source(tmp_path).count() == 3


@pytest.mark.parametrize("suffix", ["jsonl", "json", "jsonl.gz"])
def test_folders_of_text_are_read_as_one_file_is(tmp_path: Path, suffix: str) -> None:
    for number in range(2):
        text(
            tmp_path / f"train-0000{number}-of-00002.{suffix}", lines([{"n": number}, {"n": -1}]), suffix.endswith("gz")
        )
    assert values(tmp_path) == [{"n": 0}, {"n": -1}, {"n": 1}, {"n": -1}]
    assert Source(tmp_path).described() == "folder of 2 JSON files"
    (tmp_path / f"train-00001-of-00002.{suffix}").unlink()
    assert Source(tmp_path).described() == "folder of 1 of 2 JSON files"


def test_of_several_splits_one_must_be_named(tmp_path: Path) -> None:
    for name in ("train-00000-of-00001", "validation-00000-of-00001"):
        parquet(tmp_path / f"{name}.parquet", [{"prompt": name}])
    with pytest.raises(InputError, match=r"several splits \(train, validation\); name one: .*/train"):
        files(tmp_path)
    assert [record["prompt"][:5] for record in values(tmp_path / "validation")] == ["valid"]
    with pytest.raises(InputError, match=r"has no split test; known: train, validation"):
        files(tmp_path / "test")


def test_an_unclear_folder_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no file of records"):
        files(tmp_path)
    for name in ("chart", "maps"):
        parquet(tmp_path / name / "train-00000-of-00001.parquet", [{"prompt": name}])
    with pytest.raises(InputError, match=r"holds the folders chart, maps; name one: .*chart"):
        files(tmp_path)
    tar(tmp_path / "maps" / "0.tar", [])
    with pytest.raises(InputError, match=r"holds tar and Parquet files; name one file"):
        files(tmp_path / "maps")


def test_a_wrong_suffix_does_not_matter(tmp_path: Path) -> None:
    rows = [{"prompt": "Q"}]
    parquet(tmp_path / "x.parquet", rows).rename(tmp_path / "x.json")
    arrow(tmp_path / "x.arrow", rows).rename(tmp_path / "y.parquet.json")
    text(tmp_path / "z.json", lines(rows), zipped=True)
    assert [values(tmp_path / name) for name in ("x.json", "y.parquet.json", "z.json")] == [rows, rows, rows]


def damaged(path: Path, cut: int) -> Path:
    path.write_bytes(path.read_bytes()[:cut])
    return path


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("kind", ["parquet", "arrow", "tar", "tar.gz", "jsonl.gz"])
def test_a_file_cut_off_is_one_line_with_a_remedy(tmp_path: Path, kind: str, share: float) -> None:
    path = tmp_path / f"x.{kind}"
    members: list[tuple[str, Any]] = [(f"{n}.jpg", os.urandom(5000)) for n in range(9)]
    rows = [pair(n, noise=os.urandom(300).hex()) for n in range(20)]
    if kind == "parquet":
        parquet(path, rows)
    elif kind == "arrow":
        arrow(path, rows)
    elif kind == "jsonl.gz":
        text(path, lines([{"noise": os.urandom(300).hex()} for _ in range(20)]), zipped=True)
    else:
        tar(path, members, "w:gz" if kind.endswith("gz") else "w")
    with pytest.raises(InputError, match=rf"x\.{kind}.*(fetch|write|fix)") as error:
        list(records(damaged(path, int(path.stat().st_size * share))))
    assert "\n" not in str(error.value)


def test_damage_inside_parquet_is_named_by_its_row(tmp_path: Path) -> None:
    rows = [{"noise": os.urandom(500).hex()} for _ in range(200)]
    path = parquet(tmp_path / "p.parquet", rows, row_group_size=20, compression="gzip", use_dictionary=False)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 40] = bytes(40)
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"p\.parquet: broken after row \d+ .*fetch or write it again"):
        list(records(path))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"PK\x03\x04", "a zip or a spreadsheet; unpack it, or save the table as CSV"),
        (b"\x28\xb5\x2f\xfd", "compressed by zstd; unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "pointer to a file of Git LFS; fetch"),
        (b"\x80\x04\x95", "a pickle, which is never opened"),
    ],
)
def test_other_kinds_of_file_are_refused_with_the_remedy(tmp_path: Path, start: bytes, message: str) -> None:
    (tmp_path / "x.json").write_bytes(start + bytes(40))
    with pytest.raises(InputError, match=message):
        list(records(tmp_path / "x.json"))


def test_special_files_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.json")
    for path in (tmp_path / "p.json", Path("/dev/zero")):
        with pytest.raises(InputError, match="is not a file"):
            list(records(path))
    with pytest.raises(InputError, match="does not exist; check the path"):
        list(records(tmp_path / "nothing.json"))


def test_columns_are_renamed_and_a_missing_one_is_named(tmp_path: Path) -> None:
    path = text(tmp_path / "p.jsonl", lines([{"q": 1, "prompt": "old", "n": 3}, {"n": 4}]))
    source = Source(path, columns={"prompt": "q"})
    assert [record for _, record in source.records()] == [{"n": 3, "prompt": 1}, {"n": 4}]
    with pytest.raises(InputError, match=r"columns: chosen: .*p\.jsonl has no column good; it has q, prompt, n"):
        list(Source(path, columns={"chosen": "good"}).records())


def test_a_limit_reads_no_further(tmp_path: Path) -> None:
    path = text(tmp_path / "p.jsonl", lines([{"n": 1}, {"n": 2}]) + "broken")
    assert [record["n"] for _, record in Source(path, limit=2).records()] == [1, 2]

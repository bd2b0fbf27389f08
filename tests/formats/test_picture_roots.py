"""Pictures that a stranger's file names stay in its folder, whatever the container."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Pictures

from seelevel.errors import InputError
from seelevel.formats import convert, read
from seelevel.formats.parquet import load_ladders, save_ladders
from seelevel.formats.records import Rejected
from seelevel.ladder import Image, Ladder, Response

pytestmark = pytest.mark.unit


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pictures.new("RGB", (8, 8), "red").save(path)
    return path


def ladder(name: str) -> Ladder:
    responses = [Response([{"role": "assistant", "content": text}], level) for level, text in enumerate("ab")]
    return Ladder("1", [Image(name)], [{"role": "user", "content": "<image>\nWhat?"}], responses)


def as_ladders(folder: Path, name: str) -> Path:
    save_ladders([ladder(name)], folder / "rows.parquet")
    return folder / "rows.parquet"


def as_json(folder: Path, name: str) -> Path:
    row = {"image": name, "prompt": "What?", "chosen": "a", "rejected": "b"}
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    return folder / "rows.jsonl"


def table(name: str) -> pa.Table:
    return pa.table(
        {
            "image": pa.array(
                [{"bytes": None, "path": name}], pa.struct([("bytes", pa.binary()), ("path", pa.string())])
            ),
            "prompt": ["What?"],
            "chosen": ["a"],
            "rejected": ["b"],
        }
    )


def as_parquet(folder: Path, name: str) -> Path:
    pq.write_table(table(name), folder / "rows.parquet")
    return folder / "rows.parquet"


def as_arrow(folder: Path, name: str) -> Path:
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as file, pa.ipc.new_file(file, table(name).schema) as writer:
        writer.write_table(table(name))
    return folder / "rows.arrow"


@pytest.mark.parametrize("container", [as_ladders, as_json, as_parquet, as_arrow])
@pytest.mark.parametrize("name", ["{secret}", "../secret/a.png", "images/../../secret/a.png"])
def test_no_container_names_a_picture_outside_its_folder(tmp_path, container, name):
    secret = picture(tmp_path / "secret" / "a.png")
    folder = tmp_path / "theirs"
    picture(folder / "images" / "own.png")
    source = container(folder, name.format(secret=secret))
    with pytest.raises(InputError, match=r"no usable record; .*leaves the image folder"):
        convert(source, tmp_path / "out" / "rows.json", target_format="llava")
    assert not list((tmp_path / "out").rglob("*.png"))


@pytest.mark.parametrize("container", [as_ladders, as_json, as_parquet, as_arrow])
def test_every_container_names_pictures_in_its_folder(tmp_path, container):
    folder = tmp_path / "theirs"
    picture(folder / "images" / "own.png")
    (found,) = read(container(folder, "images/own.png"))
    assert found.images[0].path == str(folder.resolve() / "images" / "own.png")


def test_a_picture_that_is_a_pipe_is_set_aside(tmp_path):
    import os

    os.mkfifo(tmp_path / "a.png")
    (found,) = read(as_ladders(tmp_path, "a.png"))
    assert isinstance(found, Rejected)


def test_converted_ladders_keep_their_pictures_beside_them(tmp_path):
    picture(tmp_path / "theirs" / "own.png")
    convert(as_json(tmp_path / "theirs", "own.png"), tmp_path / "out" / "ladders.parquet")
    (tmp_path / "out").rename(tmp_path / "moved")
    (found,) = load_ladders(tmp_path / "moved" / "ladders.parquet")
    assert Path(found.images[0].path).parent == (tmp_path / "moved" / "images").resolve()
    assert convert(tmp_path / "moved" / "ladders.parquet", tmp_path / "rows.jsonl")["written"] == 1

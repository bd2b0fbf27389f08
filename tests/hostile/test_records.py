"""No file of records, whatever it holds, ends in anything but ladders, records set aside, or one line."""

import gzip
import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as some
from PIL import Image as Pictures

from seelevel.formats import KEYS, read
from seelevel.formats.parquet import save_ladders
from seelevel.image_store import ImageStore
from seelevel.images import ImageError, check_bytes, open_image
from seelevel.ladder import Image, Ladder, Response
from tests.hostile.search import mutated, scalars, search, values

pytestmark = pytest.mark.unit
NAMES = sorted(
    {
        *(key for keys in KEYS.values() for key in keys),
        *(
            "id",
            "image",
            "images",
            "messages",
            "score_chosen",
            "scores",
            "ranks",
            "history",
            "system",
            "input",
            "label",
        ),
        *(
            "annotations",
            "notes",
            "answer",
            "text",
            "doc",
            "turns",
            "ratings",
            "role",
            "content",
            "from",
            "value",
            "type",
        ),
    }
)
turns = some.lists(
    some.fixed_dictionaries({"role": some.sampled_from(["user", "assistant", "system", "tool"]), "content": values}),
    max_size=4,
)
records = some.dictionaries(some.sampled_from(NAMES), some.one_of(values, turns, some.just("What is it?")), max_size=8)


def picture() -> bytes:
    buffer = io.BytesIO()
    Pictures.new("RGB", (9, 7), "red").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def reader(tmp_path):
    """Reads the bytes of a file of a name to its end."""
    (tmp_path / "a.png").write_bytes(picture())
    store = ImageStore(tmp_path / "kept")

    def read_all(name, raw):
        path = tmp_path / name
        path.write_bytes(raw)
        return list(read(path, store=store))

    return read_all


@pytest.mark.parametrize("lines", [False, True], ids=["list", "lines"])
def test_json_records(reader, lines):
    def run(rows):
        text = [json.dumps(row) for row in rows]
        reader("rows.jsonl" if lines else "rows.json", ("\n".join(text) if lines else f"[{','.join(text)}]").encode())

    search(some.lists(records, max_size=4), run)


def test_json_text(reader):
    whole = json.dumps([{"prompt": "What?", "chosen": "a", "rejected": "b", "images": ["a.png"]}] * 2).encode()
    search(some.one_of(mutated(whole), some.binary(max_size=60)), lambda raw: reader("rows.json", raw))
    search(mutated(gzip.compress(whole, mtime=0)), lambda raw: reader("rows.json.gz", raw))


def test_tables_of_text(reader):
    whole = b'question,answer,image\n"What, now?",A cup.,a.png\nAnd?,A dog.,\n'
    search(some.one_of(mutated(whole), some.binary(max_size=60)), lambda raw: reader("rows.csv", raw))


def ladders_file(folder):
    responses = [Response([{"role": "assistant", "content": text}], n) for n, text in enumerate("ab")]
    prompt = [{"role": "user", "content": "<image>\nWhat?"}]
    save_ladders([Ladder(str(n), [Image("a.png")], prompt, responses) for n in range(3)], folder / "whole.parquet")
    return (folder / "whole.parquet").read_bytes()


def test_damaged_ladders(reader, tmp_path):
    search(mutated(ladders_file(tmp_path)), lambda raw: reader("rows.parquet", raw))


def test_ladders_of_other_values(reader, tmp_path):
    ladders_file(tmp_path)
    row = pq.read_table(tmp_path / "whole.parquet").to_pylist()[0]
    texts = some.one_of(scalars.map(str), values.map(lambda v: json.dumps(v)), some.just("[" * 5000))

    def run(changes):
        table = pa.Table.from_pylist([{**row, **changes}])
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        reader("rows.parquet", buffer.getvalue())

    clean = texts.filter(lambda text: text.isprintable() and "\ud800" not in text)
    search(some.dictionaries(some.sampled_from(["id", "notes", "annotations"]), clean, max_size=3), run)


def table_bytes(arrow):
    row = {"image": {"bytes": picture(), "path": "x.png"}, "prompt": "What?", "chosen": "a", "rejected": "b"}
    table, buffer = pa.Table.from_pylist([row] * 3), io.BytesIO()
    if arrow:
        with pa.ipc.new_file(buffer, table.schema) as writer:
            writer.write_table(table)
    else:
        pq.write_table(table, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("arrow", [False, True], ids=["Parquet", "Arrow"])
def test_damaged_tables(reader, arrow):
    name = "rows.arrow" if arrow else "rows.parquet"
    search(mutated(table_bytes(arrow)), lambda raw: reader(name, raw))


def test_damaged_tars(reader):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, raw in (("1.png", picture()), ("1.json", b'{"question": "What?", "answer": "A cup."}')):
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    search(mutated(buffer.getvalue()), lambda raw: reader("rows.tar", raw))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000"])
def test_damaged_pictures(tmp_path, kind):
    buffer = io.BytesIO()
    Pictures.radial_gradient("L").resize((24, 17)).convert("RGB").save(buffer, kind)

    def run(raw):
        check_bytes(raw)
        (tmp_path / "a").write_bytes(raw)
        open_image(tmp_path / "a")  # what passes the check can be opened

    search(mutated(buffer.getvalue()), run, ImageError)

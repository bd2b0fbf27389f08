"""Harmful inputs that were found, each with the line that it gets."""

import errno
import json
import os
import struct
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from seelevel.cli import main
from seelevel.errors import InputError
from seelevel.formats import convert, read
from seelevel.formats.parquet import load_ladders, save_ladders
from seelevel.ladder import Ladder, Response
from seelevel.language.parse import load_parser
from seelevel.models.blame import blamed
from seelevel.models.config_file import check_config, read_json
from seelevel.models.folders import adapter_base, check_encoder_folder, check_hub_index, check_model_folder
from seelevel.models.weights import safetensors_header, weight_files
from seelevel.store import expand_path, whole_file, write_atomically, write_folder

pytestmark = pytest.mark.unit


def header(entries, rest=b"", length=None):
    raw = json.dumps(entries).encode() if not isinstance(entries, bytes) else entries
    return struct.pack("<Q", len(raw) if length is None else length) + raw + rest


def tensor(begin=0, end=4, shape=(1,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "raw",
    [
        header({}, length=2**63),
        header({}, length=200_000_000),
        header([1]),
        header({"a": "b"}),
        header({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, b"\0" * 4),
        header({"a": tensor(shape=("x",))}, b"\0" * 4),
        header({"a": tensor(shape=(-1,))}, b"\0" * 4),
        header({"a": tensor(shape=(2,))}, b"\0" * 4),
        header({"a": tensor(0, 4), "b": tensor(2, 6)}, b"\0" * 6),
        header({"a": tensor(4, 8)}, b"\0" * 8),
        header({"a": tensor()}, b"\0" * 2),
        header(b"[" * 5000 + b"]" * 5000),
        b"\0" * 5,
        b"",
    ],
    ids=[
        "huge",
        "long",
        "list",
        "text",
        "shapeless",
        "words",
        "negative",
        "other-size",
        "overlap",
        "hole",
        "cut",
        "deep",
        "short",
        "empty",
    ],
)
def test_a_bad_weight_file_is_named(tmp_path, raw):
    (tmp_path / "model.safetensors").write_bytes(raw)
    with pytest.raises(InputError, match=r"model\.safetensors.*copy"):
        safetensors_header(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "m.pt", "m.pth", "m.ckpt", "m.pkl", "m.safetensors.bin", 5, None]
)
def test_an_index_loads_only_safetensors(tmp_path, name):
    (tmp_path / str(name)).write_bytes(b"\x80\x04.")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(InputError, match=r"index\.json: a is in .* and only \*\.safetensors are loaded"):
        weight_files(tmp_path, "model.safetensors")


@pytest.mark.parametrize("name", ["../m.safetensors", "/m.safetensors", "a/../../m.safetensors", "..\\m.safetensors"])
def test_an_index_names_no_file_outside_the_folder(tmp_path, name):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(InputError, match="outside the folder"):
        weight_files(tmp_path, "model.safetensors")


def test_a_hub_models_index_loads_only_safetensors(tmp_path, monkeypatch):
    (tmp_path / "index.json").write_text(json.dumps({"weight_map": {"a": "pytorch_model.bin"}}))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda name, file: str(tmp_path / "index.json"))
    with pytest.raises(InputError, match=r"only \*\.safetensors are loaded"):
        check_hub_index("owner/model")


def test_an_adapters_index_does_not_lead_to_a_pickle(tmp_path):
    """PEFT reads no index and goes on to adapter_model.bin."""
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "a/b"}))
    (tmp_path / "one.safetensors").write_bytes(header({"a": tensor()}, b"\0" * 4))
    index = {"weight_map": {"a": "one.safetensors"}}
    (tmp_path / "adapter_model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "adapter_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match=r"pickled weights .* only \*\.safetensors are loaded"):
        adapter_base(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base_model_name_or_path": 5}, "names no base model"),
        ({"base_model_name_or_path": "."}, "is an adapter itself"),
        ({"peft_type": "XLORA"}, "loads other adapters"),
        ({"megatron_config": {"a": 1}}, "loads other adapters or modules"),
        ({"r": 10**9}, "rank 1000000000 is not that of the adapter's weights"),
        ({"rank_pattern": {"a": "x"}}, "rank 'x'"),
    ],
)
def test_a_bad_adapter_is_named(tmp_path, change, words):
    config = {"base_model_name_or_path": str(tmp_path.parent), "r": 1, **change}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    (tmp_path / "adapter_model.safetensors").write_bytes(header({"a": tensor()}, b"\0" * 4))
    with pytest.raises(InputError, match=words):
        adapter_base(tmp_path)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"vision_config": [1]}, "vision_config is not a mapping"),
        ({"text_config": {"hidden_size": "x"}}, "text_config.hidden_size is 'x', not a whole number"),
        ({"vocab_size": 10**9}, "vocab_size is 1000000000, but no side of a weight is over 64"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000, but the weights hold 2 tensors"),
        ({"hidden_size": -1}, "hidden_size is '-1'"),
        ({"model_type": 5}, "model_type is not a text"),
        ({"architectures": "A"}, "architectures is not a list"),
        ({"image_seq_length": 10**30}, "is a number over"),
        ({"transformers_weights": "../x.safetensors"}, "transformers_weights"),
        ({"attn_implementation": "owner/kernel"}, "names code on the hub"),
        ({"vision_config": {"_attn_implementation": "owner/kernel"}}, "names code on the hub"),
    ],
)
def test_a_bad_configuration_is_named(tmp_path, config, words):
    with pytest.raises(InputError, match=words):
        check_config(tmp_path / "config.json", config, [64, 8])


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 900 + "1" + "}" * 900, '{"a": 1' + "0" * 5000 + "}", "[]", "{", ""]
)
def test_a_configuration_that_is_no_mapping_is_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json.*copy the file again"):
        read_json(tmp_path / "config.json")


@pytest.mark.parametrize("path", ["../other", "/etc", None])
def test_an_encoders_parts_stay_in_its_folder(tmp_path, path):
    (tmp_path / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Dense", "path": path}]))
    with pytest.raises(InputError, match=r"modules\.json: not a list of parts"):
        check_encoder_folder(tmp_path)


def test_an_encoders_pickled_part_is_refused(tmp_path):
    (tmp_path / "modules.json").write_text(json.dumps([{"path": "2_Dense"}]))
    (tmp_path / "2_Dense").mkdir()
    (tmp_path / "2_Dense" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match=r"2_Dense/pytorch_model\.bin is pickled"):
        check_encoder_folder(tmp_path)


def test_a_model_folder_in_a_circle_of_links_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer.json").symlink_to("tokenizer.json")
    with pytest.raises(InputError, match="circle of links"):
        check_model_folder(tmp_path)


def test_a_home_that_is_no_text_is_named():
    with pytest.raises(InputError, match=r"name: ~.ud800.udc00"):
        expand_path("~\ud800\udc00", "name")


def test_a_broken_parser_is_named(tmp_path):
    (tmp_path / "config.cfg").write_text("[nlp]\nlang = 5\n[nlp")
    with pytest.raises(InputError, match=r"parser .* cannot be loaded \("):
        load_parser(str(tmp_path))
    os.mkfifo(tmp_path / "meta.json")
    with pytest.raises(InputError, match=r"meta\.json is a pipe"):
        load_parser(str(tmp_path))


def test_what_a_library_raises_is_one_line():
    class PanicException(BaseException):
        pass

    for error in (Exception("a\nb"), KeyError("a"), PanicException("a"), ZeroDivisionError()):
        with pytest.raises(InputError, match=r"^model m \(.*\); copy it$"), blamed("model m", "copy it"):
            raise error
    for other in (KeyboardInterrupt(), PermissionError(errno.EACCES, "no", "x"), InputError("own")):
        with pytest.raises(type(other)) as raised, blamed("model m", "copy it"):
            raise other
        assert raised.value is other


def ladder():
    responses = [Response([{"role": "assistant", "content": text}], n) for n, text in enumerate("ab")]
    return Ladder("1", [], [{"role": "user", "content": "What?"}], responses)


@pytest.mark.parametrize(
    "change",
    [{"notes": "[" * 100_000}, {"notes": "[]"}, {"annotations": "5"}, {"id": None}],
    ids=["deep", "list", "number", "null id"],
)
def test_ladders_of_other_types_are_named(tmp_path, change):
    save_ladders([ladder()], tmp_path / "rows.parquet")
    table = pq.read_table(tmp_path / "rows.parquet")
    pq.write_table(
        type(table).from_pylist([{**table.to_pylist()[0], **change}], schema=table.schema), tmp_path / "b.parquet"
    )
    for reader in (load_ladders, lambda path: list(read(path))):
        with pytest.raises(InputError, match=r"b\.parquet does not hold ladders \(row 0: "):
            reader(tmp_path / "b.parquet")


def test_a_column_name_that_is_no_text_is_named(tmp_path):
    save_ladders([ladder()], tmp_path / "rows.parquet")
    raw = (tmp_path / "rows.parquet").read_bytes().replace(b"annotations", b"\x80nnotations")
    (tmp_path / "rows.parquet").write_bytes(raw)
    with pytest.raises(InputError, match=r"rows\.parquet"):
        list(read(tmp_path / "rows.parquet"))


class Synced:
    """The paths that were synced, in order."""

    def __init__(self, monkeypatch) -> None:
        self.paths: list[str] = []
        sync = os.fsync
        monkeypatch.setattr(
            os, "fsync", lambda fd: (self.paths.append(str(Path(f"/proc/self/fd/{fd}").readlink())), sync(fd))
        )


def test_a_folder_is_synced_after_a_file_gets_its_name(tmp_path, monkeypatch):
    synced = Synced(monkeypatch)
    write_atomically(tmp_path / "a", b"1")
    assert synced.paths[-1] == str(tmp_path) and len(synced.paths) == 2


def test_folders_are_synced_after_a_folder_gets_its_name(tmp_path, monkeypatch):
    synced = Synced(monkeypatch)

    def write(folder: Path) -> None:
        (folder / "inner").mkdir()
        (folder / "inner" / "a").write_bytes(b"1")

    write_folder(tmp_path / "model", write, 1)
    names = [Path(path).name for path in synced.paths]
    assert sorted(names[:2]) == ["a", "inner"] and names[2:] == ["writing-model", tmp_path.name]


def test_a_file_that_breaks_off_leaves_the_one_before(tmp_path):
    (tmp_path / "a").write_text("before")
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "a") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "before"


def test_a_read_only_disk_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "p.jsonl").write_text('{"prompt": "What?", "chosen": "a", "rejected": "b"}\n')
    monkeypatch.setattr("sys.argv", ["seelevel", "convert", str(tmp_path / "p.jsonl"), str(tmp_path / "o.parquet")])

    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "o.parquet: read-only file system; name another place" in capsys.readouterr().err


def test_a_circle_of_links_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setattr("sys.argv", ["seelevel", "convert", str(tmp_path / "loop"), str(tmp_path / "o.parquet")])
    with pytest.raises(SystemExit) as stopped:
        main()
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and "loop" in error and "Traceback" not in error


def test_pairs_come_back_as_the_ladders_they_were(tmp_path):
    prompt = [{"role": "user", "content": "What?"}]
    many = [
        Ladder(
            str(n),
            [],
            prompt,
            [Response([{"role": "assistant", "content": f"{n} {k}"}], k, {"kind": "given"}) for k in range(4)],
        )
        for n in range(3000)
    ]
    save_ladders(many, tmp_path / "all.parquet")
    assert convert(tmp_path / "all.parquet", tmp_path / "p.jsonl") == {"read": 3000, "written": 3000, "rejected": 0}
    convert(tmp_path / "p.jsonl", tmp_path / "back.parquet")
    assert load_ladders(tmp_path / "back.parquet") == many

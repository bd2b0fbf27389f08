"""Run folders: whole files, manifests last, fingerprints of what matters."""

import errno
import fcntl
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image as Pictures

from seelevel import Image, Ladder, Response, fingerprints, load_ladders, save_ladders, store
from seelevel.errors import DiskFullError, InputError, is_disk_full, require_space
from seelevel.formats.parquet import write_shard
from seelevel.store import at_work, lock_folder

pytestmark = pytest.mark.unit


def make_ladder(name="a", path="/pictures/a.png"):
    answers = [
        Response([{"role": "assistant", "content": text}], level, {"kind": "expert", "model": "m"}, "", {"acc": 0.5})
        for level, text in enumerate(["A cat.", "A dög."])
    ]
    question = {"role": "user", "content": "<image>\nWhat?"}
    return Ladder(name, [Image(path, "ff")], [question], answers, {"objects": ["cat"]}, {"flags": []})


def test_ladders_come_back_from_parquet_as_they_went(tmp_path):
    ladders = [make_ladder("a"), make_ladder("b")]
    save_ladders(ladders, tmp_path / "x.parquet")
    assert load_ladders(tmp_path / "x.parquet") == ladders


def test_parquet_opens_with_datasets(tmp_path):
    from datasets import load_dataset

    save_ladders([make_ladder()], tmp_path / "x.parquet")
    rows = load_dataset("parquet", data_files=str(tmp_path / "x.parquet"), cache_dir=str(tmp_path / "c"))["train"]
    assert rows[0]["responses"][1]["messages"][0]["content"] == "A dög."


def test_a_moved_run_still_finds_its_pictures(tmp_path):
    picture = tmp_path / "one" / "images" / "a.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"x")
    write_shard(tmp_path / "one/check/shard-00000.parquet", [make_ladder(path=str(picture))], root=tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    (found,) = load_ladders(tmp_path / "two" / "check")
    assert found.images[0].path == str((tmp_path / "two/images/a.png").resolve())


def test_embedded_pictures_are_unpacked_into_the_cache_where_their_files_are_gone(tmp_path):
    picture = tmp_path / "a.png"
    Pictures.new("RGB", (8, 8), "red").save(picture)
    save_ladders([make_ladder(path=str(picture))], tmp_path / "there" / "x.parquet", embed_images=True)
    raw = picture.read_bytes()
    picture.unlink()
    (found,) = load_ladders(tmp_path / "there" / "x.parquet")
    assert Path(found.images[0].path).is_relative_to(store.cache_folder().resolve())
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["x.parquet"]
    assert Path(found.images[0].path).read_bytes() == raw


def test_what_is_not_parquet_is_named(tmp_path):
    (tmp_path / "x.parquet").write_text("hello")
    with pytest.raises(InputError, match="not a Parquet file"):
        load_ladders(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="does not exist"):
        load_ladders(tmp_path / "y.parquet")


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    store.write_json(path, {"old": 1})

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(DiskFullError, match=r"a\.json needs"):
        store.write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_stage_begun_under_another_fingerprint_is_emptied(tmp_path):
    first = store.StageFolder(tmp_path / "s", "one")
    first.begin()
    first.shard(0).write_bytes(b"x")
    store.StageFolder(tmp_path / "s", "one").begin()
    assert first.shard(0).exists()
    store.StageFolder(tmp_path / "s", "two").begin()
    assert not first.shard(0).exists()


def test_a_folder_that_no_run_has_begun_is_not_emptied(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "mine.csv").write_text("precious")
    with pytest.raises(InputError, match="no run has written; choose another --out"):
        store.StageFolder(folder, "one").begin()
    assert (folder / "mine.csv").read_text() == "precious"


def test_a_stage_cut_off_before_it_said_what_it_is_starts_anew(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / ".partial-begun.json").write_bytes(b"half")
    store.StageFolder(folder, "one").begin()
    assert [p.name for p in folder.iterdir()] == ["begun.json"]


def test_what_a_kill_left_of_an_emptied_folder_is_cleared(tmp_path):
    stale = tmp_path / ".partial-s"
    stale.mkdir()
    (stale / "shard-00001.parquet").write_bytes(b"x")
    store.StageFolder(tmp_path / "s", "one").begin()
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_a_stage_is_done_only_under_its_own_fingerprint(tmp_path):
    stage = store.StageFolder(tmp_path / "s", "one")
    stage.begin()
    assert stage.manifest is None
    stage.finish(count=3)
    assert stage.manifest == {"fingerprint": "one", "shards": 0, "count": 3}
    assert store.StageFolder(tmp_path / "s", "two").manifest is None


def test_a_stage_that_lost_a_shard_is_not_done_and_keeps_the_others(tmp_path):
    stage = store.StageFolder(tmp_path / "s", "one")
    stage.begin()
    for index in range(3):
        stage.shard(index).write_bytes(b"x")
    stage.finish()
    assert stage.manifest is not None
    stage.shard(1).unlink()
    assert stage.manifest is None
    stage.begin()
    assert store.shards(stage.path) == [stage.shard(0), stage.shard(2)]


@pytest.mark.parametrize("garbage", [b"", b"\0" * 60, b"\xff\xfe", b"{", b"[]", b"{}", b"5"])
def test_a_manifest_or_begun_file_that_is_garbage_is_as_good_as_none(tmp_path, garbage):
    stage = store.StageFolder(tmp_path / "s", "one")
    stage.begin()
    stage.finish()
    (stage.path / store.MANIFEST).write_bytes(garbage)
    assert stage.manifest is None
    (stage.path / store.BEGUN).write_bytes(garbage)
    stage.begin()
    assert [p.name for p in stage.path.iterdir()] == [store.BEGUN]


def test_source_fingerprints_follow_lazy_imports_and_tables_of_names():
    assert "seelevel.store" in fingerprints.imports_of("seelevel.formats.parquet")
    assert "seelevel.models.local" in fingerprints.imports_of("seelevel.models")
    assert "seelevel.pipeline" in fingerprints.imports_of("seelevel.cli.run")


CODE = "def f(x: int) -> int:\n    return x + 1\n"
SAME_CODE = (
    '"""A module."""\n\n# Why.\nLIMIT = 3\n"""The limit."""\n\n\n'
    'def f(\n    x: int,\n) -> int:\n    """Add one."""\n    return (x + 1)  # or so\n'
)


def test_comments_and_docstrings_leave_the_code_digest_alone():
    assert fingerprints.code_digest("LIMIT = 3\n" + CODE) == fingerprints.code_digest(SAME_CODE)


@pytest.mark.parametrize(
    "changed", [CODE.replace("+", "-"), CODE.replace("1", "2"), CODE.replace("1", "None"), CODE + "f('a text')\n"]
)
def test_a_change_of_code_changes_the_code_digest(changed):
    assert fingerprints.code_digest(changed) != fingerprints.code_digest(CODE)


def test_disk_full_is_seen_through_a_library_s_own_error():
    class SafetensorError(Exception):
        pass

    assert is_disk_full(SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"))
    assert not is_disk_full(ValueError("no"))


def test_require_space_names_the_missing_bytes(tmp_path):
    with pytest.raises(DiskFullError) as caught:
        require_space(tmp_path / "big", 10**18)
    assert caught.value.missing > 10**17


def test_batches_are_fixed_by_size():
    assert list(store.batched(range(5), 2)) == [[0, 1], [2, 3], [4]]


def test_looking_for_a_stages_sources_imports_none_of_them():
    code = (
        "import sys; from seelevel.fingerprints import source_fingerprint; source_fingerprint('seelevel.align');"
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'seelevel.training.fit')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_run_at_work_is_seen(tmp_path):
    assert not at_work(tmp_path)
    with lock_folder(tmp_path):
        assert at_work(tmp_path)
    assert not at_work(tmp_path)


def test_a_look_at_the_lock_does_not_turn_a_run_away(tmp_path, monkeypatch):
    (tmp_path / ".lock").touch()
    with (tmp_path / ".lock").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # as `at_work` does
        monkeypatch.setattr(store.time, "sleep", lambda seconds: fcntl.flock(file, fcntl.LOCK_UN))
        with lock_folder(tmp_path):
            pass

"""Only regular files are opened: pipes, devices, sockets and circles of links are refused at once."""

import os
import socket
from pathlib import Path

import pytest

from seelevel.errors import InputError
from seelevel.formats import convert
from seelevel.images import ImageError, check_image
from seelevel.judge import JudgeTemplate
from seelevel.models.config_file import read_json
from seelevel.models.folders import check_model_folder
from seelevel.opening import NotAFile, TooLarge, open_file, read_bytes, read_text
from seelevel.recipe import load_recipe
from seelevel.scorers.files import read_entries
from seelevel.store import lock_folder, read_mapping

pytestmark = pytest.mark.unit


def special(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "circle":
        path.symlink_to(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        os.chdir(folder)  # a socket's path is short
        socket.socket(socket.AF_UNIX).bind(path.name)
    return path


KINDS = ("pipe", "circle", "folder", "device", "socket")


@pytest.mark.parametrize("kind", KINDS)
def test_a_special_file_is_refused_with_its_path(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = special(tmp_path, kind)
    with pytest.raises(NotAFile, match=rf"{kind}\.json is not a file but a {kind}"):
        open_file(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "read",
    [
        read_json,
        read_mapping,
        read_entries,
        JudgeTemplate,
        lambda path: load_recipe(str(path)),
        lambda path: convert(path, path.parent / "out.jsonl"),
        lambda path: convert(path, path.parent / "out.jsonl", "ladders"),
    ],
    ids=["config", "manifest", "answers", "template", "recipe", "records", "ladders"],
)
def test_no_reader_waits_for_a_special_file(tmp_path, monkeypatch, kind, read):
    monkeypatch.chdir(tmp_path)
    path = special(tmp_path, kind)
    if kind == "circle" and read is read_mapping:
        assert read(path) is None
        return
    with pytest.raises(InputError) as error:
        read(path)
    assert kind in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_special_file_is_no_picture(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageError, match=kind):
        check_image(special(tmp_path, kind))


def test_a_model_folder_with_a_pipe_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    os.mkfifo(tmp_path / "tokenizer.json")
    with pytest.raises(InputError, match=r"tokenizer\.json is a pipe"):
        check_model_folder(tmp_path)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(TooLarge, match="1,099,511,627,776 bytes"):
        read_bytes(path)
    with pytest.raises(ImageError, match="over 512 MiB"):
        check_image(path)


def test_line_ends_are_read_as_line_feeds(tmp_path):
    (tmp_path / "a").write_bytes(b"a\r\nb\rc\n")
    assert read_text(tmp_path / "a") == "a\nb\nc\n"


@pytest.mark.parametrize("kind", ["pipe", "circle", "folder", "device", "socket"])
def test_a_lock_that_is_not_a_file_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    special(tmp_path, kind).rename(tmp_path / ".lock")
    with pytest.raises(InputError, match=r"\.lock|run folder"), lock_folder(tmp_path):
        pass


def test_a_lock_never_changes_another_file(tmp_path):
    (tmp_path / "precious").write_text("precious")
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").symlink_to("../precious")
    with pytest.raises(InputError, match=r"\.lock is a link; delete it"), lock_folder(run):
        pass
    (run / ".lock").unlink()
    (run / ".lock").hardlink_to(tmp_path / "precious")
    with lock_folder(run):
        pass
    assert (tmp_path / "precious").read_text() == "precious"


def test_files_are_opened_by_the_one_helper():
    """No module opens a path to read by itself, so that no reader can wait for a pipe."""
    source = Path(__file__).parents[1] / "src" / "seelevel"
    own = {"opening.py", "fingerprints.py"}  # the second reads the package's own sources
    for file in source.rglob("*.py"):
        if file.name in own or file.is_relative_to(source / "world" / "models"):
            continue
        for line in file.read_text().splitlines():
            direct = any(call in line for call in (".read_text(", ".read_bytes(", '.open("r', "gzip.open(path"))
            ours = any(part in line for part in ("resources", "joinpath", "return file.read_text", "/proc/self"))
            assert not direct or ours, f"{file}: {line.strip()}: use seelevel.opening"

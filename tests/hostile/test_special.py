"""Files that are no files, to read from and to write to."""

import json
import os
import sys

import pytest

from seelevel.cli import main
from seelevel.errors import InputError
from seelevel.formats import convert, json_records, read
from seelevel.images import ImageError, open_image
from seelevel.opening import NotAFile
from seelevel.report.reading import read_run
from seelevel.store import whole_file, write_atomically

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder"])
def test_no_new_file_takes_the_place_of_what_is_no_file(tmp_path, kind):
    """Run by root, a conversion to /dev/null would end all writing to it."""
    place = tmp_path / "place"
    if kind == "a pipe":
        os.mkfifo(place)
    elif kind == "a folder":
        place.mkdir()
    else:
        place.symlink_to("/dev/null")
    before = place.stat().st_ino
    (tmp_path / "p.jsonl").write_text('{"prompt": "What?", "chosen": "a", "rejected": "b"}\n')
    for write in (
        lambda: write_atomically(place, "x"),
        lambda: whole_file(place).__enter__(),
        lambda: convert(tmp_path / "p.jsonl", place, target_format="trl"),
    ):
        with pytest.raises(NotAFile, match=kind):
            write()
    assert place.stat().st_ino == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.jsonl", "place"]


def test_a_line_of_a_table_without_an_end_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(json_records, "LONGEST", 1 << 16)
    for head, line in (("question,answer\na,", 2), ("question,", 1)):
        with (tmp_path / "rows.csv").open("w") as file:
            file.write(head)
            file.truncate(1 << 40)
        with pytest.raises(InputError, match=rf"rows\.csv line {line}: over 0 MiB without an end"):
            list(read(tmp_path / "rows.csv"))


@pytest.mark.parametrize("text", ["", "precious", "[1]"])
def test_damaged_figures_are_named(tmp_path, text):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(InputError, match=r"metrics\.json is damaged; delete .*evaluate and run"):
        read_run(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_files_of_the_system_are_one_line(tmp_path, monkeypatch, capsys):
    with pytest.raises(ImageError):
        open_image("/proc/self/mem")
    (tmp_path / "p.json").write_text(json.dumps([{"prompt": "What?", "image": "kmsg"}]))
    assert "kmsg" in next(iter(read(tmp_path / "p.json", images="/proc"))).reason
    monkeypatch.setattr("sys.argv", ["seelevel", "convert", "/proc/self/mem", str(tmp_path / "o.jsonl")])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    assert "the system cannot read or write it" in capsys.readouterr().err

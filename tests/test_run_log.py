"""The log of a run: whole lines, one line each, and never a reason to end a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from seelevel import run_log
from seelevel.progress import Progress, read_line, say
from seelevel.run_log import logged, read_log

pytestmark = pytest.mark.unit


def texts(folder: Path) -> list[str]:
    return [line.text for line in read_log(folder)]


def test_lines_that_are_said_are_kept_in_sections(tmp_path: Path) -> None:
    for title in ("first", "second"):
        with logged(tmp_path, title):
            say("red\x1b[2J\nder")
    say("after")
    assert texts(tmp_path) == [
        *("== first", "red\\x1b[2J⏎der", "ended"),
        *("== second", "red\\x1b[2J⏎der", "ended"),
    ]
    assert [line.opens for line in read_log(tmp_path)] == [True, False, False] * 2


def test_what_ends_a_run_is_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError), logged(tmp_path, "run"):
        raise ValueError("a shard\nis missing")
    with pytest.raises(KeyboardInterrupt), logged(tmp_path, "run"):
        raise KeyboardInterrupt
    assert texts(tmp_path)[1::2] == ["stopped: a shard is missing", "stopped: by hand"]


def test_progress_is_kept_from_its_start(tmp_path: Path) -> None:
    with logged(tmp_path, "run"), Progress("check", total=3, unit="ladders") as bar:
        bar.advance(3)
    lines = [read_line(text) for text in texts(tmp_path)]
    assert [(line.label, line.done, line.total) for line in lines if line] == [("check", 0, 3), ("check", 3, 3)]


def test_a_full_log_makes_room_and_keeps_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "LARGEST", 300)
    with logged(tmp_path, "run"):
        for number in range(20):
            say(f"line {number}")
    assert texts(tmp_path)[-2:] == ["line 19", "ended"]
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == {"log.txt", "log.before.txt"} and max(sizes.values()) <= 300


@pytest.mark.parametrize("trap", ["folder", "link", "pipe", "full"])
def test_a_log_that_cannot_be_written_is_told_once_and_ends_nothing(
    tmp_path: Path, trap: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, path = tmp_path / "victim", tmp_path / "log.txt"
    victim.write_text("")
    if trap == "folder":
        path.mkdir()
    elif trap == "link":
        path.symlink_to(victim)
    elif trap == "pipe":
        os.mkfifo(path)
    else:
        monkeypatch.setattr(run_log.os, "write", lambda descriptor, raw: len(raw) // 2)
    with logged(tmp_path, "run"):
        say("one")
        say("two")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"{path} cannot be written") and lines[1:] == ["one", "two"]
    assert victim.read_text() == ""


def test_a_half_line_of_a_full_disk_does_not_join_the_next(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("2026-11-28T12:00:00+00:00 wh")
    with logged(tmp_path, "run"):
        pass
    assert texts(tmp_path) == ["wh", "== run", "ended"]


def test_a_killed_run_leaves_whole_lines(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from seelevel.run_log import logged; from seelevel.progress import say\n"
        f"with logged(Path({str(tmp_path)!r}), 'run'):\n"
        "    while True: say('x' * 200)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    assert process.stderr is not None
    for _ in range(50):
        process.stderr.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    lines = (tmp_path / "log.txt").read_text().split("\n")
    assert lines[-1] == "" and len(lines) > 50
    assert {line.split(" ", 1)[1] for line in lines[:-1]} == {"== run", "x" * 200}


def test_a_file_that_is_no_log_has_no_lines(tmp_path: Path) -> None:
    assert read_log(tmp_path) == []
    (tmp_path / "log.txt").write_bytes(b"\x00\xff\n2026-99-99T00:00:00+00:00 no such day\nplain\n")
    assert read_log(tmp_path) == []

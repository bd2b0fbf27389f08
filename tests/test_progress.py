"""What the program says does not steer the terminal."""

from __future__ import annotations

import time

import pytest

from seelevel import progress
from seelevel.progress import Progress, escape_controls, say, show, waiting_for

HOSTILE = "red\x1b[2J\u202eder\r\n👩\u200d🌾 \U000e0041"
SHOWN = "red\\x1b[2J\\u202eder\\x0d⏎👩\u200d🌾 \\U000e0041"


def test_characters_that_steer_the_terminal_are_shown_by_their_numbers() -> None:
    assert escape_controls(HOSTILE) == SHOWN


def test_a_line_of_log_is_shown_so(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"left out {HOSTILE}")
    assert capsys.readouterr().err == f"left out {SHOWN}\n"


def test_answers_of_a_command_keep_their_lines_only(capsys: pytest.CaptureFixture[str]) -> None:
    show("a\tb\x85\nc\u2066\u2028\udcff")
    assert capsys.readouterr().out == "a\\x09b\\x85\nc\\u2066\\u2028\\udcff\n"


def test_a_stage_that_stands_still_says_what_it_waits_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "STALLED_SECONDS", 0.05)
    with Progress("check", total=9, unit="ladders") as bar:
        with waiting_for(lambda: "2 of 8 replies of http://a/v1#m"):
            time.sleep(0.4)
        bar.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "check: no ladders done for 0 s; it waits for 2 of 8 replies of http://a/v1#m"
    assert 2 <= len(lines) <= 5  # after 1, 2 and 4 times as long, and the line at the end
    assert lines[-1].startswith("check: 1/9")


def test_a_stage_that_moves_says_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "STALLED_SECONDS", 5.0)
    with Progress("check", total=3, unit="ladders") as bar:
        for _ in range(3):
            time.sleep(0.02)
            bar.advance()
    assert len(capsys.readouterr().err.splitlines()) == 1

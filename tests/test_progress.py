"""What the program says does not steer the terminal."""

from __future__ import annotations

import pytest

from seelevel.progress import escape_controls, say

HOSTILE = "red\x1b[2J\u202eder\r\n👩\u200d🌾 \U000e0041"
SHOWN = "red\\x1b[2J\\x202eder\\x0d⏎👩\u200d🌾 \\xe0041"


def test_characters_that_steer_the_terminal_are_shown_by_their_numbers() -> None:
    assert escape_controls(HOSTILE) == SHOWN


def test_a_line_of_log_is_shown_so(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"left out {HOSTILE}")
    assert capsys.readouterr().err == f"left out {SHOWN}\n"

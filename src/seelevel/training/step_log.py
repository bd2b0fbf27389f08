"""The figures of each step of a training as JSON lines, written while it trains."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seelevel.errors import DiskFullError, InputError, reason_of
from seelevel.opening import open_descriptor
from seelevel.progress import say
from seelevel.store import write_atomically
from seelevel.training.objectives.ratios import relative_error
from seelevel.training.rounding import FLOAT32
from seelevel.training.saving import json_lines

FALL_WINDOW = 20
"""The warning needs this many steps with the best responses' log-probability below the reference's."""


def lines_of(history: Sequence[dict[str, Any]]) -> str:
    """A line for each step. `history`: of `TrainerState.log_history`, which also has entries of other kinds."""
    return json_lines([entry for entry in history if "loss" in entry])


class StepLog:
    """A log that follows a training. The first call writes the file anew: a resumed training goes on from a checkpoint,
    and the steps after it come again. Each later one adds a line.

    A log that cannot be written is reported once and then left: the training goes on, and writes all steps at its end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begun, self._usable = False, True

    def follow(self, history: Sequence[dict[str, Any]]) -> None:
        """`history`: all steps so far, the last one new."""
        if not self._usable:
            return
        try:
            if self._begun:
                self._add(lines_of(history[-1:]).encode())
            else:
                write_atomically(self.path, lines_of(history), synced=False)
                self._begun = True
        except (OSError, InputError, DiskFullError) as error:
            self._usable = False
            say(f"{self.path} cannot be written yet ({reason_of(error)}); the training goes on")

    def _add(self, raw: bytes) -> None:
        descriptor = open_descriptor(self.path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        try:
            if os.write(descriptor, raw) < len(raw):
                raise OSError("the disk is full")
        finally:
            os.close(descriptor)


def best_fallen(history: Sequence[dict[str, float]], rounding: float = FLOAT32) -> float | None:
    """The average change (negative, nats per token) of the best responses over a full window, if they fell; else None.
    A fall within rounding does not count: the mean over n steps is off by 1/√n of what a token's log-prob is off by."""
    changes = [entry["best_change"] for entry in history if "best_change" in entry]
    if len(changes) < FALL_WINDOW:
        return None
    mean = sum(changes) / len(changes)
    return mean if mean < -relative_error(rounding) / len(changes) ** 0.5 else None

"""Snapshots of a training: the weights as they were after some of its steps."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from seelevel.store import SNAPSHOT, SNAPSHOTS, snapshot_step, write_folder


def snapshot_steps(steps: int, count: int) -> list[int]:
    """At most `count` steps before the last of `steps`, evenly spaced; fewer if there are fewer steps."""
    wanted = (round(number * steps / (count + 1)) for number in range(1, count + 1))
    return sorted({step for step in wanted if 0 < step < steps})


class Snapshots(TrainerCallback):
    """Writes `snapshots/step-<n>`, whole or not at all, when step n is done. `writer()`, called in every process,
    gives what fills the folder of a model, of about `size` bytes.

    A snapshot comes before a checkpoint of the same step. So a training that resumes from a checkpoint has all
    snapshots up to it, and writes the later ones again, with the same bytes.
    """

    def __init__(self, out: Path, steps: list[int], writer: Callable[[], Callable[[Path], None]], size: int) -> None:
        self.folder, self.steps, self.writer, self.size = out / SNAPSHOTS, frozenset(steps), writer, size

    def clear(self, after: int) -> None:
        """Delete what this training would not have written until step `after`."""
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            step = snapshot_step(path.name)
            if step is not None and step <= after and step in self.steps:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step in self.steps:
            write = self.writer()
            if args.process_index == 0:
                write_folder(self.folder / f"{SNAPSHOT}{state.global_step}", write, self.size)

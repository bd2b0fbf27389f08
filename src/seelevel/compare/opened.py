"""What `seelevel compare` is given: models of runs, and samples of lmms-eval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from string import ascii_uppercase

from seelevel.compare.samples import SamplesSide, is_samples, open_samples
from seelevel.compare.sides import RunSide, Side, open_run
from seelevel.errors import InputError


def open_sides(names: Sequence[str]) -> list[Side]:
    """The models named `RUN` (its aligned model), `RUN:SIDE`, or by a samples file of lmms-eval.

    Samples beside a run are scored as the first run's answers are. Raises InputError for fewer than two names, and as
    `open_run` and `open_samples` do.
    """
    if not 2 <= len(names) <= len(ascii_uppercase):
        raise InputError(f"compare: name 2 to {len(ascii_uppercase)} models, RUN or RUN:base; {len(names)} named")
    sides = [
        open_samples(label, name) if is_samples(name) else open_run(label, name)
        for label, name in zip(ascii_uppercase, names, strict=False)
    ]
    run = next((side for side in sides if isinstance(side, RunSide)), None)
    return [replace(side, beside=run) if isinstance(side, SamplesSide) else side for side in sides]

"""`seelevel compare`: two or more models on the same questions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seelevel.cli.score import JsonOption
from seelevel.json_text import dumps
from seelevel.progress import show


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Run folders. RUN is its aligned model; RUN:base, RUN:control, RUN:round-1, RUN:step-50 others. Or "
            "samples of lmms-eval: a file, or a folder of one model's.",
        ),
    ],
    plot: Annotated[Path | None, typer.Option(help="Also draw the figures: a .png, .svg or .pdf.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two or more evaluated models item by item; differences are from the first."""
    from seelevel.compare.figures import compare as compare_models

    comparisons = compare_models(runs)
    if plot is not None:
        from seelevel.compare.plot import plot as draw

        draw(comparisons, plot)
    if as_json:
        show(dumps(comparisons.record(), ensure_ascii=True))
        return
    from seelevel.compare.table import table

    show(table(comparisons))

"""A comparison as a drawing: one panel per figure, each side a dot with its interval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seelevel.compare.figures import Compared, Comparisons
from seelevel.errors import InputError
from seelevel.report.figures import Figure

ARROWS = {"lower": "\nlower is better", "higher": "\nhigher is better", "neither": ""}


def plot(comparisons: Comparisons, path: Path) -> None:
    """Draw one row of panels per benchmark. A dot is filled if its difference from the first side excludes 0.

    The suffix of `path` sets the format. Raises `InputError` if matplotlib does not know it or cannot write the file.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    rows = [(benchmark, [figure for part in benchmark.main for figure in part]) for benchmark in comparisons.benchmarks]
    columns = max(len(figures) for _, figures in rows)
    height = 0.8 + 0.3 * len(comparisons.sides)
    size = (2.3 * columns, (height + 0.5) * len(rows) + 0.25 * len(comparisons.sides))
    drawing = Drawing(figsize=size, layout="constrained")
    FigureCanvasAgg(drawing)
    grid = drawing.subplots(len(rows), columns, squeeze=False)
    for (benchmark, figures), line in zip(rows, grid, strict=True):
        for axes, figure in zip(line, figures, strict=False):
            _panel(axes, benchmark, figure)
        for axes in line[len(figures) :]:
            axes.set_axis_off()
    sides = [f"{side.label}: {side.name}" for side in comparisons.sides]
    words = "filled: the 95% interval of the paired difference from A excludes 0"
    drawing.supxlabel("\n".join([*sides, words]), fontsize=8, x=0.01, ha="left")
    try:
        with matplotlib.rc_context({"svg.hashsalt": "seelevel"}):  # the same figures give the same file
            drawing.savefig(path, dpi=150, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: the plot cannot be written ({error!s:.100}); name a .png, .svg or .pdf") from error


def _panel(axes: Any, benchmark: Compared, figure: str) -> None:
    """Dots with intervals, the first side on top."""
    metric, labels = benchmark.metric(figure), list(benchmark.shared.items)
    scale = 100 if metric.kind == "rate" else 1
    for row, label in enumerate(labels):
        value = Figure.read(benchmark.figures[figure][label])
        if value is None:
            continue
        change = None if row == 0 else benchmark.pair(figure, label).difference
        colour = f"C{row % 10}"
        axes.plot([scale * end for end in value.ends], [row, row], color=colour, linewidth=1.5)
        fill = colour if change is not None and change.clear else "white"
        axes.plot(scale * value.value, row, "o", color=colour, markerfacecolor=fill)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    unit = ", %" if metric.kind == "rate" else ""
    axes.set_title(f"{metric.label}{unit}{ARROWS[metric.better]}", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)

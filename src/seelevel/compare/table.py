"""A comparison as text of at most 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from textwrap import wrap

from seelevel.compare.figures import Compared, Comparisons
from seelevel.compare.sides import Side
from seelevel.report.figures import Figure
from seelevel.scorers.words import Metric

WIDTH = 100
LABEL, CELL, TEST = 7, 23, 36
COLUMNS = (WIDTH - LABEL) // CELL
MARKS = {"better": " ✓", "worse": " ✗"}
ARROWS = {"lower": " ↓", "higher": " ↑", "neither": ""}
LEGEND = "[…]: 95% interval. ✓ better, ✗ worse than A: the interval of the paired difference excludes 0."


def table(comparisons: Comparisons) -> str:
    """The sides, then one part per benchmark: the figures of each side, the differences from the first."""
    lines = [_side(side) for side in comparisons.sides]
    for benchmark in comparisons.benchmarks:
        lines += ["", *_benchmark(benchmark)]
    notes = [line for note in comparisons.notes for line in wrap(note, WIDTH)]
    return "\n".join([*lines, "", *notes, LEGEND])


def _side(side: Side) -> str:
    model = f" ({side.model})" if side.model not in ("", side.side) else ""
    text = f"{side.name}{model}"
    room = WIDTH - 3
    return f"{side.label}  {text if len(text) <= room else '…' + text[1 - room :]}"


def _benchmark(benchmark: Compared) -> Iterator[str]:
    yield _heading(benchmark)
    main, beside = benchmark.main
    room = max(COLUMNS - len(beside), 1)
    for start in range(0, len(main), room):
        yield from _columns(benchmark, [*main[start : start + room], *beside])
    yield from _mcnemar(benchmark)
    labels = list(benchmark.shared.items)[1:]
    guessed = [f for f in (*main, *beside) if any(benchmark.pair(f, label).verdict == "chance" for label in labels)]
    if guessed:
        names = ", ".join(benchmark.metric(figure).label for figure in guessed)
        yield from wrap(f"No verdict on {names}: A's answers are at chance.", WIDTH)


def _mcnemar(benchmark: Compared) -> Iterator[str]:
    rows = [(label, name, test) for label, tests in benchmark.mcnemar.items() for name, test in tests.items()]
    if rows:
        yield f"{'McNemar':{TEST}}{'questions':>12}{'only A right':>16}{'only A wrong':>16}{'p':>12}"
    for label, name, test in rows:
        what = f"{label}, {name if len(name) < TEST - 4 else '…' + name[5 - TEST :]}"
        lost, won = test["right_in_first_only"], test["right_in_this_only"]
        yield f"{what:{TEST}}{test['n']:>12,}{lost:>16,}{won:>16,}{test['p']:>12.2g}"


def _heading(benchmark: Compared) -> str:
    text = f"{benchmark.name}: {benchmark.items:,} items"
    if benchmark.shared.left_out:
        lacking = ", ".join(f"{label} lacks {count:,}" for label, count in benchmark.shared.lacking.items() if count)
        text += f"; {benchmark.shared.left_out:,} left out ({lacking})"
    if any(benchmark.unscored.values()):
        text += "; unscored: " + ", ".join(f"{label} {count:,}" for label, count in benchmark.unscored.items() if count)
    return text


def _columns(benchmark: Compared, figures: Sequence[str]) -> Iterator[str]:
    """A header of one or more lines, a row per side, and a row per difference."""
    metrics = [benchmark.metric(figure) for figure in figures]
    headers = [wrap(_header(metric), CELL - 1) for metric in metrics]
    for line in zip_longest(*headers, fillvalue=""):
        yield _row("", line)
    first, *others = benchmark.shared.items
    for label in (first, *others):
        values = [Figure.read(benchmark.figures[figure][label]) for figure in figures]
        yield _row(label, [_cell(value, metric) for value, metric in zip(values, metrics, strict=True)])
    for label in others:
        pairs = [benchmark.pair(figure, label) for figure in figures]
        cells = [_cell(pair.difference, pair.metric, "+") + MARKS.get(pair.verdict or "", "") for pair in pairs]
        yield _row(f"{label} − {first}", cells)


def _row(label: str, cells: Sequence[str]) -> str:
    return (f"{label:{LABEL}}" + "".join(f"{cell:{CELL}}" for cell in cells)).rstrip()


def _header(metric: Metric) -> str:
    return metric.label + (" %" if metric.kind == "rate" else "") + ARROWS[metric.better]


def _cell(figure: Figure | None, metric: Metric, sign: str = "") -> str:
    """`12.3 [10.1, 14.9]`; the value alone if it has no interval; rates in percent."""
    if figure is None:
        return "–"
    scale, digits = (100, 1) if metric.kind == "rate" else (1, 2 if metric.top < 100 else 1)

    def number(value: float) -> str:
        shown = scale * value
        text = f"{shown:{sign}.{digits if abs(shown) < 99.95 else 0}f}"
        return (text.lstrip("+-") if float(text) == 0 else text).replace("-", "\N{MINUS SIGN}")

    if figure.low is None or figure.high is None:
        return number(figure.value)
    return f"{number(figure.value)} [{number(figure.low)}, {number(figure.high)}]"

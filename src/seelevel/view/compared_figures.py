"""The figures of a comparison as tables and plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from seelevel.compare.figures import Compared, Comparisons
from seelevel.compare.sides import Side
from seelevel.report import plots
from seelevel.report.figures import Comparison, Figure

SEQUENCE = ("base", "round", "step", "aligned")
"""The first words of the names of models that one training makes one after the other."""
FEW = 5
"""Models whose names have room below a plot."""
READINGS = {**plots.WORDS, "chance": "A at chance"}
"""The verdicts in words."""


@dataclass(frozen=True)
class Row:
    """A figure: of the first model, and of each other one with its paired difference from the first."""

    first: Comparison
    others: list[Comparison]


@dataclass(frozen=True)
class Test:
    """McNemar's test of one model and one question set."""

    label: str
    name: str
    n: int
    lost: int
    won: int
    p: str


@dataclass(frozen=True)
class Part:
    """A benchmark of a comparison. drawn: plots by title; remarks: what is left out, lacking or unscored."""

    name: str
    items: int
    remarks: list[str]
    main: list[Row]
    rest: list[Row]
    tests: list[Test]
    drawn: list[tuple[str, Markup]]


def parts(comparisons: Comparisons) -> list[Part]:
    """Every benchmark, as `seelevel compare` has it."""
    in_sequence = len(comparisons.sides) > 2 and is_sequence(comparisons.sides)
    return [_part(n, benchmark, in_sequence) for n, benchmark in enumerate(comparisons.benchmarks)]


def is_sequence(sides: Sequence[Side]) -> bool:
    """Whether the models are of one training, in its order."""
    kinds = [SEQUENCE.index(kind) if (kind := side.side.split("-")[0]) in SEQUENCE else -1 for side in sides]
    one_run = len({side.root for side in sides}) == 1
    return one_run and kinds == sorted(kinds) and kinds[0] == 0


def _part(number: int, benchmark: Compared, in_sequence: bool) -> Part:
    main, beside = benchmark.main
    rows = [_row(benchmark, figure) for figure in benchmark.figures]
    shown = [row for row in rows if row.first.name in (*main, *beside)]
    return Part(
        benchmark.name,
        benchmark.items,
        remarks(benchmark),
        shown,
        [row for row in rows if row not in shown],
        [
            Test(label, name, test["n"], test["right_in_first_only"], test["right_in_this_only"], f"{test['p']:.2g}")
            for label, tests in benchmark.mcnemar.items()
            for name, test in tests.items()
        ],
        _drawn(number, benchmark, shown, in_sequence),
    )


def _row(benchmark: Compared, figure: str) -> Row:
    first, *others = benchmark.shared.items
    return Row(benchmark.pair(figure, first), [benchmark.pair(figure, label) for label in others])


def remarks(benchmark: Compared) -> list[str]:
    """What a benchmark's figures leave out, in words."""
    words = []
    if benchmark.shared.left_out:
        lacking = ", ".join(f"{label} lacks {count:,}" for label, count in benchmark.shared.lacking.items() if count)
        words.append(f"{benchmark.shared.left_out:,} items are left out, which not all models have: {lacking}.")
    if any(benchmark.unscored.values()):
        unscored = ", ".join(f"{label} {count:,}" for label, count in benchmark.unscored.items() if count)
        words.append(f"Not scored: {unscored}.")
    return words


def _drawn(number: int, benchmark: Compared, rows: Sequence[Row], in_sequence: bool) -> list[tuple[str, Markup]]:
    """The main figures over the models of a training, or the differences from the first model."""
    main = benchmark.main[0]
    rows = [row for row in rows if row.first.name in main]
    if in_sequence:
        lines = [(row, over_models(benchmark, row.first.name, f"p{number}-{n}")) for n, row in enumerate(rows)]
        return [(row.first.metric.label, plot) for row, plot in lines if plot]
    first, *labels = benchmark.shared.items
    drawn = []
    if len(labels) == 1:
        for kind, unit in (("rate", " in percentage points"), ("score", "")):
            pairs = [p for row in rows for p in row.others if p.metric.kind == kind and p.difference is not None]
            if pairs:
                title = f"{labels[0]} − {first}{unit}"
                drawn.append(
                    (title, plots.differences(pairs, f"p{number}-{kind}", f"{benchmark.name}: {title}", READINGS))
                )
        return drawn
    for n, row in enumerate(rows):
        named = [
            replace(pair, metric=replace(pair.metric, label=f"{label} − {first}"))
            for pair, label in zip(row.others, labels, strict=True)
            if pair.difference is not None
        ]
        if named:
            title = f"{row.first.metric.label}: differences from {first}"
            drawn.append((title, plots.differences(named, f"p{number}-{n}", f"{benchmark.name}: {title}", READINGS)))
    return drawn


def over_models(benchmark: Compared, figure: str, key: str, names: Sequence[str] = ()) -> Markup:
    """A figure over the models in their order, with intervals. Empty if no model has it. `names`: of the models; else
    their letters."""
    labels, metric = list(benchmark.shared.items), benchmark.metric(figure)
    figures = [Figure.read(benchmark.figures[figure][label]) for label in labels]
    if len(labels) > FEW:
        figures = [None if f is None else replace(f, n=None) for f in figures]  # no room for the numbers of items
    points = {n: f for n, f in enumerate(figures) if f is not None}
    ends = [end for f in points.values() for end in f.ends]
    if not ends:
        return Markup("")
    lines, title = [plots.Rounds("model", "aligned", points)], f"{metric.label} by model"
    ticks = plots.nice_ticks(min(ends), max(ends), 4)
    shown = list(names) if names and len(labels) <= FEW else labels
    return plots.by_round(lines, ticks, key, title, "model", metric.kind, shown)

"""Figures of every side with intervals, paired differences from the first, and McNemar's exact test.

All sides are measured on the same items. Words per answer are measured everywhere, for saying less is the cheapest way
to invent less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from seelevel.compare.opened import open_sides
from seelevel.compare.sides import Shared, Side, share
from seelevel.errors import InputError
from seelevel.report.figures import Comparison, at_chance, metric_of
from seelevel.report.figures import Figure as Shown
from seelevel.scorers.intervals import Figure, Item, Measure, differences, figures, ratio
from seelevel.scorers.words import Metric


class McNemar(TypedDict):
    """McNemar's exact test of the questions that two models answered. p: two-sided."""

    n: int
    right_in_first_only: int
    right_in_this_only: int
    p: float


def main_figures(metrics: Mapping[str, Metric]) -> tuple[list[str], list[str]]:
    """The figures that are shown, and those that stand beside each of them: how much the answers say."""
    beside = [figure for figure, metric in metrics.items() if metric.beside]
    rest = [figure for figure in metrics if figure not in beside]
    main = [figure for figure in rest if metrics[figure].table == "main" or metrics[figure].headline]
    return main or rest, beside


@dataclass(frozen=True)
class Compared:
    """One benchmark. Figures and differences are by figure and side; differences are from the first side.

    unscored: how many of the shared items a side has no figure for. mcnemar: by side and question set; a side
    has none unless answers are right or wrong.
    """

    shared: Shared
    figures: Mapping[str, Mapping[str, Figure]]
    differences: Mapping[str, Mapping[str, Figure]]
    unscored: Mapping[str, int]
    mcnemar: Mapping[str, Mapping[str, McNemar]]

    @property
    def name(self) -> str:
        return self.shared.scorer.name

    @property
    def items(self) -> int:
        """How many items are compared."""
        return len(next(iter(self.shared.items.values())))

    @property
    def main(self) -> tuple[list[str], list[str]]:
        """The figures that are shown, and those that stand beside each of them: how much the answers say."""
        return main_figures({figure: self.metric(figure) for figure in self.figures})

    def metric(self, figure: str) -> Metric:
        """The words of a figure."""
        values = [shown for value in self.figures[figure].values() if (shown := Shown.read(value)) is not None]
        return WORDS_METRIC if figure == WORDS.name else metric_of(figure, [self.shared.scorer], values)

    def pair(self, figure: str, label: str) -> Comparison:
        """A figure of the first side and of another, as the report has it of the base and the aligned model."""
        by_side, metric = self.figures[figure], self.metric(figure)
        first = next(iter(by_side))
        ours = {name: values[first] for name, values in self.figures.items()}
        return Comparison(
            figure,
            metric,
            Shown.read(by_side[first]),
            Shown.read(by_side[label]),
            Shown.read(self.differences[figure].get(label)),
            at_chance(metric, ours),
        )


@dataclass(frozen=True)
class Comparisons:
    """All that `seelevel compare` has found. notes: one line for each benchmark that is left out."""

    sides: Sequence[Side]
    benchmarks: Sequence[Compared]
    notes: Sequence[str]

    def record(self) -> dict[str, Any]:
        """The figures as one JSON object."""
        return {
            "sides": {s.label: {"run": str(s.root), "side": s.side, "model": s.model} for s in self.sides},
            "benchmarks": {
                b.name: {
                    "items": b.items,
                    "left_out": b.shared.left_out,
                    "lacking": dict(b.shared.lacking),
                    "unscored": dict(b.unscored),
                    "figures": b.figures,
                    "differences": b.differences,
                    "mcnemar": b.mcnemar,
                }
                for b in self.benchmarks
            },
            "notes": list(self.notes),
        }


def compare(names: Sequence[str]) -> Comparisons:
    """Compare models named `RUN`, `RUN:SIDE` or by samples of lmms-eval with the first of them.

    Resampling has the seed of the first run, so two models of one run get the differences of its metrics.json. Raises
    InputError as `open_sides` and `share` do.
    """
    return compare_sides(open_sides(names))


def compare_sides(sides: Sequence[Side]) -> Comparisons:
    """Compare opened models with the first of them. Raises InputError as `share` does."""
    return measured(sides, *share(sides))


def measured(sides: Sequence[Side], shared: Sequence[Shared], notes: Sequence[str]) -> Comparisons:
    """The figures of what models share. Resampling takes seconds for thousands of items."""
    seed = int(sides[0].settings.get("seed", 0))
    return Comparisons(sides, [_compared(sides, benchmark, seed) for benchmark in shared], notes)


def _compared(sides: Sequence[Side], shared: Shared, seed: int) -> Compared:
    first, *others = shared.items.values()
    assert shared.scorer.measures is not None
    try:
        of_benchmark = list(shared.scorer.measures(first))
        measures = [*of_benchmark, WORDS]
        by_side = {label: figures(measures, items, seed) for label, items in shared.items.items()}
        changes = {
            label: differences(measures, first, items, seed)
            for label, items in zip(list(shared.items)[1:], others, strict=True)
        }
        unscored = {
            label: sum(all(measure.scored(item) is None for measure in of_benchmark) for item in items)
            for label, items in shared.items.items()
        }
    except KeyError as error:
        files = ", ".join(str(side.file(shared.scorer.name)) for side in sides)
        raise InputError(f"{files}: records without {error}, of another version; evaluate the runs again") from error
    names = [measure.name for measure in measures]
    return Compared(
        shared,
        {name: {label: values[name] for label, values in by_side.items()} for name in names},
        {name: {label: values[name] for label, values in changes.items()} for name in names},
        unscored,
        {label: mcnemar(first, items) for label, items in zip(changes, others, strict=True)},
    )


def _words(item: Item) -> tuple[float, float]:
    texts = item["answer"] if isinstance(item["answer"], list) else [item["answer"]]
    return float(sum(len(str(text).split()) for text in texts)), float(len(texts))


WORDS = Measure("words", _words, ratio)
"""Words per answer; in a dialogue per round."""
WORDS_METRIC = Metric("Words per answer", "", "neither", "score", top=1000.0, beside=True)


def mcnemar(first: Sequence[Item], items: Sequence[Item]) -> dict[str, McNemar]:
    """McNemar's test (1947) in its exact form, by question set ('all' if there are no sets): under equal accuracy, each
    question that only one model answers right is a fair coin. Empty if no answer is right or wrong.

    Sets are not pooled: POPE's share their positive questions, and without the copies 'no' would more often be right.
    """
    sets: dict[str, list[tuple[bool, bool]]] = {}
    for a, b in zip(first, items, strict=True):
        if a.get("right") is not None and b.get("right") is not None:
            sets.setdefault(str(a.get("set", "all")), []).append((bool(a["right"]), bool(b["right"])))
    tests = {}
    for name, pairs in sets.items():
        lost, won = pairs.count((True, False)), pairs.count((False, True))
        tests[name] = McNemar(n=len(pairs), right_in_first_only=lost, right_in_this_only=won, p=fair_coin(lost, won))
    return tests


def fair_coin(heads: int, tails: int) -> float:
    """The two-sided exact binomial p at 1/2: 2 · P(X ≤ min(heads, tails)), at most 1."""
    n = heads + tails
    ways, sequences = 0, 1  # sequences: of n throws with k heads
    for k in range(min(heads, tails) + 1):
        ways += sequences
        sequences = sequences * (n - k) // (k + 1)
    return float(min(1.0, 2 * ways / 2**n))

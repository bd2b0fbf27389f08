"""The page docs/reproduction.md: tables and plots with intervals, and which of the paper's orders appear."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from benchmarks.reproduce.experiments import AGAINST, COMPARED, TABLES, Table
from benchmarks.reproduce.runs import STEPS, evaluation, measures
from seelevel.evaluate import chosen_benchmarks
from seelevel.scorers.intervals import Figure, difference_text, differences, figures
from seelevel.scorers.settings import EvaluateSettings

COLUMNS = {
    "chair_i": "CHAIRi ↓",
    "chair_s": "CHAIRs ↓",
    "chair_recall": "recall ↑",
    "pope_f1": "POPE F1 ↑",
    "mrhal_score_c": "MRHal score ↑",
    "capability_accuracy": "capability ↑",
    "repetition": "repetition ↓",
    "words": "words",
}
JUDGED_BY = {"chair_i": -1, "mrhal_score_c": 1}
"""Measures by which the paper's orders are checked; 1 if more is better. MRHal's judge is nearest to the paper's."""
APPEARS, REVERSED, OPEN = "✓", "✗", "·"
HEAD = """# AMP's tables on the embedded world

Which results of AMP (arXiv 2405.11165) appear in the world? `make reproduce` writes this page: split `{split}`, seeds
{seeds}. Every training has {steps} optimiser steps of 16 ladders, so all see equally many ladders.
[log.md](log.md) says in words what came out.

- **Only orders can be compared.** 'Paper's MMHal' is MMHal-Bench on LLaVA-1.5: other models, other questions.
- **An order** is any two of the paper's figures, however near. The paper gives no intervals.
- **Marks**: {appears} the order appears, {reversed} it is reversed, {open} the two cannot be told apart. An order
  appears if the 95% interval of the paired difference excludes 0 in its direction. The number of comparisons is not
  corrected for.
- **Figures** pool the answers of all seeds.
- **Intervals** (95%) resample pictures, each with all of its answers. They do not cover other trainings: between seeds
  of one setting CHAIRi moves by up to .013, POPE F1 by up to .2.
- **Differences** are paired and leave out an item without a score on either side. So they may differ from the
  difference of two values in a table.
- **A seed** of multi-size experts is an order of training: neither they nor the check draw at random. Incremental and
  perturbed levels are drawn anew for each seed.
- **The oracle replaces GPT-4V.** It is told what each picture holds.
- **Conclude nothing from POPE F1.** The base answers POPE at chance (accuracy .49), so F1 follows how often a model
  says yes. Always yes gives .6667, always no 0.
"""


@dataclass
class Results:
    """Items of every experiment, those of all seeds end to end.

    An interval resamples pictures, each with its answers of all seeds."""

    items: dict[str, dict[str, list[Any]]]
    seeds: dict[str, list[int]]
    measures: dict[str, Any]

    def figures(self, name: str) -> dict[str, Figure]:
        by_name: dict[str, Figure] = {}
        for benchmark, items in self.items[name].items():
            by_name |= figures(self.measures[benchmark], items)
        return by_name

    def differences(self, before: str, after: str) -> dict[str, Figure]:
        """After minus before, paired by picture, over the seeds that both have (the base has one for all)."""
        both = [s for s in self.seeds[after] if s in self.seeds[before] or before == "base"]
        by_name: dict[str, Figure] = {}
        for benchmark in self.items[after]:
            first, second = (self._seeds(name, benchmark, both) for name in (before, after))
            by_name |= differences(self.measures[benchmark], first, second)
        return by_name

    def by_seed(self, name: str, measure: str) -> list[float]:
        """A figure's value for each seed."""
        benchmark = next(b for b, ms in self.measures.items() if any(m.name == measure for m in ms))
        chosen = [m for m in self.measures[benchmark] if m.name == measure]
        values = [figures(chosen, self._seeds(name, benchmark, [s]))[measure]["value"] for s in self.seeds[name]]
        return [value for value in values if value is not None]

    def _seeds(self, name: str, benchmark: str, seeds: Sequence[int]) -> list[Any]:
        items, own = self.items[name][benchmark], self.seeds[name]
        size = len(items) // len(own)
        places = [own.index(seed) if name != "base" else 0 for seed in seeds]
        return [item for place in places for item in items[place * size : (place + 1) * size]]


def read_results(out: Path, split: str, seeds: Sequence[int], names: Iterable[str]) -> Results:
    items: dict[str, dict[str, list[Any]]] = {}
    made: dict[str, list[int]] = {}
    for name in ["base", *sorted(names)]:
        for seed in [0] if name == "base" else seeds:
            path = out / split / ("base" if name == "base" else f"{name}-{seed}") / "items.json"
            if path.exists():
                made.setdefault(name, []).append(seed)
                own = items.setdefault(name, {})
                for benchmark, rows in json.loads(path.read_text("utf-8"))["items"].items():
                    own.setdefault(benchmark, []).extend(rows)
    data = evaluation(out, split)
    by_benchmark = measures(chosen_benchmarks(EvaluateSettings(data=str(data)), data))
    return Results(items, made, {name: by_benchmark[name] for name in next(iter(items.values()))})


def write_page(out: Path, split: str, seeds: Sequence[int], docs: Path) -> Path:
    """Write docs/reproduction.md (test) or reproduction-dev.md beside the runs, with plots; return its path."""
    results = read_results(out, split, seeds, {row.experiment for table in TABLES for row in table.rows})
    page = docs / "reproduction.md" if split == "test" else out / f"reproduction-{split}.md"
    for number, table in enumerate(TABLES):
        plot(results, table, page.parent / picture(number))
    page.write_text(page_text(results, split, seeds), encoding="utf-8")
    return page


def picture(number: int) -> str:
    """The path of a table's plot, from the page."""
    return f"img/reproduction-{number + 1}.svg"


def page_text(results: Results, split: str, seeds: Sequence[int]) -> str:
    """The page in Markdown."""
    orders = [paper_orders(results, table) for table in TABLES]
    lines = [*_head(results, split, seeds), *_summary(orders), *_comparisons(results)]
    for number, (table, of_table) in enumerate(zip(TABLES, orders, strict=True)):
        lines += [f"## {table.title}", "", *_table(results, table), "", f"![{table.title}]({picture(number)})", ""]
        lines += _matrix(of_table)
    return "\n".join(lines).rstrip() + "\n"


@dataclass(frozen=True)
class Orders:
    """The paper's orders of one table: rows from best to worst, and per pair (better, worse) a mark per measure."""

    title: str
    ranked: list[str]
    verdicts: dict[tuple[str, str], dict[str, str]]


def paper_orders(results: Results, table: Table) -> Orders:
    """Whether each order of the paper appears, is reversed or stays open, by each measure of `JUDGED_BY`."""
    scored = [row for row in table.rows if row.paper is not None and row.experiment in results.items]
    ranked = sorted(scored, key=lambda row: (row.paper, row.experiment), reverse=True)
    verdicts: dict[tuple[str, str], dict[str, str]] = {}
    for better, worse in combinations(ranked, 2):
        change = results.differences(worse.experiment, better.experiment)
        marks = verdicts.setdefault((better.label, worse.label), {})
        for measure, sign in JUDGED_BY.items():
            low, high = sorted(sign * (change[measure][end] or 0.0) for end in ("low", "high"))
            marks[measure] = APPEARS if low > 0 else REVERSED if high < 0 else OPEN
    return Orders(table.title, [row.label for row in ranked], verdicts)


def _head(results: Results, split: str, seeds: Sequence[int]) -> list[str]:
    base = results.figures("base")
    rows = [["", *COLUMNS.values()], ["base", *(_value(base[m]) for m in COLUMNS)]]
    marks = {"appears": APPEARS, "reversed": REVERSED, "open": OPEN}
    return [
        HEAD.format(split=split, seeds=", ".join(map(str, seeds)), steps=STEPS, **marks),
        *markdown(rows),
        "",
    ]


def _summary(orders: Sequence[Orders]) -> list[str]:
    """How many of the paper's orders appear, are reversed and stay open, per table and measure."""
    names = [f"{COLUMNS[measure]} {mark}" for measure in JUDGED_BY for mark in (APPEARS, REVERSED, OPEN)]
    rows = [["", "orders", *names]]
    for table in orders:
        if table.verdicts:
            marks = {measure: [verdict[measure] for verdict in table.verdicts.values()] for measure in JUDGED_BY}
            counts = [str(marks[measure].count(mark)) for measure in JUDGED_BY for mark in (APPEARS, REVERSED, OPEN)]
            rows.append([table.title, str(len(table.verdicts)), *counts])
    return ["## Do the paper's orders appear?", "", *markdown(rows), ""]


def _matrix(orders: Orders) -> list[str]:
    """One cell per order of the paper: the better row over the worse column. Nothing if no two can be told apart."""
    if all(mark == OPEN for marks in orders.verdicts.values() for mark in marks.values()):
        return []
    rows = [["better \\ worse", *orders.ranked[1:]]]
    for better in orders.ranked[:-1]:
        cells = [orders.verdicts.get((better, worse), {}) for worse in orders.ranked[1:]]
        rows.append([better, *(" ".join(marks.values()) for marks in cells)])
    by = ", then ".join(COLUMNS[measure] for measure in JUDGED_BY)
    return [f"The paper's orders, by {by}:", "", *markdown(rows), ""]


def _comparisons(results: Results) -> list[str]:
    """Paired differences to the base, and to other uses of the same number of steps."""
    chosen = [m for m in COLUMNS if m not in ("repetition", "words")]
    rows = [["", *(COLUMNS[m] for m in chosen), "CHAIRi / CHAIRs, relative"]]
    for after in COMPARED:
        for label, before in AGAINST.items():
            if before not in results.items or after not in results.items:
                continue
            change = results.differences(before, after)
            was = results.figures(before)
            relative = " / ".join(_share(change[m], was[m]) for m in ("chair_i", "chair_s"))
            rows.append([f"{after} − {label}", *(difference_text(change[m]) for m in chosen), relative])
    return [
        "## What do preferences change?",
        "",
        "Paired differences. `mdpo` has the paper's penalty λ. `scaled, weight 1.5` has the penalty `scaled` with that "
        "weight, 1.5 λβ ([objectives.md](objectives.md)).",
        "",
        *markdown(rows),
        "",
    ]


def _table(results: Results, table: Table) -> list[str]:
    named = [row for each in (table, *TABLES) for row in each.rows if row.experiment == table.against]
    against = named[0].label if named else table.against
    rows = [["", "paper's MMHal", *COLUMNS.values(), f"CHAIRi − '{against}'"]]
    for row in table.rows:
        if row.experiment not in results.items:
            rows.append([row.label, _paper(row.paper), *["not run"] * len(COLUMNS), ""])
            continue
        own = results.figures(row.experiment)
        change = ""
        if row.experiment != table.against and table.against in results.items:
            change = difference_text(results.differences(table.against, row.experiment)["chair_i"])
        rows.append([row.label, _paper(row.paper), *(_value(own[m]) for m in COLUMNS), change])
    return markdown(rows)


def plot(results: Results, table: Table, path: Path) -> None:
    """CHAIRi and recall with their intervals, and each seed as a dot."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "seelevel"  # the same figures give the same file
    from matplotlib import pyplot

    rows = [row for row in table.rows if row.experiment in results.items]
    figure, panes = pyplot.subplots(1, 2, figsize=(9, 0.9 + 0.34 * len(rows)), sharey=True, layout="constrained")
    base = results.figures("base")
    for pane, measure in zip(panes, ("chair_i", "chair_recall"), strict=True):
        pane.axvline(base[measure]["value"], color="0.6", linestyle="--", linewidth=1)
        for place, row in enumerate(rows):
            own = results.figures(row.experiment)[measure]
            pane.plot([own["low"], own["high"]], [place, place], color="#2b6cb0", linewidth=2)
            pane.plot(own["value"], place, "o", color="#2b6cb0")
            seeds = results.by_seed(row.experiment, measure)
            pane.plot(seeds, [place] * len(seeds), ".", color="#dd6b20", markersize=4)
        pane.set_title(COLUMNS[measure] + " (dashed: base)", fontsize=9)
        pane.tick_params(labelsize=8)
    panes[0].set_yticks(range(len(rows)), [row.label for row in rows])
    panes[0].invert_yaxis()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]]


def _value(figure: Figure) -> str:
    value = figure["value"]
    return "–" if value is None else _number(value)


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.4f}"


def _share(change: Figure, was: Figure) -> str:
    return f"{change['value'] / was['value']:+.0%}" if change["value"] is not None and was["value"] else "–"


def _paper(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"

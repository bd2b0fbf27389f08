"""The page: tables and plots with intervals, the paper's figures beside ours, and which of its orders appear."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
"""What the paper's orders are looked for in, and whether more is better; MRHal's judge is nearest to its own."""


@dataclass
class Results:
    """Items of every experiment, those of all seeds end to end: an interval resamples pictures, each with all of its
    answers, so what the seeds add to the spread is in it."""

    items: dict[str, dict[str, list[Any]]]
    seeds: dict[str, list[int]]
    measures: dict[str, Any]

    def figures(self, name: str) -> dict[str, Figure]:
        found: dict[str, Figure] = {}
        for benchmark, items in self.items[name].items():
            found |= figures(self.measures[benchmark], items)
        return found

    def differences(self, before: str, after: str) -> dict[str, Figure]:
        """After less before, picture by picture, over the seeds that both have (a base has one for all)."""
        both = [s for s in self.seeds[after] if s in self.seeds[before] or before == "base"]
        found: dict[str, Figure] = {}
        for benchmark in self.items[after]:
            first, second = (self._seeds(name, benchmark, both) for name in (before, after))
            found |= differences(self.measures[benchmark], first, second)
        return found

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


def read_results(out: Path, split: str, seeds: Sequence[int]) -> Results:
    names = {row.experiment for table in TABLES for row in table.rows}
    items: dict[str, dict[str, list[Any]]] = {}
    found: dict[str, list[int]] = {}
    for name in ["base", *sorted(names)]:
        for seed in [0] if name == "base" else seeds:
            path = out / split / ("base" if name == "base" else f"{name}-{seed}") / "items.json"
            if path.exists():
                found.setdefault(name, []).append(seed)
                own = items.setdefault(name, {})
                for benchmark, rows in json.loads(path.read_text("utf-8"))["items"].items():
                    own.setdefault(benchmark, []).extend(rows)
    data = evaluation(out, split)
    return Results(items, found, measures(chosen_benchmarks(EvaluateSettings(data=str(data)), data)))


def write_page(out: Path, split: str, seeds: Sequence[int], docs: Path) -> Path:
    """docs/reproduction.md (test) or reproduction-dev.md beside the runs, with its plots; returns its path."""
    results = read_results(out, split, seeds)
    page = docs / "reproduction.md" if split == "test" else out / f"reproduction-{split}.md"
    pictures = page.parent / "img"
    pictures.mkdir(parents=True, exist_ok=True)
    lines = [*_head(results, split, seeds), *_comparisons(results)]
    for number, table in enumerate(TABLES):
        picture = pictures / f"reproduction-{number + 1}.svg"
        plot(results, table, picture)
        lines += [f"## {table.title}", "", *_table(results, table), "", f"![{table.title}](img/{picture.name})", ""]
        lines += [*_trends(results, table), ""]
    page.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return page


def _head(results: Results, split: str, seeds: Sequence[int]) -> list[str]:
    base = results.figures("base")
    rows = [["", *COLUMNS.values()], ["base", *(_value(base[m]) for m in COLUMNS)]]
    return [
        "# AMP's tables on the embedded world",
        "",
        f"Written by `make reproduce`: split `{split}`, seeds {', '.join(map(str, seeds))}, {STEPS} optimiser steps of "
        "16 ladders for every training, so that all see equally many ladders (not responses or pairs). What the paper "
        "measured with MMHal-Bench on LLaVA-1.5 stands in its own column: the world's figures and the paper's are of "
        "different models on different questions, and only their orders can be compared. Every two of the "
        "paper's figures make an order, however near; it gives no intervals. An order appears where the 95% "
        "interval of the paired difference excludes 0 in its direction, not corrected for the number of "
        "comparisons. In place of GPT-4V stands the world's oracle, which is told what each picture holds. The "
        "base answers POPE at chance (accuracy .49), so its F1 only follows how often a model says yes (always "
        "yes is .6667, always no 0): nothing can be concluded from that column.",
        "",
        "A figure is over the answers of all seeds together; its 95% interval resamples pictures, each with all "
        "of its answers. Seeds are not resampled: intervals say what other pictures would give with these "
        "trainings, not what other trainings would; CHAIRi moves by up to .013 between seeds of one setting, "
        "POPE F1 by up to .2. Where one side of a pair has no score, a difference leaves both out, so that it "
        "need not be the difference of the table's values. Multi-size experts and the check draw nothing at "
        "random, so there a seed is an order of training; incremental and perturbed levels are drawn anew for "
        "each seed.",
        "",
        *_markdown(rows),
        "",
    ]


def _comparisons(results: Results) -> list[str]:
    """What preferences changed: paired differences to the base, and to what else the same steps could have bought."""
    chosen = [m for m in COLUMNS if m not in ("repetition", "words")]
    rows = [["", *(COLUMNS[m] for m in chosen), "CHAIRi / CHAIRs, relative"]]
    for after in COMPARED:
        for label, before in AGAINST.items():
            if before not in results.items or after not in results.items:
                continue
            change = results.differences(before, after)
            was = results.figures(before)
            relative = " / ".join(_share(change[m], was[m]) for m in ("chair_i", "chair_s"))
            rows.append([f"{after} less {label}", *(difference_text(change[m]) for m in chosen), relative])
    return [
        "## What preferences changed",
        "",
        "Paired differences, picture by picture, over all seeds, with their 95% intervals: `mdpo` has the paper's "
        "penalty, `ours` this project's own, 1.5 λβ, not the default (docs/objectives.md); every training had equally "
        "many steps.",
        "",
        *_markdown(rows),
        "",
    ]


def _table(results: Results, table: Table) -> list[str]:
    named = [row for each in (table, *TABLES) for row in each.rows if row.experiment == table.against]
    against = named[0].label if named else table.against
    rows = [["", "paper's MMHal", *COLUMNS.values(), f"CHAIRi less that of '{against}'"]]
    for row in table.rows:
        if row.experiment not in results.items:
            rows.append([row.label, _paper(row.paper), *["not run"] * len(COLUMNS), ""])
            continue
        own = results.figures(row.experiment)
        change = ""
        if row.experiment != table.against and table.against in results.items:
            change = difference_text(results.differences(table.against, row.experiment)["chair_i"])
        rows.append([row.label, _paper(row.paper), *(_value(own[m]) for m in COLUMNS), change])
    return _markdown(rows)


def _trends(results: Results, table: Table) -> list[str]:
    """Of every two rows that the paper ranks: does a measure rank them so, the other way, or not at all?"""
    ranked = sorted((row.paper, row.experiment, row.label) for row in table.rows if row.paper is not None)
    orders = list(combinations([row for row in ranked if row[1] in results.items], 2))
    changes = [results.differences(worse, better) for (_, worse, _), (_, better, _) in orders]
    lines = []
    for measure, sign in JUDGED_BY.items() if orders else ():
        found: dict[str, list[str]] = {"appear": [], "are reversed": [], "cannot be told apart": []}
        for ((_, _, worse), (_, _, better)), change in zip(orders, changes, strict=True):
            low, high = sorted(sign * (change[measure][end] or 0.0) for end in ("low", "high"))
            verdict = "appear" if low > 0 else "are reversed" if high < 0 else "cannot be told apart"
            found[verdict].append(f"{better} over {worse}")
        lines += ["", f"Of the paper's {len(orders)} orders, by {COLUMNS[measure]}:", ""]
        lines += [
            f"- {len(names)} {verdict}" + (f": {'; '.join(names)}." if names else ".")
            for verdict, names in found.items()
        ]
    return lines[1:]


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
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
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

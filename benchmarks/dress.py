"""Feedback in words on the embedded world, over several seeds: what conditional training changes, whether it listens.

    python -m benchmarks.dress                      # three recipes, seeds 0, 1, 2, split test; then the page
    python -m benchmarks.dress --page               # only the page, from finished runs

The page is docs/reproduction-feedback.md. The recipes are `world-dress`, `world-amp-dress` and `world-amp-meg`. The
last two are compared if both have been run; without `world-dress` no page is written. Runs are ordinary run folders in
runs/dress/<recipe>-<seed>; a stopped command continues when it is run again. Figures pool the answers of all seeds. An
interval resamples pictures, each with all of its answers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from seelevel.ladder import BEST
from seelevel.levels import CRITERIA
from seelevel.scorers import capability, chair
from seelevel.scorers import refinement as feedback
from seelevel.scorers.intervals import Figure, Measure, difference_text, differences, figures

ROOT = Path(__file__).parents[1]
MEASURES: dict[str, Sequence[Measure]] = {
    "feedback": feedback.MEASURES,
    "chair": chair.MEASURES,
    "capability": capability.measures([]),
}
DRESS, JOINED, PLAIN = "world-dress", "world-amp-dress", "world-amp-meg"
LATER = range(2, feedback.ROUNDS + 1)
HEAD = """# Feedback in words on the embedded world

Does conditional training on a judge's words help? `python -m benchmarks.dress` writes this page. Recipe `{recipe}`,
split `{split}`, seeds {seeds}. The judge is the world's oracle. [log.md](log.md) says what held and what did not.

The base is `world:s`, fine-tuned on instruction data. Figures pool the answers of all seeds. Intervals (95%) resample
pictures, each with all of its answers; they do not cover differences between trainings.
"""


def main() -> None:
    """Run the recipes that have not finished, then write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dress", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "dress")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", default=[DRESS, JOINED, PLAIN])
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes of one thread each")
    parser.add_argument("--page", action="store_true", help="only write the page, from finished runs")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "reproduction-feedback.md")
    options = parser.parse_args()
    if not options.page:
        jobs = [(recipe, seed) for recipe in options.recipes for seed in options.seeds]
        with ThreadPoolExecutor(options.jobs) as pool:
            failed = [line for line in pool.map(lambda job: run(options, *job), jobs) if line]
        if failed:
            raise SystemExit("failed:\n" + "\n".join(failed))
    if options.page or DRESS in options.recipes:
        options.to.write_text(page(options.out, options.split, options.seeds), encoding="utf-8")
        print(options.to)


def run(options: argparse.Namespace, recipe: str, seed: int) -> str:
    """Run one recipe with one seed in its own process; return the error, or an empty text."""
    folder = options.out / f"{recipe}-{seed}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", "from seelevel.cli import main; main()", "run", recipe, "--out", str(folder)]
    for setting in (f"seed={seed}", f"evaluate.data=world:{options.split}", *options.overrides):
        command += ["--set", setting]
    print(f"{folder.name} …", flush=True)
    # One thread each: threads of several processes on the same cores wait for each other at every operator.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with folder.with_suffix(".log").open("w") as log:
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    return f"{folder.name}: see {folder.with_suffix('.log')}" if done.returncode else ""


def items(folders: Sequence[Path], side: str, benchmark: str) -> list[dict[str, Any]]:
    """Items of a benchmark over runs, each with its picture, by which they are resampled."""
    pooled = []
    for folder in folders:
        with (folder / "evaluate" / side / f"{benchmark}.jsonl").open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        pooled += [{**row, "cluster": Path(row["image"]).name} for row in rows]
    return pooled


def page(out: Path, split: str, seeds: Sequence[int]) -> str:
    """The page in Markdown, from the runs in `out`. Raises `SystemExit` naming those that have not finished."""
    folders = [out / f"{DRESS}-{seed}" for seed in seeds]
    if missing := [folder.name for folder in folders if not (folder / "metrics.json").exists()]:
        raise SystemExit(f"{out} has no finished {', '.join(missing)}; run it without --page, or name other --seeds")
    base = {name: items(folders, "base", name) for name in MEASURES}
    aligned = {name: items(folders, "aligned", name) for name in MEASURES}
    before = {k: v for name, m in MEASURES.items() for k, v in figures(m, base[name]).items()}
    after = {k: v for name, m in MEASURES.items() for k, v in figures(m, aligned[name]).items()}
    change = {k: v for name, m in MEASURES.items() for k, v in differences(m, base[name], aligned[name]).items()}
    lines = [
        HEAD.format(recipe=DRESS, split=split, seeds=", ".join(map(str, seeds))),
        *_ratings(before, after, change),
        *_rounds(before, after),
        *_condition(after),
        "## Hallucination and capability",
        "",
        "|  | base | aligned | paired difference |",
        "| --- | --- | --- | --- |",
    ]
    for key in ("chair_i", "chair_s", "chair_recall", "capability_accuracy"):
        lines.append(_row(key, [_plain(before[key]), _plain(after[key]), difference_text(change[key])]))
    return "\n".join([*lines, *_joined(out, seeds), ""])


def _ratings(before: Mapping[str, Figure], after: Mapping[str, Figure], change: Mapping[str, Figure]) -> list[str]:
    """The ratings, with the share of the gap between the base and the best rating that alignment closes."""
    lines = [
        "## Ratings, 1 to 4",
        "",
        "|  | base | aligned | paired difference | share of the gap to 4 | pairs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in CRITERIA:
        key = f"rating_{name}"
        gap, gained = BEST - (before[key]["value"] or 0), change[key]["value"]
        share = "–" if gained is None or gap <= 0 else f"{gained / gap:.0%}"
        cells = [_plain(before[key]), _plain(after[key]), difference_text(change[key]), share, str(change[key]["n"])]
        lines.append(_row(name, cells))
    return [*lines, ""]


def _rounds(before: Mapping[str, Figure], after: Mapping[str, Figure]) -> list[str]:
    """Quality round by round, of both conversations and both models."""
    lines = [
        "## Round by round",
        "",
        "Two conversations follow each first answer. In one the user says what the judge wants changed; in the other "
        "'Please try again.' Quality is the mean of the criteria that apply. A conversation counts if all of its "
        "answers could be rated.",
        "",
        _row("", [f"round {n}" for n in (1, *LATER)]),
        "| --- | --- | --- | --- | --- |",
    ]
    for side, of_side in (("base", before), ("aligned", after)):
        first = _plain(of_side["quality_round_1"])
        lines += [
            _row(f"{side}, with feedback", [first, *(_plain(of_side[f"quality_round_{n}"]) for n in LATER)]),
            _row(f"{side}, 'try again'", ["", *(_plain(of_side[f"quality_again_{n}"]) for n in LATER)]),
            _row(f"{side}, change since the round before", ["", *_changes(of_side, "gain_round")]),
            _row(f"{side}, feedback minus 'try again'", ["", *_changes(of_side, "lead_round")]),
        ]
    return [*lines, ""]


def _condition(after: Mapping[str, Figure]) -> list[str]:
    """How much the condition in the prompt changes the aligned model's answers."""
    lead = after["lead_over_worst"]
    return [
        "## Does the condition matter?",
        "",
        "|  | quality of the aligned model | answers |",
        "| --- | --- | --- |",
        _row("under the worst condition", [_plain(after["quality_worst"]), ""]),
        _row("top condition minus worst", [difference_text(lead), str(lead["n"])]),
        "",
    ]


def _joined(out: Path, seeds: Sequence[int]) -> list[str]:
    """The recipe that joins both methods against the one without feedback, if both have been run."""
    joined, plain = ([out / f"{name}-{seed}" for seed in seeds] for name in (JOINED, PLAIN))
    if not all((folder / "metrics.json").exists() for folder in (*joined, *plain)):
        return []
    lines = [
        "",
        f"## Do answers from conversations help as levels? `{JOINED}` against `{PLAIN}`",
        "",
        f"|  | {PLAIN} | {JOINED} | paired difference |",
        "| --- | --- | --- | --- |",
    ]
    for name in ("chair", "capability"):
        before, after = items(plain, "aligned", name), items(joined, "aligned", name)
        sides = [figures(MEASURES[name], side) for side in (before, after)]
        change = differences(MEASURES[name], before, after)
        for key in ("chair_i", "chair_s", "chair_recall", "capability_accuracy"):
            if key in change:
                lines.append(_row(key, [_plain(sides[0][key]), _plain(sides[1][key]), difference_text(change[key])]))
    return lines


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def _changes(by_name: Mapping[str, Figure], name: str) -> list[str]:
    """The differences `name` of the later rounds, with their intervals."""
    return [difference_text(by_name[f"{name}_{number}"]) for number in LATER]


def _plain(figure: Figure) -> str:
    return "–" if figure["value"] is None else f"{figure['value']:.4f}"


if __name__ == "__main__":
    main()

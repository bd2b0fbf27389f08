"""Feedback in words on the embedded world, over several seeds: what conditional training changes, whether it listens.

    python -m benchmarks.dress                      # the recipes with seeds 0, 1, 2 on test, then docs/feedback.md
    python -m benchmarks.dress --page               # only the page, of what has been run

With them run `world-amp-dress` and `world-amp-meg`, which the page compares where both are there. Runs are ordinary run
folders in runs/dress/<recipe>-<seed>; stopped, the same command continues. Figures are over the answers of all seeds
together, and an interval resamples pictures, each with all of its answers. Without `world-dress` among `--recipes` no
page is written.
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

from seelevel.judge.conversation import TOP
from seelevel.ladder import CRITERIA
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


def main() -> None:
    """Run what has not been run, then write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dress", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "dress")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", default=[DRESS, JOINED, PLAIN])
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes of one thread each")
    parser.add_argument("--page", action="store_true", help="only write the page from what has been run")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "feedback.md")
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
    """One recipe with one seed, in a process of its own; what went wrong, or nothing."""
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
    """Items of a benchmark over runs, with the pictures that they are resampled by."""
    found = []
    for folder in folders:
        with (folder / "evaluate" / side / f"{benchmark}.jsonl").open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        found += [{**row, "cluster": Path(row["image"]).name} for row in rows]
    return found


def page(out: Path, split: str, seeds: Sequence[int]) -> str:
    """The page in Markdown, of the runs in `out`."""
    folders = [out / f"{DRESS}-{seed}" for seed in seeds]
    if missing := [folder.name for folder in folders if not (folder / "metrics.json").exists()]:
        raise SystemExit(f"{out} has no finished {', '.join(missing)}; run it without --page, or name other --seeds")
    base = {name: items(folders, "base", name) for name in MEASURES}
    aligned = {name: items(folders, "aligned", name) for name in MEASURES}
    before = {k: v for name, m in MEASURES.items() for k, v in figures(m, base[name]).items()}
    after = {k: v for name, m in MEASURES.items() for k, v in figures(m, aligned[name]).items()}
    change = {k: v for name, m in MEASURES.items() for k, v in differences(m, base[name], aligned[name]).items()}
    lines = [
        "# Feedback in words on the embedded world",
        "",
        f"Written by `python -m benchmarks.dress`: the recipe `{DRESS}`, split `{split}`, seeds "
        f"{', '.join(map(str, seeds))}. The base is `world:s` fine-tuned on instruction data (docs/world.md); aligned, "
        "it went through conditional training on judged answers; the judge is the world's oracle. A figure is over the "
        "answers of all seeds together; its 95% interval resamples pictures, each with all of its answers.",
        "",
        "## Ratings, 1 to 4",
        "",
        "|  | base | aligned | paired difference | of the gap to 4 that the base leaves | pairs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in CRITERIA:
        key = f"rating_{name}"
        gap, gained = TOP - (before[key]["value"] or 0), change[key]["value"]
        share = "–" if gained is None or gap <= 0 else f"{gained / gap:.0%}"
        lines.append(
            f"| {name} | {_plain(before[key])} | {_plain(after[key])} | {difference_text(change[key])} | {share} | "
            f"{change[key]['n']} |"
        )
    lines += [
        "",
        "## Round by round",
        "",
        "Quality is the mean of the criteria that apply, over the conversations whose answers could all be rated. In "
        "one conversation the user says the judge's refinement, in the other 'Please try again.'",
        "",
        _row("", [f"round {n}" for n in (1, *LATER)]),
        "| --- | --- | --- | --- | --- |",
    ]
    for side, found in (("base", before), ("aligned", after)):
        first = _plain(found["quality_round_1"])
        lines += [
            _row(f"{side}, with feedback", [first, *(_plain(found[f"quality_round_{n}"]) for n in LATER)]),
            _row(f"{side}, 'try again'", ["", *(_plain(found[f"quality_again_{n}"]) for n in LATER)]),
            _row(
                f"{side}, a round less the one before",
                ["", *(difference_text(found[f"gain_round_{n}"]) for n in LATER)],
            ),
            _row(
                f"{side}, feedback less 'try again'", ["", *(difference_text(found[f"lead_round_{n}"]) for n in LATER)]
            ),
        ]
    lines += [
        "",
        "## The condition asked for",
        "",
        f"Aligned, the top condition less the worst: {difference_text(after['lead_over_worst'])} of quality "
        f"({after['lead_over_worst']['n']} answers); under the worst one {_plain(after['quality_worst'])}.",
        "",
        "## What else changed",
        "",
        "|  | base | aligned | paired difference |",
        "| --- | --- | --- | --- |",
    ]
    for key in ("chair_i", "chair_s", "chair_recall", "capability_accuracy"):
        lines.append(_row(key, [_plain(before[key]), _plain(after[key]), difference_text(change[key])]))
    return "\n".join([*lines, *_joined(out, seeds), ""])


def _joined(out: Path, seeds: Sequence[int]) -> list[str]:
    """The recipe that joins both methods, against the one without feedback, where both have been run."""
    joined, plain = ([out / f"{name}-{seed}" for seed in seeds] for name in (JOINED, PLAIN))
    if not all((folder / "metrics.json").exists() for folder in (*joined, *plain)):
        return []
    lines = [
        "",
        f"## Answers of conversations as levels: `{JOINED}` against `{PLAIN}`",
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


def _changes(found: Mapping[str, Figure], name: str) -> list[str]:
    return [difference_text(found[f"{name}_{number}"]) for number in LATER]


def _plain(figure: Figure) -> str:
    return "–" if figure["value"] is None else f"{figure['value']:.4f}"


if __name__ == "__main__":
    main()

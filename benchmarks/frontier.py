"""CHAIRi against recall on a model's own samples: does preference training reach what SFT on the same data does not?

    python -m benchmarks.frontier --split dev --seeds 0          # every setting once
    python -m benchmarks.frontier --only 'SFT' 'MPO, 1e-4'      # two settings on test, seeds 0, 1, 2

Then it writes docs/frontier.md, or for `dev` a page beside the runs. Ladders hold six samples of `world:s` per prompt.
A seed draws the samples and the order of training. A stopped command continues when it is run again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.reproduce.__main__ import ROOT, every, options
from benchmarks.reproduce.experiments import Experiment
from benchmarks.reproduce.page import COLUMNS, Results, markdown, read_results
from benchmarks.reproduce.runs import STEPS, evaluation, ladders, score_base, train
from seelevel.scorers.intervals import Figure, difference_text

MODULE = "benchmarks.frontier"
BENCHMARKS = ["chair"]
PICTURE = "img/frontier.svg"
MEASURES = ("chair_i", "chair_recall")
BETTER = {"chair_i": -1, "chair_recall": 1}
MPO = {"name": "mpo"}


def _anchored(weight: float) -> dict[str, Any]:
    """DPO with so much of SFT on the best response."""
    return {"name": "mpo", "terms": [{"name": "dpo"}, {"name": "sft"}], "weights": [1.0, weight]}


def _setting(
    name: str, objective: dict[str, Any], rate: float | None = None, order: str = "checked", source: str = "samples"
) -> Experiment:
    ranked = {"checked": "", "f1": ", by objects", "f2": ", by objects, recall twice"}[order]
    on_top = ", under the standard" if source == "samples-standard" else ""
    return Experiment(f"{name}{ranked}{on_top}", source, order, objective, rate)


def _in_order(order: str, source: str = "samples") -> Iterator[Experiment]:
    """The objectives that are compared on the same ladders."""
    yield _setting("SFT", {"name": "sft"}, None, order, source)
    yield _setting("MDPO, paper's penalty", {"name": "mdpo"}, None, order, source)
    yield _setting("MDPO, scaled, 1e-4", {"name": "mdpo", "penalty": "scaled"}, 1e-4, order, source)
    yield _setting("DPO + SFT x 0.02, 1e-4", _anchored(0.02), 1e-4, order, source)
    yield _setting("MPO, 1e-4", MPO, 1e-4, order, source)


SETTINGS = {
    e.name: e
    for e in (
        *_in_order("checked"),
        _setting("SFT, 1e-4", {"name": "sft"}, 1e-4),
        _setting("DPO, 3e-5", {"name": "dpo"}, 3e-5),
        _setting("DPO, 1e-4", {"name": "dpo"}, 1e-4),
        _setting("MDPO, paper's penalty, 1e-4", {"name": "mdpo"}, 1e-4),
        _setting("MDPO, no penalty, 1e-4", {"name": "mdpo", "penalty": "none"}, 1e-4),
        *_in_order("f1"),
        _setting("DPO, 3e-5", {"name": "dpo"}, 3e-5, "f1"),
        _setting("GRPO, 1e-4", {"name": "grpo"}, 1e-4, "f1"),
        _setting("MPO", MPO, None, "f1"),
        *_in_order("f2"),
        *_in_order("f1", "samples-standard"),
    )
}
HEAD = """# CHAIRi against recall, from a model's own samples

Does preference training beat SFT on the best response of the same ladders? `python -m benchmarks.frontier` writes this
page. Split `{split}`, seeds {seeds}. Settings for `test` are chosen on `dev`; [log.md](log.md) says what came out.

- **Ladders**: six samples of `world:s` per prompt (temperature 1), 1,500 prompts, ranked by the auto-check. Or `by
  objects`: by F1 over the annotated objects; with `recall twice`, by F2. `Under the standard`: the standard response
  is above the samples; else it is left out.
- **Training**: {steps} steps of 16 ladders, learning rate 3e-4 unless another is named. MPO is 0.8 DPO, 0.2 BCO and SFT
  per token. `DPO + SFT x 0.02` adds 0.02 of SFT, which sums over the tokens of the best response.
- **A seed** draws the samples and the order of training. Figures pool the answers of a setting's seeds, differences
  those of the seeds that SFT has too. What was chosen on `dev` and what it is compared with have three.
- **Intervals** (95%) resample pictures, each with all of its answers. They do not cover other trainings.
- **Better** and **worse** than SFT mean that the interval of the paired difference excludes 0. The number of
  comparisons is not corrected for. "No clear change" does not prove that nothing changed.
"""


def main() -> None:
    arguments = options(MODULE, __doc__, SETTINGS, JOBS)
    if arguments is None:
        return
    if not arguments.page:
        run(arguments)
    print(write_page(arguments.out, arguments.split, arguments.seeds, ROOT / "docs"))


def run(arguments: argparse.Namespace) -> None:
    """Make the checked ladders first, because the other orders copy them; then train and score."""
    chosen = [SETTINGS[name] for name in arguments.only]
    seeds = [str(seed) for seed in arguments.seeds]
    sources = sorted({e.source for e in chosen})
    other_orders = sorted({(e.source, e.order) for e in chosen if e.order != "checked"})
    every(arguments, [["ladders", source, "checked", seed] for source in sources for seed in seeds], MODULE)
    every(arguments, [["ladders", source, order, seed] for source, order in other_orders for seed in seeds], MODULE)
    evaluation(arguments.out, arguments.split)
    every(arguments, [["base"], *(["train", e.name, seed] for seed in seeds for e in chosen)], MODULE)


JOBS: dict[str, Callable[..., object]] = {
    "ladders": lambda out, split, source, order, seed: ladders(out, source, order, int(seed)),
    "base": lambda out, split: score_base(out, split, BENCHMARKS),
    "train": lambda out, split, name, seed: train(out, SETTINGS[name], int(seed), split, BENCHMARKS),
}


def write_page(out: Path, split: str, seeds: Sequence[int], docs: Path) -> Path:
    """Write docs/frontier.md (test) or frontier-dev.md beside the runs, with its plot; return its path."""
    results = read_results(out, split, seeds, SETTINGS)
    page = docs / "frontier.md" if split == "test" else out / f"frontier-{split}.md"
    plot(results, page.parent / PICTURE)
    page.write_text(page_text(results, split, seeds), encoding="utf-8")
    return page


def page_text(results: Results, split: str, seeds: Sequence[int]) -> str:
    """The page in Markdown."""
    head = HEAD.format(split=split, seeds=", ".join(map(str, seeds)), steps=STEPS)
    names = [COLUMNS[m] for m in MEASURES]
    rows = [["", "seeds", *names, "words", *(f"{name}, less SFT" for name in names), "against SFT"]]
    for name in ("base", *SETTINGS):
        if name not in results.items:
            continue
        figures = results.figures(name)
        row = [
            name,
            str(len(results.seeds[name])),
            *(_with_interval(figures[m]) for m in MEASURES),
            f"{figures['words']['value']:.1f}",
        ]
        control = "base" if name == "base" else sft_of(SETTINGS[name])
        if name != control and control in results.items:
            change = results.differences(control, name)
            row += [*(difference_text(change[m]) for m in MEASURES), verdict(change)]
        rows.append([*row, *[""] * (len(rows[0]) - len(row))])
    return "\n".join([head, *markdown(rows), "", f"![CHAIRi against recall]({PICTURE})"]) + "\n"


def sft_of(experiment: Experiment) -> str:
    """The name of SFT on the best of the same ladders, at the recipe's learning rate."""
    return next(
        e.name
        for e in SETTINGS.values()
        if e.objective["name"] == "sft"
        and (e.source, e.order, e.learning_rate) == (experiment.source, experiment.order, None)
    )


def verdict(change: dict[str, Figure]) -> str:
    """What the intervals of the differences say, measure by measure."""
    states = []
    for measure, sign in BETTER.items():
        low, high = sorted(sign * (change[measure][end] or 0.0) for end in ("low", "high"))
        state = "better" if low > 0 else "worse" if high < 0 else "no clear change"
        states.append(f"{COLUMNS[measure][:-2]} {state}")
    return ", ".join(states)


def plot(results: Results, path: Path) -> None:
    """Recall over CHAIRi with the intervals of both, a panel for each kind of ladders."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "seelevel"  # the same figures give the same file
    from matplotlib import pyplot

    panels: dict[str, list[str]] = {}
    for name in (name for name in SETTINGS if name in results.items):
        panels.setdefault(sft_of(SETTINGS[name]), []).append(name)
    rows = (len(panels) + 1) // 2
    figure, panes = pyplot.subplots(rows, 2, figsize=(11, 4.5 * rows), layout="constrained", squeeze=False)
    for pane, (sft, names) in zip(panes.flat, panels.items(), strict=False):
        kind = sft.removeprefix("SFT")
        pane.set_title(f"ranked {kind.removeprefix(', ')}" if kind else "ranked by the auto-check")
        for name in ("base", *names):
            x, y = (results.figures(name)[measure] for measure in MEASURES)
            colour = "0.4" if name == "base" else "#dd6b20" if name.startswith("SFT") else "#2b6cb0"
            pane.plot([x["low"], x["high"]], [y["value"]] * 2, color=colour, linewidth=1, alpha=0.5)
            pane.plot([x["value"]] * 2, [y["low"], y["high"]], color=colour, linewidth=1, alpha=0.5)
            pane.plot(x["value"], y["value"], "o", color=colour, markersize=5)
            pane.annotate(
                name.removesuffix(kind) if kind else name,
                (x["value"], y["value"]),
                xytext=(4, 3),
                textcoords="offset points",
                fontsize=8,
            )
        pane.set_xlabel("CHAIRi: left is better")
        pane.set_ylabel("recall of objects: up is better")
    for pane in list(panes.flat)[len(panels) :]:
        pane.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _with_interval(figure: Figure) -> str:
    return f"{figure['value']:.4f} [{figure['low']:.4f}, {figure['high']:.4f}]"


if __name__ == "__main__":
    main()

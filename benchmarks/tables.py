"""Tables and plot of the training benchmark.

    python -m benchmarks.tables FOLDER

reads FOLDER/*.json, the output of calls of `benchmarks.train_step`, and writes the part of
benchmarks/results/train-step.md between the two marks, and docs/img/cost-against-k.svg. Tables of other settings stay.
docs/benchmarks.md quotes figures from there; it is edited by hand, and a test compares the two.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent / "results" / "train-step.md"
PLOT = Path(__file__).parents[1] / "docs" / "img" / "cost-against-k.svg"
BEGIN, END = "<!-- train_step: begin -->", "<!-- train_step: end -->"
NAMES = {
    "trl": "TRL's DPOTrainer, its defaults",
    "trl-stored": "TRL's DPOTrainer, activations kept",
    "rows-full": "separate rows, all logits (AMP's way)",
    "rows": "separate rows, our log-probs",
    "shared": "prefix once",
    "shared-4": "prefix once, answers in fours",
    "shared-1": "prefix once, answers one by one",
    "shared-cached": "prefix once, reference cached",
    "shared-compiled": "prefix once, compiled",
}
COLOURS = {"rows-full": "#b3563b", "rows": "#c9962e", "shared": "#2a6f97", "shared-cached": "#61a5c2"}


def main(arguments: Sequence[str] | None = None) -> None:
    (folder,) = sys.argv[1:] if arguments is None else arguments
    reports = {path.stem: read(path) for path in sorted(Path(folder).glob("*.json"))}
    PAGE.write_text(replaced(PAGE.read_text(), [section(report) for report in ordered(reports)]))
    for report in reports.values():
        if report["settings"]["sweep"] == "k":
            plot(report["results"], PLOT)


def read(path: Path) -> dict[str, Any]:
    """The JSON object in the last line of a file."""
    report: dict[str, Any] = json.loads(path.read_text().strip().splitlines()[-1])
    return report


def ordered(reports: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Single points before sweeps, small vocabularies before large, short ladders before long."""
    names = ("vocab", "shape", "k")
    return sorted(reports.values(), key=lambda r: (r["settings"]["sweep"] or "", *(r["settings"][n] for n in names)))


def replaced(page: str, sections: Sequence[str]) -> str:
    """The page with these tables between its marks, after the old tables of other settings."""
    head, _, rest = page.partition(BEGIN)
    between, mark, tail = rest.partition(END)
    if not mark:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    new = {subject(text) for text in sections}
    old = between.strip().split("\n\n**")
    old = [text if text.startswith("**") else f"**{text}" for text in old if text]
    tables = [text for text in old if subject(text) not in new] + list(sections)
    return head + BEGIN + "\n" + "\n\n".join(tables) + "\n" + END + tail


def subject(section: str) -> str:
    """The settings of a table: its caption without the machine that measured it."""
    return section.partition(";")[0]


def section(report: dict[str, Any]) -> str:
    """The caption and the table of one report."""
    settings = report["settings"]
    table = sweep_table(report) if settings["sweep"] else point_table(report)
    return f"{caption(report)}\n\n{table}"


def caption(report: dict[str, Any]) -> str:
    settings = report["settings"]
    points = [result.get(settings["sweep"], 0) for result in report["results"]]
    low, high = f"{min(points):,}", f"{max(points):,}"
    what = {
        "k": f"K from {low} to {high}",
        "prefix": f"Prefix from {low} to {high} tokens",
        "response": f"Responses of {low} to {high} tokens",
        None: f"K = {settings['k']}",
    }[settings["sweep"]]
    others = {
        "k": f"K = {settings['k']}",
        "prefix": f"prefix {settings['prefix']:,} tokens",
        "response": f"responses of about {settings['response']} tokens",
    }
    fixed = [text for name, text in others.items() if name != settings["sweep"] and not what.startswith(text)]
    worst = max(settings["largest_differences"].values())
    return (
        f"**{what}**: {', '.join(fixed)}, vocabulary {settings['vocab']:,}, {settings['ladders']} ladder"
        f"{'s' * (settings['ladders'] > 1)} per step; {settings['shape']} in {settings['dtype']}"
        f"{' with gradient checkpointing' * settings['checkpointing']} on {settings['device']}, "
        f"{settings['threads']} threads, load {settings['load']} at the end; median of {settings['repeats']}. "
        f"Largest difference between peers: {worst:.0e}."
    )


def point_table(report: dict[str, Any]) -> str:
    gpu = any("mfu" in result for result in report["results"])
    lines = [
        "| | s per ladder | × prefix once | tokens | peak | × arithmetic |" + " MFU |" * gpu,
        "| --- | --- | --- | --- | --- | --- |" + " --- |" * gpu,
    ]
    for result in report["results"]:
        cells = [
            NAMES[result["peer"]],
            f"{result['seconds_per_ladder']:.2f}",
            f"{result['times_shared']:.2f}" if "times_shared" in result else "–",
            f"{result['tokens_per_ladder']:,.0f}",
            size(result["peak_bytes"]),
            f"{result['times_arithmetic_floor']:.2f}",
        ]
        lines.append("| " + " | ".join(cells + ([f"{result.get('mfu', 0):.0%}"] if gpu else [])) + " |")
    return "\n".join(lines)


def sweep_table(report: dict[str, Any]) -> str:
    axis = report["settings"]["sweep"]
    points = list(dict.fromkeys(result[axis] for result in report["results"]))
    peers = list(dict.fromkeys(result["peer"] for result in report["results"]))
    at = {(result["peer"], result[axis]): result for result in report["results"]}
    title = {"k": "K", "prefix": "prefix", "response": "response"}[axis]
    compared = {"rows", "shared"} <= set(peers)
    gpu = any("mfu" in result for result in report["results"])
    heads = [
        *(f"{NAMES[peer]}, s" for peer in peers),
        *["rows / prefix once"] * compared,
        "× arithmetic",
        *["MFU"] * gpu,
    ]
    lines = [f"| {title} | " + " | ".join(heads) + " |", "| --- |" + " --- |" * len(heads)]
    for point in points:
        shared = at["shared", point]
        cells = [f"{point:,}", *(f"{at[peer, point]['seconds_per_ladder']:.2f}" for peer in peers)]
        if compared:
            cells.append(f"{at['rows', point]['seconds_per_ladder'] / shared['seconds_per_ladder']:.1f}")
        cells.append(f"{shared['times_arithmetic_floor']:.2f}")
        lines.append("| " + " | ".join(cells + [f"{shared.get('mfu', 0):.0%}"] * gpu) + " |")
    if axis == "k":
        lines += ["", growth(at[("shared", points[0])], at[("shared", points[-1])])]
    return "\n".join(lines)


def growth(low: dict[str, Any], high: dict[str, Any]) -> str:
    """Growth of time from a short ladder to a long one, against the growth of tokens."""
    time = high["seconds_per_ladder"] / low["seconds_per_ladder"]
    tokens = high["tokens_per_ladder"] / low["tokens_per_ladder"]
    ratio = time / tokens
    return (
        f"Prefix once: t(K={high['k']}) / t(K={low['k']}) = {time:.2f}, tokens {tokens:.2f}, "
        f"so {ratio:.2f} × the token ratio."
    )


def gpu_table(lines: Sequence[dict[str, Any]]) -> str:
    """The lines of `benchmarks.gpu` as a table, and below it what was skipped or failed."""
    rows = [
        "| model | K | prefix | ladders in a pass | | s per ladder | of it batches | tokens | MFU | peak |",
        "|" + " --- |" * 10,
    ]
    without = []
    for line in lines:
        if why := line.get("skipped") or line.get("failed"):
            without.append(f"- {line['step']}{', ' + line['peer'] if 'peer' in line else ''}: {why}")
            continue
        cells = [
            *(line["shape"], f"{line['k']}", f"{line['prefix']:,}", f"{line['together']}"),
            NAMES[line["peer"]] + " (DISAGREES)" * (not line["agrees"]),
            *(f"{line['seconds_per_ladder']:.3f}", f"{line['batch_seconds_per_ladder']:.3f}"),
            f"{line['tokens_per_ladder']:,.0f}",
            f"{line['mfu']:.1%}" if "mfu" in line else "–",
            f"{line['peak_bytes'] / 2**30:.1f} GiB",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join([*rows, "", *without]).strip()


def size(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Seconds per ladder against K, with the arithmetic floor of the prefix once."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "seelevel"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.0))
    for peer in dict.fromkeys(result["peer"] for result in results):
        line = [(r["k"], r["seconds_per_ladder"]) for r in results if r["peer"] == peer]
        axes.plot(*zip(*line, strict=True), marker="o", label=NAMES[peer], color=COLOURS.get(peer))
    floor = [(r["k"], r["seconds_per_ladder"] / r["times_arithmetic_floor"]) for r in results if r["peer"] == "shared"]
    axes.plot(*zip(*floor, strict=True), linestyle=":", color="#666666", label="arithmetic alone")
    axes.set(xlabel="responses per ladder, K", ylabel="seconds per ladder", ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.tight_layout()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    main()

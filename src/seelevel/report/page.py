"""A run folder as one HTML page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from seelevel import __version__
from seelevel.facts import AlignFacts
from seelevel.progress import escape_controls
from seelevel.report import facts, plots
from seelevel.report.by_round import by_number
from seelevel.report.conversations import feedback_facts
from seelevel.report.costs import cost_caption, costs
from seelevel.report.examples import read_examples
from seelevel.report.figures import (
    CONTROL_WORDS,
    Comparison,
    against_control,
    comparisons,
    headline,
    outcome,
    say_share,
)
from seelevel.report.ladders import MARKS, LadderFacts, off_policy, read_facts_and_choice, show
from seelevel.report.pictures import Album
from seelevel.report.reading import RunFolder, exported_pages, read_run
from seelevel.report.rounds import rounds_facts
from seelevel.report.settings import ReportSettings
from seelevel.report.text import marked
from seelevel.store import shards, write_atomically


def write_page(root: Path, settings: ReportSettings) -> Path:
    """Write `root/report.html`, whole or not at all, and return its path."""
    path = root / "report.html"
    write_atomically(path, render(read_run(root), settings))
    return path


def render(run: RunFolder, settings: ReportSettings) -> str:
    """The page as HTML. Every text from the run is escaped: what a model says may look like markup, or reverse the
    text around it."""
    environment = Environment(
        loader=PackageLoader("seelevel", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["marked"] = marked
    album = Album(settings.picture_side, settings.picture_bytes)
    page = environment.get_template("page.html.j2").render(
        version=__version__,
        css=Markup(resources.files("seelevel.report").joinpath("page.css").read_text(encoding="utf-8")),
        title=settings.title or run.setting("name") or run.root.name,
        kicker=facts.kicker(run),
        missing=facts.missing(run),
        facts=facts.run_facts(run),
        rejected=facts.rejected(run),
        recipe_text=facts.recipe_text(run),
        exported=exported_pages(run.root),
        run_name=run.root.name,
        files=f"the run folder {run.root.name}/",
        **scores(run),
        overlap=facts.overlap_note(run),
        **_ladders(run, settings, album),
        has_feedback=run.stages["feedback"].begun or run.setting("feedback") is not None,
        feedback=feedback_facts(run, settings.examples, album),
        **training(run),
        examples=read_examples(run, settings.examples, album) if settings.examples else [],
        costs=costs(run),
        cost_caption=cost_caption(run),
    )
    return escape_controls(page, keep="\n\t")


def scores(run: RunFolder) -> dict[str, Any]:
    """The figures of a run, for `figures.html.j2`."""
    rows = comparisons(run.metrics, run.scorers)
    tables = {name: [c for c in rows if c.metric.table == name] for name in ("main", "details", "rounds")}
    compared = tables["main"] or tables["details"]
    drawn = [c for c in compared if c.metric.kind == "rate" or not c.metric.beside]  # words have no common scale
    head = headline(rows)
    with_control = any(c.control is not None for c in rows)
    return {
        "words": plots.WORDS,
        "control_verdicts": plots.CONTROL_VERDICTS,
        "signs": plots.SIGNS,
        "say_share": say_share,
        "outcome": outcome(head or compared or rows),
        "at_chance": any(c.verdict == "chance" for c in rows),
        "head": head,
        "against_control": against_control(rows),
        "with_control": with_control,
        "compared_words": "Base, control and aligned" if with_control else "Base against aligned",
        "control_words": CONTROL_WORDS,
        "any_difference": any(c.difference is not None for c in head),
        "compared": compared,
        "others": tables["details"] if tables["main"] else [],
        "by_number": by_number(run.metrics, head or compared, run.stages["align"].facts(AlignFacts).steps),
        "rounds": rounds_facts(tables["rounds"]),
        "score_plots": [_score_plot(rows) for rows in _by_scale(drawn)],
    }


def _by_scale(rows: Sequence[Comparison]) -> list[list[Comparison]]:
    """Figures that share an axis: rates together, and scores by their scale."""
    key = [(c.metric.kind != "rate", c.metric.top) for c in rows]
    ordered = sorted(zip(key, range(len(rows)), strict=True))
    return [[rows[n] for _, n in group] for _, group in groupby(ordered, key=lambda pair: pair[0])]


def _score_plot(rows: list[Comparison]) -> dict[str, Any]:
    rate, top = rows[0].metric.kind == "rate", rows[0].metric.top
    key = "rates" if rate else f"scores-{top:g}"
    title = "Rates" if rate else f"Scores from 0 to {top:g}"
    paired = [c for c in rows if c.difference is not None]
    over_control = [c.control for c in rows if c.control is not None and c.control.difference is not None]
    models, place = "base and aligned model", "On the right are"
    if over_control:
        models, place = "base, control and aligned model", "The other plots show"
    return {
        "title": title,
        "levels": plots.levels(rows, top, f"{key}-levels", f"{title} of {models}"),
        "differences": plots.differences(paired, f"{key}-differences", f"{title}: aligned − base") if paired else "",
        "from_control": (
            plots.differences(
                over_control, f"{key}-from-control", f"{title}: aligned − control", plots.CONTROL_VERDICTS
            )
            if over_control
            else ""
        ),
        "unit": "percentage points" if rate else "",
        "caption": (
            f"{title} with 95% intervals. ↓ lower is better, ↑ higher is better. {place} the paired "
            "differences: ✓ better or ✗ worse if the interval excludes 0; a hollow dot stands for no clear change or a "
            "base at chance."
        ),
    }


def _ladders(run: RunFolder, settings: ReportSettings, album: Album) -> dict[str, Any]:
    check, generate = run.stages["check"].path, run.stages["generate"].path
    found, chosen = read_facts_and_choice(check if shards(check) else generate, run.root, settings.ladders)
    shown = [show(ladder, album) for ladder in chosen]
    moved = sum(bool(ladder.reordered) for ladder in shown)
    marked = {ladder.check.checker for ladder in chosen if ladder.check is not None and not ladder.check.unchecked}
    choice = "Level 0 is best. These ladders are evenly spaced in the files; nobody picked them."
    if found.reordered is not None:
        choice += f" The check reordered {moved} of them and kept the order of {len(shown) - moved}."
    sizes = {str(size): found.sizes[size] for size in sorted(found.sizes)}
    return {
        "ladder_facts": found,
        "ladder_words": _ladder_words(found),
        "ladder_remarks": off_policy(found)
        + facts.checked(run)
        + facts.dropped(run)
        + [f"{count:,} ladders are flagged: {flag}." for flag, count in found.flags.most_common()],
        "size_plot": plots.histogram(sizes, "sizes", "Ladders by size", "responses") if len(sizes) > 1 else "",
        "shown": shown,
        "choice_words": choice,
        "marks": [mark for checker, marks in MARKS.items() if checker in marked for mark in marks],
    }


def _ladder_words(found: LadderFacts) -> str:
    if not found.ladders:
        return ""
    each = f"K = {next(iter(found.sizes))} each; " if len(found.sizes) == 1 else ""
    words = f"{found.ladders:,} ladders with {found.responses:,} responses ({each}{found.pairs:,} preference pairs). "
    if found.reordered is None:
        words += "They have their initial order: no check has been run on them. "
    else:
        share = 100 * found.reordered / found.ladders
        words += f"The check changed the order of {found.reordered:,} of them ({share:.1f}%). "
    words += f"{found.tied:,} have a tie, which makes no pair; {found.without_pair:,} have no pair at all"
    return words + (f"; {found.unchecked:,} could not be checked and keep their order." if found.unchecked else ".")


CURVES: tuple[tuple[str, str, tuple[str, ...] | str], ...] = (  # a name alone stands for its figures by level
    ("Loss", "loss", ("loss",)),
    ("Terms of the loss", "terms", ("preference", "penalty", "nll")),
    ("Margin between better and worse", "margin", ("margin",)),
    ("Margin, by neighbouring levels", "margins", "margin"),
    ("Pairs in the right order", "accuracy", ("accuracy",)),
    ("Pairs in the right order, by neighbouring levels", "accuracies", "accuracy"),
    ("Log-probability of the best response, per token", "best", ("best_logprob",)),
    ("The same, minus the reference model's", "change", ("best_change",)),
)
NAMES = {"nll": "negative log-likelihood", "best_logprob": "log-probability", "best_change": "difference"}


def training(run: RunFolder) -> dict[str, Any]:
    """The curves of a training, also of one that is not finished."""
    drawn = drawn_curves(run)
    return {
        "training_plots": drawn,
        "training_words": facts.training_words(run),
        "control_training": facts.control_training(run),
        "training_caption": "Training, step by step. If there are many steps, the bold line is a moving mean.",
    }


def drawn_curves(run: RunFolder, prefix: str = "curve") -> list[tuple[str, Markup]]:
    """Titles and plots of a run's training log. prefix: of the plots' ids on the page."""
    drawn = []
    for title, key, curve in CURVES:
        names = _by_level(run, curve) if isinstance(curve, str) else curve
        series = [plots.Series(_line_name(name), run.logged(name)) for name in names]
        svg = plots.curves(series, f"{prefix}-{key}", title)
        if svg:
            drawn.append((title, svg))
    return drawn


def _by_level(run: RunFolder, name: str) -> list[str]:
    """`margin_0_1`, `margin_1_2` …, if there are several. A single one is the same as `margin`."""
    levels = {(int(a), int(b)) for key in set().union(*run.log) for a, b in re.findall(rf"^{name}_(\d+)_(\d+)$", key)}
    return [f"{name}_{a}_{b}" for a, b in sorted(levels)] if len(levels) > 1 else []


def _line_name(name: str) -> str:
    return NAMES.get(name) or re.sub(r"^\w+?_(\d+)_(\d+)$", r"\1 over \2", name)

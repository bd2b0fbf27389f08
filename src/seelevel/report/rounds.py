"""The benchmark `feedback` on the page: ratings, quality answer by answer, and what the user's words are worth.

Quality is the mean of the ratings that apply, 1 to 4. A conversation with an answer that cannot be rated is left out as
a whole, so the rounds of one way to ask are of the same conversations; those of the other way may be of others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from seelevel.report.figures import Comparison, Figure, say_change, say_value
from seelevel.report.plots import Rounds, by_round, nice_ticks
from seelevel.scorers.refinement import RATINGS

SIDES = ("base", "aligned")
QUALITY = {"feedback": "quality_round", "try again": "quality_again"}
CHANGES = {"lead_round": "Lead of feedback over ‘try again’", "gain_round": "Gain on the answer before, with feedback"}
ORDER = (*QUALITY.values(), *CHANGES, "quality", "lead_over")


@dataclass(frozen=True)
class RoundsFacts:
    """`rated`: the first answers' ratings and quality; `rest`: the other figures; `plots`: title, unit, drawing."""

    rated: list[Comparison]
    rest: list[Comparison]
    plots: list[tuple[str, str, Markup]]
    words: list[str]


def rounds_facts(spoken: Sequence[Comparison]) -> RoundsFacts | None:
    """What the page says of the benchmark by its figures; None where the run has none."""
    found = {c.name: c for c in sorted(spoken, key=_place)}
    if not found:
        return None
    rated = [found[name] for name in (*RATINGS, "quality_round_1") if name in found]
    return RoundsFacts(
        rated=rated,
        rest=[c for c in found.values() if c not in rated],
        plots=_plots(found),
        words=[*_last_leads(found), *_worst(found)],
    )


def _place(c: Comparison) -> tuple[int, int]:
    kind, _, number = c.name.rpartition("_")
    return (ORDER.index(kind) if kind in ORDER else -1, int(number) if number.isdigit() else 0)


def _points(found: Mapping[str, Comparison], side: str, kind: str) -> dict[int, Figure]:
    """A model's figures of a kind by round. Both ways to ask for another have the same first answers: ‘try again’
    begins at the figure of the conversations with feedback."""
    points = {}
    for name, c in found.items():
        figure = c.base if side == "base" else c.aligned
        own, _, number = name.rpartition("_")
        if figure is not None and (own == kind or (kind == QUALITY["try again"] and name == "quality_round_1")):
            points[int(number)] = figure
    return points


def _plots(found: Mapping[str, Comparison]) -> list[tuple[str, str, Markup]]:
    """Quality of each model, both on one scale; then leads and gains of both. What has no points is not drawn."""
    quality = {
        f"Quality, {side} model": [
            Rounds(way, side, _points(found, side, k), k != "quality_round") for way, k in QUALITY.items()
        ]
        for side in SIDES
    }
    changes = {
        title: [Rounds(side, side, _points(found, side, kind), side == "base") for side in SIDES]
        for kind, title in CHANGES.items()
    }
    return [*_drawn(quality, "1 to 4, higher is better"), *_drawn(changes, "of quality; above 0 is better", (0.0,))]


def _drawn(
    panels: Mapping[str, list[Rounds]], unit: str, within: Sequence[float] = ()
) -> list[tuple[str, str, Markup]]:
    """Panels that share a scale, on which the values `within` are too."""
    kept = {title: shown for title, lines in panels.items() if (shown := [line for line in lines if line.points])}
    figures = [f for lines in kept.values() for line in lines for f in line.points.values()]
    ends = [*within, *(end for f in figures for end in (*f.ends, f.value))]
    return [
        (title, unit, by_round(lines, nice_ticks(min(ends), max(ends), 4), _key(title), title, "answer"))
        for title, lines in kept.items()
    ]


def _key(title: str) -> str:
    return "rounds-" + "-".join(re.findall(r"[a-z]+", title.lower()))


def _last_leads(found: Mapping[str, Comparison]) -> list[str]:
    """Whether feedback beat ‘try again’ at the end, a sentence a model."""
    leads = [c for name, c in found.items() if name.startswith("lead_round_")]
    said = []
    for side in SIDES if leads else ():
        figure = leads[-1].base if side == "base" else leads[-1].aligned
        if figure is not None:
            number = leads[-1].name.rpartition("_")[2]
            what = f"Answer {number} of the {side} model with feedback, less its answer {number} with ‘try again’"
            said.append(f"{what}: quality {_change(figure)}.")
    return said


def _change(figure: Figure) -> str:
    interval = figure.interval(lambda end: say_change(end, "score"))
    reading = ", no clear difference" if figure.clear is False else ""
    return f"{say_change(figure.value, 'score')} ({interval}{reading})"


def _worst(found: Mapping[str, Comparison]) -> list[str]:
    worst, lead = (found[name].aligned if name in found else None for name in ("quality_worst", "lead_over_worst"))
    if worst is None or lead is None:
        return []
    return [
        "Under the worst condition the aligned model's first answers have a quality of "
        f"{say_value(worst.value, 'score')}; under the condition asked for, less that: {_change(lead)}."
    ]

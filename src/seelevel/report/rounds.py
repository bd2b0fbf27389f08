"""The benchmark `feedback` on the page: ratings, quality of each answer, and the effect of the user's words.

Quality is the mean of the ratings that apply, 1 to 4. A conversation with an answer that cannot be rated is left out.
So all rounds of one way to ask are of the same conversations; the other way may have other ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from seelevel.report.figures import Comparison, Figure, say_change, say_value
from seelevel.report.plots import Rounds, by_round, nice_ticks
from seelevel.report.reading import SIDES
from seelevel.scorers.refinement import RATINGS

QUALITY = {"feedback": "quality_round", "try again": "quality_again"}
CHANGES = {"lead_round": "Lead of feedback over ‘try again’", "gain_round": "Gain on the answer before, with feedback"}
ORDER = (*QUALITY.values(), *CHANGES, "quality", "lead_over")


@dataclass(frozen=True)
class RoundsFacts:
    """rated: ratings and quality of the first answers. rest: the other figures. plots: title, unit, drawing."""

    rated: list[Comparison]
    rest: list[Comparison]
    plots: list[tuple[str, str, Markup]]
    words: list[str]


def rounds_facts(rows: Sequence[Comparison]) -> RoundsFacts | None:
    """The part of the page about the benchmark's figures; None if there are none."""
    found = {c.name: c for c in sorted(rows, key=_place)}
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
    """A model's figures of one kind by round. Both ways to ask have the same first answers, so ‘try again’ begins at
    the first figure of the conversations with feedback."""
    points = {}
    for name, c in found.items():
        figure = c.of(side)
        stem, _, number = name.rpartition("_")
        if figure is not None and (stem == kind or (kind == QUALITY["try again"] and name == "quality_round_1")):
            points[int(number)] = figure
    return points


def _plots(found: Mapping[str, Comparison]) -> list[tuple[str, str, Markup]]:
    """The quality of each model, all on one scale; then leads and gains. A plot without points is left out."""
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
    """Panels that share a scale. The scale includes the values `within`."""
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
    """One sentence per model: whether feedback beats ‘try again’ in the last answer."""
    leads = [c for name, c in found.items() if name.startswith("lead_round_")]
    sentences = []
    for side in SIDES if leads else ():
        figure = leads[-1].of(side)
        if figure is not None:
            number = leads[-1].name.rpartition("_")[2]
            what = f"Answer {number} of the {side} model with feedback, minus its answer {number} with ‘try again’"
            sentences.append(f"{what}: quality {_change(figure)}.")
    return sentences


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
        f"{say_value(worst.value, 'score')}; under the condition asked for, minus that: {_change(lead)}."
    ]

"""Plots as inline SVG. Colours are CSS classes of the page, so light, dark and print schemes each have their own.

They are not drawn by a plotting library: this way a plot is a few kilobytes, its text is text, and it follows the
reader's colour scheme.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from seelevel.report.figures import Comparison, Figure, say_change, say_value
from seelevel.scorers.words import Kind

WIDTH = 460
ROW = 34


@dataclass(frozen=True)
class Series:
    """A line of a plot: `points` are (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]


def nice_ticks(low: float, high: float, about: int = 5, whole: bool = False) -> list[float]:
    """Round numbers that span low..high in about so many steps: first ≤ low, last ≥ high. `whole`: integers."""
    if not high > low:
        high = low + (abs(low) or 1.0)
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    steps = (1, 2, 5, 10) if whole else (1, 2, 2.5, 5, 10)
    step = next(m * power for m in steps if m * power >= raw * 0.999)
    step = max(step, 1.0) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def _svg(height: float, title: str, words: str, parts: Sequence[Markup], key: str) -> Markup:
    """A drawing with a name and a description for readers who cannot see it."""
    return Markup(
        '<svg class="plot" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{k}-t {k}-d">'
        '<title id="{k}-t">{t}</title><desc id="{k}-d">{d}</desc>{body}</svg>'
    ).format(w=WIDTH, h=round(height), k=key, t=title, d=words, body=Markup("").join(parts))


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(kind, x1, y1, x2, y2)


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(kind, x, y, anchor, text)


def _dot(x: float, y: float, kind: str, note: str) -> Markup:
    shape = '<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="5"><title>{}</title></circle>'
    if "control" in kind.split():  # a diamond
        shape = '<path class="{}" d="M{:.1f} {:.1f}m-6 0l6-6 6 6-6 6z"><title>{}</title></path>'
    return Markup(shape).format(kind, x, y, note)


def _number(value: float) -> str:
    text = f"{value:g}"
    return text.replace("-", "\N{MINUS SIGN}")


WORDS: Mapping[str, str] = {
    "better": "better",
    "worse": "worse",
    "unclear": "no clear change",
    "changed": "changed",
    "chance": "base at chance",
}
CONTROL_VERDICTS: Mapping[str, str] = {
    "better": "better",
    "worse": "worse",
    "unclear": "no clear difference",
    "changed": "different",
    "chance": "control at chance",
}
"""The verdicts in words, of differences from the control."""
SIGNS: Mapping[str, str] = {"better": "✓ ", "worse": "✗ ", "unclear": "", "changed": "", "chance": ""}
LABELS = 178


def levels(rows: Sequence[Comparison], top: float, key: str, title: str) -> Markup:
    """Base (hollow) and aligned (filled) dots with 95% intervals, one row per metric, on an axis from 0 to `top`. A
    control is a diamond between the two."""
    percent = rows[0].metric.kind == "rate"
    left, right, above = LABELS, WIDTH - 18, 14
    bottom = above + ROW * len(rows)

    def x(value: float) -> float:
        return left + (right - left) * min(max(value / top, 0.0), 1.0)

    ticks = [0, 0.25, 0.5, 0.75, 1.0] if percent and top == 1 else nice_ticks(0, top)
    parts = [_line(x(t), above - 6, x(t), bottom, "grid") for t in ticks]
    parts += [_text(x(t), bottom + 18, f"{100 * t:g}%" if percent else _number(t), "middle", "tick") for t in ticks]
    said = []
    for n, row in enumerate(rows):
        middle = above + ROW * (n + 0.5)
        arrow = {"lower": " ↓", "higher": " ↑", "neither": ""}[row.metric.better]
        parts.append(_text(left - 12, middle + 4, short(row.metric.label) + arrow, "end", "label"))
        shifts = {"base": -11.0, "control": 0.0, "aligned": 11.0} if row.control else {"base": -6.5, "aligned": 6.5}
        for kind, shift in shifts.items():
            if (figure := row.of(kind)) is None:
                continue
            y = middle + shift
            note = f"{row.metric.label}, {kind}: {row.say(figure.value)} ({figure.interval(row.say)})"
            low, high = figure.ends
            parts.append(_line(x(low), y, x(high), y, f"bar {kind}"))
            parts.append(_dot(x(figure.value), y, f"dot {kind}", note))
            said.append(note)
    return _svg(bottom + 26, title, "; ".join(said) + ".", parts, key)


def differences(rows: Sequence[Comparison], key: str, title: str, words: Mapping[str, str] = WORDS) -> Markup:
    """Paired differences with 95% intervals about a line at 0, coloured and signed by verdict, one row per metric.
    `words`: what to call each verdict."""
    rows = [row for row in rows if row.difference is not None]
    kind = rows[0].metric.kind
    scale = 100 if kind == "rate" else 1
    left, right, above = LABELS, WIDTH - 18, 14
    bottom = above + ROW * len(rows)
    ends = [scale * e for row in rows if (d := row.difference) for e in (*d.ends, d.value)]
    ticks = nice_ticks(min([0.0, *ends]), max([0.0, *ends]), 4)

    def x(value: float) -> float:
        return left + (right - left) * (value - ticks[0]) / (ticks[-1] - ticks[0])

    parts = [_line(x(t), above - 6, x(t), bottom, "zero" if t == 0 else "grid") for t in ticks]
    signed = ["0" if t == 0 else ("+" if t > 0 else "") + _number(t) for t in ticks]
    parts += [_text(x(t), bottom + 18, s, "middle", "tick") for t, s in zip(ticks, signed, strict=True)]
    said = []
    for n, row in enumerate(rows):
        d, y = row.difference, above + ROW * (n + 0.5)
        assert d is not None
        verdict = row.verdict or "unclear"
        sign = SIGNS[verdict]
        reading = f", {words[row.verdict]}" if row.verdict else ""
        note = f"{row.metric.label}: {row.say_change(d.value, True)} ({d.interval(row.say_change)}){reading}"
        low, high = d.ends
        parts.append(_text(left - 12, y + 4, sign + short(row.metric.label), "end", f"label {verdict}"))
        parts.append(_line(x(scale * low), y, x(scale * high), y, f"bar {verdict}"))
        parts.append(_dot(x(scale * d.value), y, f"dot {verdict}", note))
        said.append(note)
    return _svg(bottom + 26, title, "; ".join(said) + ".", parts, key)


def short(label: str) -> str:
    """A metric's label, short enough to fit beside a plot."""
    return label.replace("hallucination", "halluc.").replace("accuracy", "acc.").replace("dialogues", "dial.")


def curves(series: Sequence[Series], key: str, title: str, x_label: str = "step") -> Markup:
    """Lines over steps, with their names on top. Of many values the moving mean is bold and the values are faint."""
    series = [Series(s.name, [(x, y) for x, y in s.points if math.isfinite(y)]) for s in series]
    series = [s for s in series if s.points]
    if not series:
        return Markup("")
    left, right = 52, WIDTH - 14
    places = _legend([line.name for line in series], left, right) if len(series) > 1 else []
    above = 12 + (places[-1][1] + 7 if places else 0)
    bottom = max(above + 158, 188)
    xs = [x for s in series for x, _ in s.points]
    ys = [y for s in series for _, y in s.points]
    across, up = (min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1), nice_ticks(min(ys), max(ys), 4)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = left + (right - left) * (point[0] - across[0]) / (across[1] - across[0])
        return x, bottom - (bottom - above) * (point[1] - up[0]) / (up[-1] - up[0])

    parts = []
    for tick in up:
        y = place((across[0], tick))[1]
        parts += [_line(left, y, right, y, "zero" if tick == 0 else "grid")]
        parts += [_text(left - 8, y + 4, _number(tick), "end", "tick")]
    for tick in nice_ticks(*across, whole=True):
        if across[0] <= tick <= across[1]:
            parts.append(_text(place((tick, up[0]))[0], bottom + 18, _number(tick), "middle", "tick"))
    parts.append(_text(right, bottom + 34, x_label, "end", "tick"))
    words = []
    for (x, y), (number, line) in zip(places, enumerate(series), strict=False):
        parts += [
            _line(x, y, x + KEY, y, f"curve c{number % COLOURS}"),
            _text(x + KEY + 6, y + 4, line.name, "start", "label"),
        ]
    for number, line in enumerate(series):
        smooth = moving_mean(line.points)
        if smooth is not line.points:
            parts.append(_path([place(p) for p in line.points], f"curve faint c{number % COLOURS}"))
        parts.append(_path([place(p) for p in smooth], f"curve c{number % COLOURS}"))
        words.append(f"{line.name}: from {smooth[0][1]:.4g} to {smooth[-1][1]:.4g}")
    return _svg(bottom + 40, title, "; ".join(words) + ".", parts, key)


JOINED = 0.95


@dataclass(frozen=True)
class Rounds:
    """A score by round, with intervals. The second of two lines of a `side` is `dashed`."""

    name: str
    side: str
    points: Mapping[int, Figure]
    dashed: bool = False


def by_round(
    lines: Sequence[Rounds],
    ticks: Sequence[float],
    key: str,
    title: str,
    x_label: str,
    kind: Kind = "score",
    names: Sequence[str] = (),
) -> Markup:
    """Figures over rounds on an axis of `ticks`, each with its 95% interval and, below, its number of items. Round 0 is
    the base model, unless there are `names` of the rounds.

    A line joins two rounds if the second has at least the share `JOINED` of the first's items. With fewer, the two are
    means of different things.
    """
    left, right = 104, WIDTH - 14
    places = _legend([line.name for line in lines], left, right)
    above = 12 + places[-1][1] + 7
    bottom = above + 170
    numbers = sorted({number for line in lines for number in line.points})
    slot = (right - left) / len(numbers)

    def y(value: float) -> float:
        return bottom - (bottom - above) * (value - ticks[0]) / (ticks[-1] - ticks[0])

    def say(value: float) -> str:
        return say_change(value, kind) if signed else say_value(value, kind)

    def named(number: int) -> str:
        return names[number] if names else f"{x_label} {number}" if number else "base"

    signed = min(ticks) < 0
    parts, said = [part for tick in ticks for part in _tick(tick, y(tick), left, right, signed, kind)], list[str]()
    middles = {number: left + slot * (n + 0.5) for n, number in enumerate(numbers)}
    parts += [_text(x, bottom + 18, named(number), "middle", "tick") for number, x in middles.items()]
    for n, (line, spot) in enumerate(zip(lines, places, strict=True)):
        shift = 9 * (n - (len(lines) - 1) / 2)
        look = f"{line.side} {'open' if line.dashed else 'full'}"
        parts += [
            _line(spot[0], spot[1], spot[0] + KEY, spot[1], f"path {look}"),
            _dot(spot[0] + KEY / 2, spot[1], f"dot {look}", line.name),
            _text(spot[0] + KEY + 6, spot[1] + 4, line.name, "start", "label"),
        ]
        spots = [(middles[number] + shift, figure) for number, figure in sorted(line.points.items())]
        parts += [
            _line(x, y(figure.value), later, y(after.value), f"path {look}")
            for (x, figure), (later, after) in pairwise(spots)
            if figure.n is None or (after.n or 0) >= JOINED * figure.n
        ]
        row = bottom + 38 + 16 * n
        parts.append(_text(left - 8, row, f"n, {line.name}", "end", "tick"))
        for number, figure in sorted(line.points.items()):
            x = middles[number] + shift
            note = f"{line.name}, {named(number)}: {say(figure.value)} ({figure.interval(say)})"
            parts.append(_line(x, y(figure.ends[0]), x, y(figure.ends[1]), f"bar {line.side}"))
            parts.append(_dot(x, y(figure.value), f"dot {look}", note))
            if figure.n is not None:
                parts.append(_text(middles[number], row, f"{figure.n:,}", "middle", "tick"))
            said.append(note)
    return _svg(bottom + 26 + 16 * len(lines), title, "; ".join(said) + ".", parts, key)


def _tick(value: float, y: float, left: float, right: float, signed: bool, kind: Kind) -> list[Markup]:
    """A line across a plot, and its value at the left."""
    label = f"{100 * value:g}%" if kind == "rate" else _number(value)
    return [
        _line(left, y, right, y, "zero" if signed and value == 0 else "grid"),
        _text(left - 8, y + 4, ("+" if signed and value > 0 else "") + label, "end", "tick"),
    ]


KEY = 22
COLOURS = 7


def _legend(names: Sequence[str], left: float, right: float) -> list[tuple[float, float]]:
    """The place of each name's key, in as many rows as needed."""
    places, x, y = list[tuple[float, float]](), left, 11.0
    for name in names:
        width = KEY + 6 + 7.4 * len(name)
        if x > left and x + width > right:
            x, y = left, y + 18
        places.append((x, y))
        x += width + 22
    return places


def moving_mean(points: Sequence[tuple[float, float]], many: int = 40) -> Sequence[tuple[float, float]]:
    """Centred means over a fifteenth of the points, narrower at the ends. Fewer than `many` points stay unchanged."""
    if len(points) < many:
        return points
    half = max(len(points) // 30, 1)
    smooth = []
    for n, (x, _) in enumerate(points):
        reach = min(half, n, len(points) - 1 - n)
        window = [y for _, y in points[n - reach : n + reach + 1]]
        smooth.append((x, sum(window) / len(window)))
    return smooth


def _path(points: Sequence[tuple[float, float]], kind: str) -> Markup:
    steps = " ".join(f"{'L' if n else 'M'}{x:.1f} {y:.1f}" for n, (x, y) in enumerate(points))
    return Markup('<path class="{}" d="{}"/>').format(kind, steps)


def histogram(counts: Mapping[str, int], key: str, title: str, x_label: str) -> Markup:
    """One bar per named value, with its count."""
    most = max([*counts.values(), 1])
    left, right, above, bottom = 20, WIDTH - 14, 22, 120
    slot = min((right - left) / max(len(counts), 1), 70)
    parts, said = [_line(left, bottom, right, bottom, "grid")], []
    for n, (name, count) in enumerate(counts.items()):
        x, height = left + slot * (n + 0.5), (bottom - above) * count / most
        parts.append(
            Markup('<rect class="column" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                x - slot * 0.36, bottom - height, slot * 0.72, height
            )
        )
        parts.append(_text(x, bottom - height - 5, f"{count:,}", "middle", "label"))
        parts.append(_text(x, bottom + 17, name, "middle", "tick"))
        said.append(f"{name}: {count}")
    parts.append(_text(right, bottom + 17, x_label, "end", "tick"))
    return _svg(bottom + 26, title, "; ".join(said) + ".", parts, key)

"""The effect of the threshold τ on ladders, for many τ at once, from the similarities that the auto-check noted.

τ is a property of the encoder. If it is too low, everything is covered; if it is too high, nothing is. In both cases
Acc says nothing and only the score orders. The curve shows for which τ Acc tells responses apart. If an order is known,
it also shows how well the check finds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seelevel.check.autocheck import AutoCheck
from seelevel.check.rules import DIGITS
from seelevel.errors import InputError
from seelevel.formats.parquet import load_ladders
from seelevel.ladder import Ladder
from seelevel.language.encoders import load_encoder
from seelevel.levels import dense_levels
from seelevel.notes import Coverage, Match

GRID = tuple(round(0.4 + 0.02 * n, 2) for n in range(30))
FIGURES = {
    "acc": "mean Acc of the generated responses",
    "undecided": "pairs of equal Acc, which the score alone orders",
    "tied": "pairs on one level",
    "reordered": "ladders whose order changes",
    "agreement": "pairs ordered as in the known order (a tie counts half)",
}


def show_curve(
    path: Path, order: Path | None, encoder: str | None, parser: str | None, limit: int, picture: Path | None
) -> dict[str, Any]:
    """`seelevel threshold`: {"settings", "curve"}. Without an encoder, the reasons in the ladders are used."""
    if parser is not None and encoder is None:
        raise InputError("--parser needs --encoder: without an encoder no text is parsed")
    ladders = load_ladders(path)[:limit]
    known = None if order is None else {ladder.id: ladder for ladder in load_ladders(order)}
    if encoder is not None:
        ladders = list(AutoCheck(load_encoder(encoder), None, parser)(ladders))
    measured = rechecked(ladders, known)
    in_force = next(x.check.threshold for x in ladders if x.check is not None and x.check.threshold is not None)
    rows = curve(measured)
    if picture is not None:
        plot(rows, in_force, picture)
    settings = {
        "encoder": encoder,
        "threshold": in_force,
        "ladders": len(measured),
        "unchecked": len(ladders) - len(measured),
        "known_order": "before the check" if order is None else str(order),
    }
    return {"settings": settings, "curve": rows}


@dataclass(frozen=True)
class Rechecked:
    """One ladder's generated responses, in the order before the check.

    `local[r]` and `whole[r]` are s[m] of chunks and of sentences (−inf if the response has none), `score[r]` is the
    score, `known[r]` the known level.
    """

    local: NDArray[np.float64]
    whole: NDArray[np.float64]
    score: NDArray[np.float64]
    known: list[int]

    def acc(self, threshold: float) -> list[float]:
        both = (self.local > threshold).mean(axis=1) + (self.whole > threshold).mean(axis=1)
        return [round(value / 2, DIGITS) for value in both.tolist()]


def rechecked(ladders: Iterable[Ladder], order: Mapping[str, Ladder] | None = None) -> list[Rechecked]:
    """The similarities that the auto-check noted; unchecked ladders are skipped.

    `order`: ladders by id with the same responses, whose levels are the known order; None: the order before the check.
    Raises `InputError` if no ladder has reasons, or if a ladder or response is missing from `order`.
    """
    measured, count = [], 0
    for ladder in ladders:
        count += 1
        if ladder.check is not None and (covered := _covered(ladder)):
            levels = ladder.check.initial_levels
            measured.append(
                Rechecked(
                    np.array([_similarities(coverage.standard_chunks) for _, _, coverage in covered]),
                    np.array([_similarities(coverage.standard_sentences) for _, _, coverage in covered]),
                    np.array([coverage.score for _, _, coverage in covered]),
                    [levels[before] if order is None else _known(ladder, n, order) for n, before, _ in covered],
                )
            )
    if not measured:
        raise InputError(f"none of {count} ladders carries autocheck's reasons; check them, or name an --encoder")
    return measured


def _covered(ladder: Ladder) -> list[tuple[int, int, Coverage]]:
    """(place now, place before, coverage) of each response but the measure, which was first before the check if
    it is a level of the ladder."""
    checks = ((place, response.check) for place, response in enumerate(ladder.responses))
    covered = [(n, c.place_before, c.coverage) for n, c in checks if c is not None and c.coverage is not None]
    return sorted((row for row in covered if row[1] > 0 or not ladder.holds_measure), key=lambda row: row[1])


def _similarities(matches: Sequence[Match]) -> list[float]:
    return [match.similarity if match.best else -np.inf for match in matches]


def _known(ladder: Ladder, place: int, order: Mapping[str, Ladder]) -> int:
    response = ladder.responses[place]
    if ladder.id in order:
        for other in order[ladder.id].responses:
            if other.messages == response.messages:
                return other.level
    raise InputError(
        f"ladder {ladder.id}: response {place} is not in the known order; give the same ladders, reordered"
    )


def curve(ladders: Sequence[Rechecked], thresholds: Sequence[float] = GRID) -> list[dict[str, float | None]]:
    """For each τ: `threshold` and FIGURES as fractions. `agreement` is None if all known levels are equal."""
    return [{"threshold": threshold, **_at(ladders, threshold)} for threshold in thresholds]


def _at(ladders: Sequence[Rechecked], threshold: float) -> dict[str, float | None]:
    accs, pairs, undecided, tied, reordered = list[float](), 0, 0, 0, 0
    agreed, known = 0.0, 0
    for ladder in ladders:
        acc = ladder.acc(threshold)
        accs += acc
        levels = dense_levels([(-a, -s) for a, s in zip(acc, ladder.score.tolist(), strict=True)])
        reordered += levels != sorted(levels)
        for a, b in combinations(range(len(acc)), 2):
            pairs += 1
            undecided += acc[a] == acc[b]
            tied += levels[a] == levels[b]
            if ladder.known[a] != ladder.known[b]:
                known += 1
                right = (levels[a] < levels[b]) == (ladder.known[a] < ladder.known[b])
                agreed += 0.5 if levels[a] == levels[b] else right
    return {
        "acc": sum(accs) / len(accs),
        "undecided": undecided / pairs if pairs else None,
        "tied": tied / pairs if pairs else None,
        "reordered": reordered / len(ladders),
        "agreement": agreed / known if known else None,
    }


def plot(rows: Sequence[Mapping[str, float | None]], threshold: float, path: Path) -> None:
    """Draw the figures against τ, with the threshold in force as a dashed line. The suffix of `path` sets the format.

    Raises `InputError` if matplotlib does not know the suffix or the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, what in FIGURES.items():
        points = [(row["threshold"], row[name]) for row in rows if row[name] is not None]
        if points:
            axes.plot(*zip(*points, strict=True), label=f"{name}: {what}")
    axes.axvline(threshold, linestyle="--", color="grey", linewidth=1)
    axes.set(xlabel="threshold τ (cosine)", ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", fontsize=8, frameon=False)
    try:
        figure.savefig(path)
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: the plot cannot be written ({error!s:.100}); name a .png, .svg or .pdf") from error

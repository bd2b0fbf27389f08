"""Two or more checkers on the same ladders: how far their orders agree, and what each does to the order before it.

- *τ_b*: Kendall's, of two orders of one ladder; the figure is the mean over ladders, with a bootstrap interval. A
  ladder that one of the two leaves unchecked, or puts on one level, has none.
- *same best*: the share of ladders whose best level holds the same responses in both orders.
- *turned*: the share of the pairs, and of the ladders with such a pair, that a checker puts the other way round. Pairs
  that were a tie before cannot be turned.
- *contradiction rate*: circles (A over B, B over C, C over A) among the triples that a judge compared (AMP, arXiv
  2405.11165, section 4.6: people 14.4%, GPT-4V 11.95%).

The standard response is left out everywhere: checkers keep it best, so that it would count as agreement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from operator import itemgetter
from typing import Any

from seelevel.errors import InputError
from seelevel.ladder import Ladder
from seelevel.levels import kendall_tau_b
from seelevel.scorers.intervals import Figure, Measure, figures, ratio

BEFORE = "before"
"""The name of the order before the check."""
TAU, BEST, LADDERS, PAIRS, TIED = "tau_b", "same_best", "turned_ladders", "turned_pairs", "tied_pairs"
MEASURES = [Measure(name, itemgetter(name), ratio) for name in (TAU, BEST, LADDERS, PAIRS, TIED)]


@dataclass(frozen=True)
class Order:
    """The levels of one ladder's responses without the standard one, in the places that they had before the check.

    `levels` is None if the checker left the ladder unchecked. `cluster` is resampled as a whole.
    """

    cluster: str
    before: tuple[int, ...]
    levels: tuple[int, ...] | None
    triples: int = 0
    circles: int = 0


def order_of(given: Ladder, checked: Ladder) -> Order:
    """What a checker made of a ladder."""
    levels: dict[str, list[int]] = {}
    for response in checked.responses:
        levels.setdefault(response.id, []).append(response.level)
    note, kept = checked.check, [response for response in given.responses if not response.is_standard]
    return Order(
        given.interaction,
        tuple(response.level for response in kept),
        None if note is None or note.unchecked else tuple(levels[response.id].pop(0) for response in kept),
        0 if note is None else note.triples,
        0 if note is None else note.circles,
    )


def audit(checkers: Mapping[str, Sequence[Order]]) -> dict[str, Any]:
    """{"ladders", "checkers": {name: figures}, "agreement": [{"of": [name, name], "tau_b", "same_best"}]}.

    checkers: by name, the orders of the same ladders. Every figure has its 95% interval. The order before the check is
    compared as one more checker. Raises `InputError` if there is no ladder.
    """
    orders = next(iter(checkers.values()))
    if not orders:
        raise InputError("there is no ladder to check; run `seelevel generate` on this recipe with data")
    before = [Order(order.cluster, order.before, order.before) for order in orders]
    named = {**checkers, BEFORE: before}
    return {
        "ladders": len(orders),
        "checkers": {name: _turns(of_checker) for name, of_checker in checkers.items()},
        "agreement": [{"of": [a, b], **agreement(named[a], named[b])} for a, b in combinations(named, 2)],
    }


def agreement(a: Sequence[Order], b: Sequence[Order]) -> dict[str, Figure]:
    """`tau_b` and `same_best` of two checkers."""
    items = []
    for x, y in zip(a, b, strict=True):
        if x.levels is not None and y.levels is not None and len(x.levels) > 1:
            tau, same = kendall_tau_b(x.levels, y.levels), _best(x.levels) == _best(y.levels)
            items.append({"cluster": x.cluster, TAU: None if tau is None else [tau, 1], BEST: [same, 1]})
    return figures(MEASURES[:2], items)


def _best(levels: Sequence[int]) -> list[int]:
    return [place for place, level in enumerate(levels) if level == min(levels)]


def _turns(orders: Sequence[Order]) -> dict[str, Any]:
    """What a checker did with the order before it."""
    items = []
    for order in orders:
        if order.levels is not None:
            places = list(combinations(range(len(order.levels)), 2))
            ordered = [(i, j) for i, j in places if order.before[i] != order.before[j]]
            turned = sum(
                (order.before[i] - order.before[j]) * (order.levels[i] - order.levels[j]) < 0 for i, j in ordered
            )
            tied = sum(order.levels[i] == order.levels[j] for i, j in places)
            items.append({
                "cluster": order.cluster,
                LADDERS: [turned > 0, 1] if ordered else None,
                PAIRS: [turned, len(ordered)] if ordered else None,
                TIED: [tied, len(places)] if places else None,
            })  # fmt: skip
    triples, circles = sum(order.triples for order in orders), sum(order.circles for order in orders)
    return {
        "checked": len(items),
        "unchecked": len(orders) - len(items),
        **figures(MEASURES[2:], items),
        "triples": triples,
        "circles": circles,
        "contradiction_rate": circles / triples if triples else None,
    }


def table(report: Mapping[str, Any]) -> str:
    """The report of `audit` as text."""
    width = max(len(f"{a} – {b}") for a, b in (row["of"] for row in report["agreement"])) + 2
    lines = [f"{'agreement':{width}}" + f"{'τ_b':>22}{'ladders':>9}{'same best':>22}{'ladders':>9}"]
    for row in report["agreement"]:
        cells = [f"{_text(row[key]):>22}{row[key]['n']:>9}" for key in (TAU, BEST)]
        lines.append(f"{' – '.join(row['of']):{width}}" + "".join(cells))
    heads = ("turned ladders", "turned pairs", "tied pairs", "contradictions")
    lines += ["", f"{'checker':{width}}" + "".join(f"{head:>22}" for head in heads) + f"{'unchecked':>11}"]
    for name, row in report["checkers"].items():
        rate = "–" if row["contradiction_rate"] is None else f"{row['circles']} of {row['triples']}"
        cells = [*(_text(row[key]) for key in (LADDERS, PAIRS, TIED)), rate]
        lines.append(f"{name:{width}}" + "".join(f"{cell:>22}" for cell in cells) + f"{row['unchecked']:>11}")
    return "\n".join(lines)


def _text(figure: Figure) -> str:
    if figure["value"] is None:
        return "–"
    interval = "" if figure["low"] is None else f" [{figure['low']:.2f}, {figure['high']:.2f}]"
    return f"{figure['value']:.2f}{interval}"

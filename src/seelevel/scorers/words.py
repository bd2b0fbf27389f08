"""The words of a figure: its label, its meaning, and which direction is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher", "neither"]
Kind = Literal["rate", "score"]
Table = Literal["main", "details", "rounds"]


@dataclass(frozen=True)
class Chance:
    """How to tell that a model guesses: the interval of its accuracy contains the accuracy that guessing reaches.

    accuracy, level: the names of the two figures. default: the level for a metrics.json that has no such figure.
    """

    accuracy: str
    level: str
    default: float


@dataclass(frozen=True)
class Metric:
    """How the report shows one figure of metrics.json.

    kind: a `rate` is a fraction and shown in percent; a `score` is shown as it is, from 0 to `top`.
    signed: the figure is a difference itself, so it is shown with its sign.
    headline: the figure opens the page. `gloss` replaces its label there.
    chance: if the base model guesses, the report gives this figure no verdict and keeps it out of the headline.
    table: `details` is a fold-out table; `rounds` is the part about answers to feedback.
    beside: it tells how much the answers say, and is shown beside the other figures: saying less invents less.
    """

    label: str
    meaning: str
    better: Better
    kind: Kind = "rate"
    top: float = 1.0
    signed: bool = False
    headline: bool = False
    gloss: str = ""
    table: Table = "main"
    chance: Chance | None = None
    beside: bool = False

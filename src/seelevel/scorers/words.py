"""The words of a figure: its label, its meaning, and which direction is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher", "neither"]
Kind = Literal["rate", "score"]
Table = Literal["main", "details", "rounds"]


@dataclass(frozen=True)
class Metric:
    """How the report shows one figure of metrics.json.

    kind: a `rate` is a fraction and shown in percent; a `score` is shown as it is, from 0 to `top`.
    signed: the figure is a difference itself, so it is shown with its sign.
    headline: the figure opens the page. `gloss` replaces its label there.
    table: `details` is a fold-out table; `rounds` is the part about answers to feedback.
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

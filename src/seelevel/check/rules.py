"""From figures of the responses to their levels, as several checkers do it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Rule = Literal["f1", "f0.5", "f2", "precision", "recall"]
DIGITS = 5
"""Decimals of every figure that a checker ranks by."""
WEIGHTS = {"f1": 1.0, "f0.5": 0.5, "f2": 2.0}
"""How many times as much recall counts as precision, by rule."""


def figure(precision: float, recall: float, rule: str) -> float:
    """What a response is ranked by: precision, recall or F_b (0 if both are 0)."""
    if rule not in WEIGHTS:
        return {"precision": precision, "recall": recall}[rule]
    square = WEIGHTS[rule] ** 2
    below = square * precision + recall
    return round((1 + square) * precision * recall / below, DIGITS) if below else 0.0


def close_levels(figures: Sequence[float], tolerance: float) -> list[int]:
    """Levels from 0 for figures, the highest best. A level holds all figures at most `tolerance` below its best."""
    level, best, level_of = 0, max(figures), dict[float, int]()
    for value in sorted(set(figures), reverse=True):
        if round(best - value, DIGITS) > tolerance:
            level, best = level + 1, value
        level_of[value] = level
    return [level_of[value] for value in figures]

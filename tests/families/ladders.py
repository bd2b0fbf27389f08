"""Ladders of the zoo: tokens drawn at random, pictures by hand, no processor."""

from __future__ import annotations

import numpy as np
import torch

from seelevel.training.packing.tokens import NOT_SCORED, TokenisedLadder, branch_point
from tests.families.family import Family, Inputs


class Pictures:
    """What `ImageReader.read` gives, of pictures that are drawn from their names."""

    def __init__(self, family: Family) -> None:
        self.family = family

    def read(self, names: tuple[str, ...]) -> Inputs:
        if not names:
            return {}
        drawn = [self.family.picture(torch.Generator().manual_seed(sum(map(ord, name)))) for name in names]
        inputs = self.family.join([drawn])
        if not self.family.float64:
            inputs = {name: v.float() if v.is_floating_point() else v for name, v in inputs.items()}
        return inputs


def ladder(
    family: Family,
    name: str,
    pictures: int,
    responses: int,
    seed: int,
    history: tuple[int, ...] = (),
    interaction: str = "",
) -> TokenisedLadder:
    """Responses of 4 to 9 tokens to a question about pictures; `history` goes on after the question."""
    draw = np.random.default_rng(seed)
    prefix = draw.integers(20, 290, 3 + seed % 4).tolist()
    spans = []
    for _ in range(pictures):
        prefix += draw.integers(20, 290, 2).tolist()
        spans.append((len(prefix), len(prefix) + len(family.span)))
        prefix += family.span
    prefix += [*draw.integers(20, 290, 4 + 3 * (seed % 3)).tolist(), *history]
    draw = np.random.default_rng(seed + len(history))
    answers = [draw.integers(20, 290, draw.integers(4, 10)).tolist() for _ in range(responses)]
    tokens = [np.array([*prefix, *answer]) for answer in answers]
    rounds = [np.array([NOT_SCORED] * len(prefix) + [0] * len(answer)) for answer in answers]
    names = tuple(f"{interaction or name}-{n}" for n in range(pictures))
    branch = branch_point(tokens, rounds)
    return TokenisedLadder(name, tokens, rounds, names, [spans] * responses, branch, interaction or name)


def ladders(family: Family, text_only: bool = True) -> list[TokenisedLadder]:
    """Prefixes of unequal length, K = 2 to 6, one and two pictures and none, and the two rounds of an interaction."""
    history = (50, 51, 52, 53, 54)
    found = [
        ladder(family, "one", 1, 3, seed=1),
        ladder(family, "two", 2, 2, seed=2),
        ladder(family, "talk", 1, 2, seed=3),
        ladder(family, "talk#1", 1, 2, seed=3, history=history, interaction="talk"),
        ladder(family, "six", 1, 6, seed=4),
    ]
    return [*found, ladder(family, "bare", 0, 2, seed=5)] if text_only else found

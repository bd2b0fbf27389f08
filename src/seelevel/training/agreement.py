"""Before training: do packed rows, and the head in chunks, really compute what the plain ways do, in this model?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from seelevel.progress import say
from seelevel.training.logprobs import distrust_head, from_head, from_logits, token_logprobs
from seelevel.training.packing import collate, row_length, rows_of
from seelevel.training.packing.families import why_not_shared
from seelevel.training.packing.tokens import NOT_SCORED, ImageReader, TokenisedLadder
from seelevel.training.settings import Layout

PADDINGS = (1, 7, 32)
TOLERANCE = 3.0
ROUNDINGS = 64
"""Roundings of the number format by which a token's log-prob may differ between a chunk of logits and all of them."""


def checked_layout(
    model: Any, ladders: Sequence[TokenisedLadder], images: ImageReader, wanted: Layout, budget: float = math.inf
) -> Layout:
    """`shared` if the model gives the same log-probs packed as in separate rows; else `rows`, and it says why.
    `budget`: of tokens, within which ladders share rows."""
    if wanted == "rows":
        return "rows"
    reason = why_not_shared(model.config) or _disagreement(model, ladders, images, budget)
    if reason:
        say(f"layout: rows in place of shared, because {reason}")
        return "rows"
    return "shared"


@torch.no_grad()
def check_head(model: Any, ladders: Sequence[TokenisedLadder], images: ImageReader) -> None:
    """Compare log-probs from the head in chunks with the model's own logits on the shortest ladder; where they differ,
    the model's own are used from then on, and it says so."""
    shortest = min(ladders, key=lambda ladder: ladder.row_length("rows"))
    training = model.training
    model.eval()
    batch = collate([shortest], images, "rows").to(next(model.parameters()).device)
    chunked = from_head(model, batch)
    if chunked is not None:
        own = from_logits(model, batch)
        worst = float((chunked - own).abs().max())
        if not worst <= ROUNDINGS * torch.finfo(_products(model)).eps * max(float(own.abs().max()), 1.0):
            distrust_head(model, f"gives log-probs that differ by {worst:.3g} in chunks of its head")
    model.train(training)


@torch.no_grad()
def _disagreement(model: Any, ladders: Sequence[TokenisedLadder], images: ImageReader, budget: float) -> str:
    """Compare on the longest row of each (pictures, rounds, ladders in the row) class. Rounding differs between any two
    shapes, so the yardstick is what padding alone changes, in the same model, over the same ladders; and the roundings
    of the sum itself, where chance leaves padding without an effect."""
    longest: dict[tuple[int, int, int], list[TokenisedLadder]] = {}
    for row in ([ladders[n] for n in members] for members in rows_of(ladders, budget)):
        kind = (len(row[0].images), max(one.best_rounds for one in row), len(row))
        if kind not in longest or row_length(row) > row_length(longest[kind]):
            longest[kind] = row
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    noise, worst, where = 0.0, 0.0, ""

    def sums(row: Sequence[TokenisedLadder], layout: Layout, pad: int) -> torch.Tensor:
        batch = collate(row, images, layout, pad).to(device)
        return torch.cat(token_logprobs(model, batch).per_response(0.0)).double()

    for row in longest.values():
        rows = sums(row, "rows", 0)
        for pad in PADDINGS:
            noise = max(noise, float((sums(row, "rows", pad) - rows).abs().max()))
        difference = float((sums(row, "shared", 0) - rows).abs().max())
        scored = max(int((rounds != NOT_SCORED).sum()) for ladder in row for rounds in ladder.rounds)
        noise = max(noise, (float(rows.abs().max()) + scored**0.5) * torch.finfo(_products(model)).eps)
        if difference > worst:
            worst, where = difference, ", ".join(ladder.id for ladder in row)
    model.train(training)
    if worst <= TOLERANCE * noise:
        return ""
    return f"packed log-probs differ by {worst:.3g} on ladder {where}, padding alone by {noise:.3g}"


def _products(model: Any) -> torch.dtype:
    """The number format that a model's products are of."""
    kind = next(model.parameters()).device.type
    chosen: torch.dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else model.dtype
    return chosen

"""Packing: K responses of a ladder in one row, so that picture and prompt go through the model once.

`shared`: a row is the prefix, then the K responses side by side. A token sees the prefix and its own response only, and
positions restart after the prefix for each response; so every token computes what it would in a row of its own.
`rows`: one row a response, the plain way. Both give the same log-probabilities and gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seelevel.errors import InputError
from seelevel.ladder import Ladder
from seelevel.training.settings import Layout
from seelevel.training.tokens import NOT_SCORED, ImageReader, TokenisedLadder, tokenise

PADDING = -1


@dataclass(frozen=True)
class Batch:
    """R rows of L tokens. N tokens are scored; they stand ladder by ladder, response by response, in text order.

    input_ids, position_ids, segments: [R, L]. A segment is 0 for the prefix, 1..K for a response's own tokens, -1 for
    padding; in `rows` a row is one segment 0. `images`: the model's picture inputs in the order of the picture tokens.
    source: [N], place (row · L + column) of the token whose output predicts the scored token; tokens, ladder (index in
    the batch), response (index in the ladder), round: [N]. sizes: K of each ladder.
    """

    layout: Layout
    input_ids: Tensor
    position_ids: Tensor
    segments: Tensor
    images: dict[str, Tensor]
    source: Tensor
    tokens: Tensor
    ladder: Tensor
    response: Tensor
    round: Tensor
    sizes: tuple[int, ...]
    ids: tuple[str, ...]

    def to(self, device: torch.device | str) -> Batch:
        moved: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, images={k: v.to(device) for k, v in self.images.items()}, **moved)


def pack(
    ladders: Sequence[Ladder], processor: Any, layout: Layout = "shared", images: ImageReader | None = None
) -> Batch:
    """Ladders to one batch (see the module's docstring). Raises `InputError` naming the ladder that cannot be packed.

    Nothing is ever cut: what `fits` refuses has to be left out before.
    """
    reader = images or ImageReader(processor)
    return collate([tokenise(ladder, processor, reader) for ladder in ladders], reader, layout)


def fits(ladder: TokenisedLadder, limit: int) -> str:
    """Why a ladder cannot be trained on with a context of `limit` tokens; empty when it can."""
    if ladder.longest > limit:
        return f"its longest conversation is {ladder.longest} tokens, the context {limit}"
    if any((r == NOT_SCORED).all() for r in ladder.rounds):
        return "a response has no token to score"
    return ""


def collate(ladders: Sequence[TokenisedLadder], images: ImageReader, layout: Layout, pad: int = 0) -> Batch:
    """Tokenised ladders to a batch, rows padded on the right; `pad` adds that many columns of padding."""
    rows: list[_Row] = []
    for number, ladder in enumerate(ladders):
        rows += _shared(number, ladder) if layout == "shared" else _separate(number, ladder)
    length = max(len(row.tokens) for row in rows) + pad
    grid = {name: np.zeros((len(rows), length), dtype=np.int64) for name in ("tokens", "positions")}
    segments = np.full((len(rows), length), PADDING, dtype=np.int64)
    for r, row in enumerate(rows):
        used = len(row.tokens)
        grid["tokens"][r, :used], grid["positions"][r, :used] = row.tokens, row.positions
        segments[r, :used] = row.segments
    scored = np.concatenate([row.scored for row in rows], axis=1)
    scored[0] += np.repeat(np.arange(len(rows)) * length, [row.scored.shape[1] for row in rows])
    source, tokens, ladder_of, response, rounds = (torch.from_numpy(part.copy()) for part in scored)
    return Batch(
        layout=layout,
        input_ids=torch.from_numpy(grid["tokens"]),
        position_ids=torch.from_numpy(grid["positions"]),
        segments=torch.from_numpy(segments),
        images=_join([_pictures(ladders[row.ladder], row.pictures, images) for row in rows]),
        source=source,
        tokens=tokens,
        ladder=ladder_of,
        response=response,
        round=rounds,
        sizes=tuple(len(ladder.tokens) for ladder in ladders),
        ids=tuple(ladder.id for ladder in ladders),
    )


@dataclass(frozen=True)
class _Row:
    """One row before padding. scored: [5, n] of source column, token, ladder, response, round; pictures: which of the
    ladder's pictures stand in the row, in order."""

    ladder: int
    tokens: np.ndarray[Any, np.dtype[np.int64]]
    positions: np.ndarray[Any, np.dtype[np.int64]]
    segments: np.ndarray[Any, np.dtype[np.int64]]
    scored: np.ndarray[Any, np.dtype[np.int64]]
    pictures: list[int]


def _shared(number: int, ladder: TokenisedLadder) -> list[_Row]:
    branch = ladder.branch
    tokens, positions, segments = [ladder.tokens[0][:branch]], [np.arange(branch)], [np.zeros(branch, dtype=np.int64)]
    pictures = [i for i, (start, _) in enumerate(ladder.image_spans[0]) if start < branch]
    scored, column = [], branch
    for k, (ids, rounds) in enumerate(zip(ladder.tokens, ladder.rounds, strict=True)):
        own = len(ids) - branch
        tokens.append(ids[branch:])
        positions.append(np.arange(branch, len(ids)))
        segments.append(np.full(own, k + 1, dtype=np.int64))
        pictures += [i for i, (start, _) in enumerate(ladder.image_spans[k]) if start >= branch]
        places = np.flatnonzero(rounds != NOT_SCORED)
        # The token before a response's first one is the prefix's last, wherever in the row the response stands.
        source = np.where(places == branch, branch - 1, places - 1 + (column - branch))
        scored.append(_scored(source, places, ids, rounds, number, k))
        column += own
    joined = [np.concatenate(part) for part in (tokens, positions, segments)]
    return [_Row(number, joined[0], joined[1], joined[2], np.concatenate(scored, axis=1), pictures)]


def _separate(number: int, ladder: TokenisedLadder) -> list[_Row]:
    rows = []
    for k, (ids, rounds) in enumerate(zip(ladder.tokens, ladder.rounds, strict=True)):
        places = np.flatnonzero(rounds != NOT_SCORED)
        scored = _scored(places - 1, places, ids, rounds, number, k)
        whole = np.arange(len(ids))
        rows.append(_Row(number, ids, whole, np.zeros_like(whole), scored, list(range(len(ladder.image_spans[k])))))
    return rows


def _scored(source: Any, places: Any, ids: Any, rounds: Any, ladder: int, response: int) -> Any:
    same = np.ones_like(places)
    return np.stack([source, ids[places], same * ladder, same * response, rounds[places]])


def _pictures(ladder: TokenisedLadder, which: list[int], images: ImageReader) -> dict[str, Tensor]:
    inputs = images.read(ladder.images)
    if which == list(range(len(ladder.images))):
        return inputs
    index = torch.tensor(which)
    if any(len(value) != len(ladder.images) for value in inputs.values()):
        raise InputError(
            f"ladder {ladder.id}: its pictures after the first turn cannot be told apart in this family's packed rows; "
            "set align.layout: rows"
        )
    return {key: value[index] for key, value in inputs.items()}


def _join(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    filled = [part for part in parts if part]
    return {key: torch.cat([part[key] for part in filled]) for key in (filled[0] if filled else {})}

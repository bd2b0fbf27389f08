"""Packing: K responses of a ladder in one row, so that picture and prompt go through the model once.

`shared`: a row is the prefix, then the K responses side by side. A token sees the prefix and its own response only, and
positions restart after the prefix for each response; so every token computes what it would in a row of its own.
`rows`: one row a response, the plain way. Both give the same log-probabilities and gradients.

Ladders that are the rounds of one interaction share a row too, where a later round's prompt is what was said before:

    picture, question | first answers, side by side | answer and words of the user | second answer | answer and words …

What is history runs on through the row, each response branches off it; a token sees the history before it and its own
response. Picture, question and every turn of the history are computed once, whatever the number of rounds. An answer
that is refined is computed twice: scored, behind the condition of its own round, and as history, without conditions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seelevel.errors import InputError
from seelevel.ladder import Ladder
from seelevel.training.packing.tokens import NOT_SCORED, ImageReader, TokenisedLadder, common_prefix, tokenise
from seelevel.training.schedule import group_into_rows
from seelevel.training.settings import Layout

PADDING = -1


@dataclass(frozen=True)
class Batch:
    """R rows of L tokens. N tokens are scored; they stand ladder by ladder, response by response, in text order.

    input_ids, position_ids, segments: [R, L]. A segment is 0 for the prefix (where the rounds of an interaction share a
    row: for all history), 1, 2, … for each response's own tokens, -1 for padding; in `rows` a row is one segment 0.
    `images`: the model's picture inputs in the order of the picture tokens.
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


def collate(ladders: Sequence[TokenisedLadder], images: ImageReader, layout: Layout) -> Batch:
    """Tokenised ladders to a batch, rows padded on the right."""
    if layout == "shared":
        rows = [_shared({n: ladders[n] for n in row}) for row in rows_of(ladders)]
    else:
        rows = [row for number, ladder in enumerate(ladders) for row in _separate(number, ladder)]
    length = max(len(row.tokens) for row in rows)
    grid = {name: np.zeros((len(rows), length), dtype=np.int64) for name in ("tokens", "positions")}
    segments = np.full((len(rows), length), PADDING, dtype=np.int64)
    for r, row in enumerate(rows):
        used = len(row.tokens)
        grid["tokens"][r, :used], grid["positions"][r, :used] = row.tokens, row.positions
        segments[r, :used] = row.segments
    scored = np.concatenate([row.scored for row in rows], axis=1)
    scored[0] += np.repeat(np.arange(len(rows)) * length, [row.scored.shape[1] for row in rows])
    scored = scored[:, np.argsort(scored[2], kind="stable")]  # ladders of one row need not be neighbours in the batch
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


def rows_of(ladders: Sequence[TokenisedLadder], budget: float = math.inf) -> list[list[int]]:
    """Which ladders share a row in `shared`: indices, row by row. Rounds of one interaction do, where their row is not
    longer than `budget`; they need the same pictures, all of them in what their conversations share."""
    names = [ladder.interaction for ladder in ladders]
    return group_into_rows(names, lambda row: _joined_length([ladders[n] for n in row]), budget)


def row_length(ladders: Sequence[TokenisedLadder]) -> int:
    """Tokens of the row that ladders share: the history once, and every response's own."""
    ladders = _in_order(ladders)
    branches = _branches(ladders)
    return branches[-1] + sum(len(t) - b for one, b in zip(ladders, branches, strict=True) for t in one.tokens)


def _joined_length(ladders: Sequence[TokenisedLadder]) -> int | None:
    """`row_length`, None where the ladders are to stay apart: other pictures, or one ladder twice in a step."""
    if len({one.images for one in ladders}) > 1 or len({one.id for one in ladders}) < len(ladders):
        return None
    common = _branches(_in_order(ladders))[0]
    if any(end > common for one in ladders for spans in one.image_spans for _, end in spans):
        return None
    return row_length(ladders)


def _in_order(ladders: Sequence[TokenisedLadder]) -> list[TokenisedLadder]:
    """A later round has the longer history."""
    return sorted(ladders, key=lambda one: one.branch)


def _branches(ladders: Sequence[TokenisedLadder]) -> list[int]:
    """For each ladder of a row, in their order, how much history its responses branch off: as many tokens as all its
    conversations and those of the ladders after it begin with."""
    found = [ladders[-1].branch]
    for one, following in zip(ladders[-2::-1], ladders[:0:-1], strict=True):
        found.append(common_prefix(one.tokens[0], following.tokens[0], min(one.branch, found[-1])))
    return found[::-1]


@dataclass(frozen=True)
class _Row:
    """One row before padding. ladder: the first one in it; scored: [5, n] of source column, token, ladder, response,
    round; pictures: which of that ladder's pictures stand in the row, in order."""

    ladder: int
    tokens: np.ndarray[Any, np.dtype[np.int64]]
    positions: np.ndarray[Any, np.dtype[np.int64]]
    segments: np.ndarray[Any, np.dtype[np.int64]]
    scored: np.ndarray[Any, np.dtype[np.int64]]
    pictures: list[int]


def _shared(ladders: dict[int, TokenisedLadder]) -> _Row:
    """The row of one ladder, or of several that share it, by their numbers in the batch."""
    order = sorted(ladders, key=lambda number: ladders[number].branch)
    branches = _branches([ladders[number] for number in order])
    pictures = [i for i, (start, _) in enumerate(ladders[order[0]].image_spans[0]) if start < branches[0]]
    tokens, positions, segments, scored = [], [], [], []
    column = history = segment = 0
    last = -1  # the column of the history's last token
    for number, branch in zip(order, branches, strict=True):
        ladder = ladders[number]
        tokens.append(ladder.tokens[0][history:branch])
        positions.append(np.arange(history, branch))
        segments.append(np.zeros(branch - history, dtype=np.int64))
        column += branch - history
        last = column - 1 if branch > history else last
        history = branch
        for k, (ids, rounds) in enumerate(zip(ladder.tokens, ladder.rounds, strict=True)):
            own, segment = len(ids) - branch, segment + 1
            tokens.append(ids[branch:])
            positions.append(np.arange(branch, len(ids)))
            segments.append(np.full(own, segment, dtype=np.int64))
            pictures += [i for i, (start, _) in enumerate(ladder.image_spans[k]) if start >= branch]
            places = np.flatnonzero(rounds != NOT_SCORED)
            # The token before a response's first one is the history's last, wherever in the row the response stands.
            source = np.where(places == branch, last, places - 1 + (column - branch))
            scored.append(_scored(source, places, ids, rounds, number, k))
            column += own
    joined = [np.concatenate(part) for part in (tokens, positions, segments)]
    return _Row(order[0], joined[0], joined[1], joined[2], np.concatenate(scored, axis=1), pictures)


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

"""Packing: ladders as passes of a model, so that picture and prompt go through it once.

A batch is a list of segments. A segment is one pass of the model over rows of tokens; it begins conversations, or
continues those of an earlier segment from the model's cache of keys and values.

`shared`: the common beginnings of the ladders (picture, prompt) are one segment. Their answers follow in segments of
their own, each answer on a copy of its prefix's cache. Where ladders are the rounds of one interaction, and a later
round's prompt is what was said before, the history goes on from segment to segment, and each round's answers branch
off it:

    picture, question ─┬─ answer, words of the user ─┬─ answer, words of the user ── …
                       ├─ first answer               ├─ second answer
                       └─ another first answer       └─ …

Picture, question and every turn of the history are computed once, whatever the number of answers and rounds. An answer
that is refined is computed twice: scored, behind the condition of its own round, and as history, without conditions.

`rows`: one row per answer, the plain way: one segment. Both give the same log-probabilities and gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seelevel.images import Picture
from seelevel.ladder import Ladder
from seelevel.training.packing.pictures import join
from seelevel.training.packing.tokens import NOT_SCORED, ImageReader, Ints, TokenisedLadder, common_prefix, tokenise
from seelevel.training.schedule import answer_groups, group_into_rows
from seelevel.training.settings import Layout

BEGINS = -1
"""The parent of a segment that begins conversations."""


@dataclass(frozen=True)
class Segment:
    """One pass of the model over n rows of L tokens.

    parent: the segment (its place in the batch) that it continues, `BEGINS` for none; owner [n], on the CPU: in whose
    row of the parent each row goes on. input_ids [n, L]; mask [n, L]: 1 at tokens, 0 at padding, which stands on the
    left where other segments continue this one (`padded_left`), else on the right; answer [n, L]: 1 from the first
    scored token of a row on. images: the model's picture inputs, row by row.
    source [s]: places (row · L + column) of the tokens whose output predicts a scored token; target [s]: which one,
    its number in the batch.
    """

    parent: int
    owner: Tensor
    input_ids: Tensor
    mask: Tensor
    answer: Tensor
    images: dict[str, Tensor]
    source: Tensor
    target: Tensor
    padded_left: bool = False

    def to(self, device: torch.device | str) -> Segment:
        images = {key: value.to(device) for key, value in self.images.items()}
        return replace(self, **{**_moved(self, device), "images": images, "owner": self.owner})


@dataclass(frozen=True)
class Batch:
    """Segments of which N tokens are scored; these stand ladder by ladder, response by response, in text order.

    tokens [N], ladder (index in the batch), response (index in the ladder), round: [N]. sizes: K of each ladder.
    again: segments are computed a second time in the backward pass, so that the activations of only one are kept at a
    time.
    """

    layout: Layout
    segments: tuple[Segment, ...]
    tokens: Tensor
    ladder: Tensor
    response: Tensor
    round: Tensor
    sizes: tuple[int, ...]
    ids: tuple[str, ...]
    again: bool = False

    def to(self, device: torch.device | str) -> Batch:
        return replace(self, segments=tuple(s.to(device) for s in self.segments), **_moved(self, device))

    @property
    def padded_tokens(self) -> int:
        """Tokens of all segments, padding included."""
        return sum(segment.input_ids.numel() for segment in self.segments)


def _moved(part: Segment | Batch, device: torch.device | str) -> dict[str, Any]:
    return {name: value.to(device) for name, value in vars(part).items() if isinstance(value, Tensor)}


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


def collate(
    ladders: Sequence[TokenisedLadder],
    images: ImageReader,
    layout: Layout,
    answers: int | None = None,
    unequal: bool = True,
) -> Batch:
    """Tokenised ladders to a batch. answers: the most answers in one segment, see `Batch.again`; None sets no limit.
    unequal: prefixes of one segment may be of unequal length."""
    facts, first = list[list[Any]](), list[list[int]]()
    count = 0
    for number, ladder in enumerate(ladders):
        first.append([])
        for k, (ids, turns) in enumerate(zip(ladder.tokens, ladder.rounds, strict=True)):
            places = np.flatnonzero(turns != NOT_SCORED)
            facts.append([ids[places], np.full_like(places, number), np.full_like(places, k), turns[places]])
            first[-1].append(count)
            count += len(places)
    tokens, ladder_of, response, rounds = (torch.from_numpy(np.concatenate(part)) for part in zip(*facts, strict=True))
    whole = range(len(ladders)) if layout == "rows" else [n for n, ladder in enumerate(ladders) if ladder.apart]
    units = [] if layout == "rows" else rows_of(ladders)
    segments = _shared([_unit({n: ladders[n] for n in unit}, first) for unit in units], images, answers, unequal)
    separate = [row for n in whole for row in _separate(ladders[n], first[n])]
    if separate and answers is None:
        segments.append(_segment(separate, images))
    elif separate:
        groups = answer_groups([len(row.tokens) for row in separate], answers)
        segments += [_segment([separate[n] for n in group], images) for group in groups]
    return Batch(
        layout=layout,
        segments=tuple(segments),
        tokens=tokens,
        ladder=ladder_of,
        response=response,
        round=rounds,
        sizes=tuple(len(ladder.tokens) for ladder in ladders),
        ids=tuple(ladder.id for ladder in ladders),
        again=answers is not None,
    )


def rows_of(ladders: Sequence[TokenisedLadder], budget: float = math.inf) -> list[list[int]]:
    """Which ladders share a prefix and its history in `shared`: indices, unit by unit, without ladders that stand
    apart. Rounds of one interaction do, where they are not longer than `budget`; they need the same pictures, all of
    them in what their conversations share."""
    together = [n for n, ladder in enumerate(ladders) if not ladder.apart]
    names = [ladders[n].interaction for n in together]
    groups = group_into_rows(names, lambda unit: _joined_length([ladders[together[i]] for i in unit]), budget)
    return [[together[i] for i in group] for group in groups]


def row_length(ladders: Sequence[TokenisedLadder]) -> int:
    """Tokens of ladders that share a prefix: the history once, and every response's own."""
    return sum(row_parts(ladders))


def row_parts(ladders: Sequence[TokenisedLadder]) -> tuple[int, int]:
    """Of the tokens of ladders that share a prefix: how many begin all conversations, and how many follow."""
    ladders = _in_order(ladders)
    branches = _branches(ladders)
    answers = sum(len(t) - b for ladder, b in zip(ladders, branches, strict=True) for t in ladder.tokens)
    return branches[0], branches[-1] - branches[0] + answers


def unique_tokens(ladders: Sequence[TokenisedLadder], layout: Layout, budget: float = math.inf) -> int:
    """Tokens of all ladders, without padding. In `shared` what a row shares counts once; `budget` as for `rows_of`."""
    units = rows_of(ladders, budget) if layout == "shared" else []
    separate = [ladder for ladder in ladders if ladder.apart or layout == "rows"]
    shared = sum(row_length([ladders[n] for n in unit]) for unit in units)
    return shared + sum(len(ids) for ladder in separate for ids in ladder.tokens)


def _joined_length(ladders: Sequence[TokenisedLadder]) -> int | None:
    """`row_length`, None where the ladders are to stay apart: other pictures, or one ladder twice in a step."""
    if len({one.images for one in ladders}) > 1 or len({one.id for one in ladders}) < len(ladders):
        return None
    common = _branches(_in_order(ladders))[0]
    if common == 0 or any(end > common for one in ladders for spans in one.image_spans for _, end in spans):
        return None
    return row_length(ladders)


def _in_order(ladders: Sequence[TokenisedLadder]) -> list[TokenisedLadder]:
    """A later round has the longer history."""
    return sorted(ladders, key=lambda one: one.branch)


def _branches(ladders: Sequence[TokenisedLadder]) -> list[int]:
    """For each ladder of a unit, in their order, how much history its responses branch off: as many tokens as all its
    conversations and those of the ladders after it begin with."""
    found = [ladders[-1].branch]
    for one, following in zip(ladders[-2::-1], ladders[:0:-1], strict=True):
        found.append(common_prefix(one.tokens[0], following.tokens[0], min(one.branch, found[-1])))
    return found[::-1]


@dataclass
class _Row:
    """A row before padding. pictures: the files of those that stand in it; answer: the column of its first scored
    token; source and target: columns, and the scored tokens that they predict."""

    tokens: Ints
    pictures: tuple[Picture, ...]
    answer: int
    source: Ints
    target: Ints

    def predict(self, columns: Ints, targets: Ints) -> None:
        self.source, self.target = np.append(self.source, columns), np.append(self.target, targets)


@dataclass(frozen=True)
class _Unit:
    """Ladders that share a prefix: the pieces of their history, and each answer with the piece that it follows."""

    history: list[_Row]
    answers: list[tuple[int, _Row]]


def _unit(ladders: dict[int, TokenisedLadder], first: Sequence[Sequence[int]]) -> _Unit:
    """One ladder, or several, by their numbers in the batch. first: the number of each response's first scored
    token."""
    order = sorted(ladders, key=lambda number: ladders[number].branch)
    unit, before = _Unit([], []), 0
    for number, branch in zip(order, _branches([ladders[number] for number in order]), strict=True):
        ladder = ladders[number]
        if branch > before:
            unit.history.append(_row(ladder, 0, before, branch))
            before = branch
        last = unit.history[-1]
        for k, rounds in enumerate(ladder.rounds):
            places = np.flatnonzero(rounds != NOT_SCORED)
            targets = first[number][k] + np.arange(len(places))
            # The token before a response's first one is the history's last.
            begin = places == branch
            last.predict(np.full(begin.sum(), len(last.tokens) - 1), targets[begin])
            if places[-1] > branch:
                unit.answers.append((len(unit.history) - 1, _row(ladder, k, branch, int(places[-1]))))
                unit.answers[-1][1].predict(places[~begin] - 1 - branch, targets[~begin])
    return unit


def _separate(ladder: TokenisedLadder, first: Sequence[int]) -> list[_Row]:
    rows = [_row(ladder, k, 0, len(ids)) for k, ids in enumerate(ladder.tokens)]
    for row, rounds, start in zip(rows, ladder.rounds, first, strict=True):
        places = np.flatnonzero(rounds != NOT_SCORED)
        row.predict(places - 1, start + np.arange(len(places)))
    return rows


def _row(ladder: TokenisedLadder, k: int, start: int, end: int) -> _Row:
    """Part of a conversation, without what it predicts."""
    spans = zip(ladder.images, ladder.image_spans[k], strict=True)
    pictures = tuple(path for path, (begin, stop) in spans if start <= begin and stop <= end)
    scored = np.flatnonzero(ladder.rounds[k] != NOT_SCORED)
    none = np.empty(0, dtype=np.int64)
    return _Row(ladder.tokens[k][start:end], pictures, max(int(scored[0]) - start, 0), none, none)


def _shared(units: Sequence[_Unit], images: ImageReader, most: int | None, unequal: bool) -> list[Segment]:
    """The segments of units: all beginnings, then what continues each history, then the answers."""
    together: dict[int, list[int]] = {}
    for number, unit in enumerate(units):
        together.setdefault(0 if unequal else len(unit.history[0].tokens), []).append(number)
    segments, begun = list[Segment](), dict[int, tuple[int, int]]()
    for group in together.values():
        begun |= {number: (len(segments), row) for row, number in enumerate(group)}
        segments.append(_segment([units[number].history[0] for number in group], images, continued=True))
    answers: dict[int, list[tuple[int, _Row]]] = {}
    for number, unit in enumerate(units):
        pieces = [begun[number]]
        for piece in unit.history[1:]:
            parent, row = pieces[-1]
            pieces.append((len(segments), 0))
            segments.append(_segment([piece], images, parent, [row], continued=True))
        for place, answer in unit.answers:
            parent, owner = pieces[place]
            answers.setdefault(parent, []).append((owner, answer))
    for parent, rows in answers.items():
        for group in answer_groups([len(row.tokens) for _, row in rows], most):
            owners, chosen = zip(*sorted((rows[n] for n in group), key=lambda row: row[0]), strict=True)
            segments.append(_segment(chosen, images, parent, owners))
    return segments


def _segment(
    rows: Sequence[_Row],
    images: ImageReader,
    parent: int = BEGINS,
    owner: Sequence[int] = (),
    continued: bool = False,
) -> Segment:
    # In a row of one token linear attention goes another way, which writes into the cache.
    length = max(max(len(row.tokens) for row in rows), 1 if continued else 2)
    grid = np.zeros((3, len(rows), length), dtype=np.int64)
    for r, row in enumerate(rows):
        used = slice(length - len(row.tokens), None) if continued else slice(len(row.tokens))
        grid[0, r, used], grid[1, r, used], grid[2, r, used][row.answer :] = row.tokens, 1, 1
    columns = [row.source + (r * length + (length - len(row.tokens)) * continued) for r, row in enumerate(rows)]
    tokens, mask, answer = torch.from_numpy(grid)
    return Segment(
        parent=parent,
        owner=torch.tensor(owner, dtype=torch.long),
        input_ids=tokens,
        mask=mask,
        answer=answer,
        images=join([images.read(row.pictures) for row in rows]),
        source=torch.from_numpy(np.concatenate(columns)),
        target=torch.from_numpy(np.concatenate([row.target for row in rows])),
        padded_left=continued and bool((grid[1] == 0).any()),
    )

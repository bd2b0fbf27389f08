"""Before training: does the shared prefix compute what separate rows do, in this model?

A fault (an answer on the cache of another ladder, a wrong position, the wrong picture) must not hide behind rounding,
and rounding must not be taken for a fault. Two comparisons tell them apart:

1. *Agreement.* Both layouts score the same tokens. No token's log-prob differs by more than `BOUND` times what rounding
   moves the log-probs by, which is measured in the model itself (`seelevel.training.rounding`). Layouts that are right
   differ by less than twice that. A fault is a matter of masks and positions, not of the number format. So a model in
   bfloat16 is compared in bfloat16, where rounding hides small faults, and once more in float32, where it does not.
2. *Isolation.* Some responses get other tokens; the log-probs of the others may not move. Shapes stay the same, so
   nothing is rounded in another way: not one bit may change. Some models compute a token differently in other company
   (mixtures of experts, for instance). They show it in `rows` too, where responses have nothing in common, or when one
   batch is computed twice. Then the bound is that of agreement.

Neither needs to know how a layout is computed: only the log-probs of the tokens are compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from seelevel.progress import say
from seelevel.training.comparing import BOUND, evaluating, few, largest, names_of, noise_of, same_tokens, scores
from seelevel.training.packing import row_length, row_parts, rows_of
from seelevel.training.packing.inputs import why_not_shared
from seelevel.training.packing.tokens import ImageReader, TokenisedLadder
from seelevel.training.rounding import FLOAT32, in_float32, unit
from seelevel.training.settings import Layout

Twin = Callable[[], Any]
"""Loads a model again, in float32. Raises `MemoryError` if there is no room."""


class Agreed(NamedTuple):
    """The layout that is right for a model, and whether the prefixes of a pass may be of unequal length."""

    layout: Layout
    unequal: bool = True


def checked_layout(
    model: Any,
    ladders: Sequence[TokenisedLadder],
    images: ImageReader,
    wanted: Layout,
    budget: float = math.inf,
    twin: Twin | None = None,
) -> Agreed:
    """`shared` if the model gives the same log-probs on a shared prefix as in separate rows; else `rows`, and why.
    `budget`: of tokens, within which ladders share a prefix. `twin`: see `disagreement`."""
    if wanted == "rows":
        return Agreed("rows")
    reason = why_not_shared(model)
    if not reason:
        longest, others = _units_to_compare(few(ladders), budget)
        mixed = [[*members, *(one for other in others if other is not members for one in other)] for members in longest]
        reason = disagreement(model, mixed, images, twin)
        if reason and mixed != longest and not disagreement(model, longest, images, twin):
            say(f"layout: shared, with one prefix in a pass, because with prefixes of unequal length {reason}")
            return Agreed("shared", unequal=False)
    if reason:
        say(f"layout: rows instead of shared, because {reason}")
        return Agreed("rows")
    return Agreed("shared")


@torch.no_grad()
def disagreement(
    model: Any, rows: Sequence[Sequence[TokenisedLadder]], images: ImageReader, twin: Twin | None = None
) -> str:
    """Why a shared prefix does not give what separate rows do, in the format that trains and in float32; empty if it
    does. rows: the ladders of each batch. twin: the same weights in float32; None: the model's are cast in place."""
    with evaluating(model):
        reason = _apart(model, rows, images)
        if reason or unit(model) <= FLOAT32:
            return reason or _leak(model, rows, images)
        try:
            model = model if twin is None else twin()
            with evaluating(model), in_float32(model):
                return _apart(model, rows, images) or _leak(model, rows, images)
        except MemoryError:
            say("layout: no room to compare the layouts in float32; compared in the format that trains alone")
            return _leak(model, rows, images)


def _units_to_compare(
    ladders: Sequence[TokenisedLadder], budget: float
) -> tuple[list[list[TokenisedLadder]], list[list[TokenisedLadder]]]:
    """What to compare: the ladders with the most tokens of each class of (pictures, rounds, ladders that share a
    prefix); and, for padding of several widths, ladders with other lengths of prefix: the two shortest and a medium
    one."""
    units = [[ladders[n] for n in members] for members in rows_of(ladders, budget)]
    longest: dict[tuple[int, int, int], list[TokenisedLadder]] = {}
    for members in units:
        kind = (len(members[0].images), max(one.best_rounds for one in members), len(members))
        if kind not in longest or row_length(members) > row_length(longest[kind]):
            longest[kind] = members
    by_length = {row_parts(members)[0]: members for members in reversed(units)}
    lengths = sorted(by_length)
    chosen = sorted({*lengths[:2], *lengths[len(lengths) // 2 :][:1]})
    return list(longest.values()), [by_length[length] for length in chosen]


def _apart(model: Any, rows: Sequence[Sequence[TokenisedLadder]], images: ImageReader) -> str:
    """Where agreement fails, and by how much; empty if it holds."""
    noise, worst, where = 0.0, 0.0, ""
    for row in rows:
        separate = scores(model, row, images, "rows")
        try:
            packed = scores(model, row, images, "shared")
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a family's own code does with a cache
            return f"the model does not continue a cached prefix ({type(error).__name__}: {error})"
        if not same_tokens(separate, packed):
            return f"a shared prefix scores other tokens on ladder {names_of(row)}"
        difference = largest(separate.values, packed.values)
        noise = max(noise, noise_of(model, row, images, separate.values))
        if not difference <= worst:
            worst, where = difference, names_of(row)
    if worst <= BOUND * noise:
        return ""
    return f"log-probs differ by {worst:.3g} on ladder {where}, rounding explains {noise:.3g}"


def _leak(model: Any, rows: Sequence[Sequence[TokenisedLadder]], images: ImageReader) -> str:
    """Where isolation fails, and by how much; empty if it holds."""
    for row in rows:
        before = scores(model, row, images, "shared")
        for changed, kept in _some_changed(row):
            moved = largest(before.values[kept], scores(model, changed, images, "shared").values[kept])
            if moved == 0:
                continue
            separate = scores(model, row, images, "rows").values
            company = any(
                not torch.equal(separate[others], scores(model, texts, images, "rows").values[others])
                for texts, others in _some_changed(row)
            )
            again = largest(before.values, scores(model, row, images, "shared").values)
            allowed = BOUND * noise_of(model, row, images, separate) if company or again else 0.0
            if not moved <= allowed:
                return f"log-probs move by {moved:.3g} with the text of other responses on ladder {names_of(row)}"
    return ""


def _some_changed(row: Sequence[TokenisedLadder]) -> Iterator[tuple[list[TokenisedLadder], Tensor]]:
    """The row with other tokens in some of its responses, and which scored tokens [N] are those of the others. Of any
    two responses, each is once changed while the other is not: they differ in a binary digit of their numbers."""
    scored = [int((rounds >= 0).sum()) for ladder in row for rounds in ladder.rounds]
    numbers = np.arange(len(scored))
    other = _other_tokens(row)
    for digit in range((len(scored) - 1).bit_length()):
        for value in (0, 1):
            change = (numbers >> digit) % 2 == value
            start, changed = 0, list[TokenisedLadder]()
            for ladder in row:
                parts = zip(ladder.tokens, ladder.image_spans, change[start:], strict=False)
                tokens = [_changed(ids, spans, ladder.branch, other) if is_ else ids for ids, spans, is_ in parts]
                changed.append(replace(ladder, tokens=tokens))
                start += len(tokens)
            yield changed, torch.from_numpy(np.repeat(~change, scored))


def _other_tokens(row: Sequence[TokenisedLadder]) -> dict[int, int]:
    """For each token id of the row's texts another one of them."""
    texts = [_outside(ids, spans) for one in row for ids, spans in zip(one.tokens, one.image_spans, strict=True)]
    ids = np.unique(np.concatenate(texts)).tolist()
    return dict(zip(ids, ids[1:] + ids[:1], strict=True))


def _outside(ids: Any, spans: Sequence[tuple[int, int]]) -> Any:
    """Token ids outside pictures."""
    inside = np.zeros(len(ids), dtype=bool)
    for start, end in spans:
        inside[start:end] = True
    return ids[~inside]


def _changed(ids: Any, spans: Sequence[tuple[int, int]], branch: int, other: dict[int, int]) -> Any:
    """The conversation with other tokens after `branch`; pictures stay."""
    changed = np.array([*ids[:branch], *(other.get(int(i), int(i)) for i in ids[branch:])], dtype=ids.dtype)
    for start, end in spans:
        changed[start:end] = ids[start:end]
    return changed

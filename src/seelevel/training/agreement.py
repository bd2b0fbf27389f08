"""Before training: do the shared prefix and the head in chunks compute what the plain ways do, in this model?

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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from seelevel.errors import InputError
from seelevel.progress import say
from seelevel.training.compiling import do_not_compile, is_compiled, uncompiled
from seelevel.training.liger import discard_liger, has_liger, without_liger
from seelevel.training.logprobs import distrust_head, from_head, from_logits, token_logprobs
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.packing import collate, row_length, row_parts, rows_of
from seelevel.training.packing.inputs import base, why_not_shared
from seelevel.training.packing.tokens import ImageReader, TokenisedLadder
from seelevel.training.rounding import FLOAT32, in_float32, stirred, unit
from seelevel.training.settings import Layout

BOUND = 8.0
"""By how much more than measured rounding a log-prob may differ: see docs/log.md, 2026-11-27."""
DRAWS = 2
MOST_ANSWERS = 4
"""Answers of a ladder that are compared: in separate rows all at once must fit into memory."""
LONG = 4096
"""Tokens from which on each row has a pass of its own: the mask of padded rows grows with the square of the length."""


class Agreed(NamedTuple):
    """The layout that is right for a model, and whether the prefixes of a pass may be of unequal length."""

    layout: Layout
    unequal: bool = True


def checked_layout(
    model: Any, ladders: Sequence[TokenisedLadder], images: ImageReader, wanted: Layout, budget: float = math.inf
) -> Agreed:
    """`shared` if the model gives the same log-probs on a shared prefix as in separate rows; else `rows`, and why.
    `budget`: of tokens, within which ladders share a prefix."""
    if wanted == "rows":
        return Agreed("rows")
    reason = why_not_shared(model)
    if not reason:
        longest, others = _units_to_compare(_few(ladders), budget)
        mixed = [[*members, *(one for other in others if other is not members for one in other)] for members in longest]
        reason = disagreement(model, mixed, images)
        if reason and mixed != longest and not disagreement(model, longest, images):
            say(f"layout: shared, with one prefix in a pass, because with prefixes of unequal length {reason}")
            return Agreed("shared", unequal=False)
    if reason:
        say(f"layout: rows instead of shared, because {reason}")
        return Agreed("rows")
    return Agreed("shared")


@torch.no_grad()
def check_head(model: Any, ladders: Sequence[TokenisedLadder], images: ImageReader) -> None:
    """Compare log-probs from the head in chunks with the model's own logits on the shortest ladder. If they differ by
    more than rounding explains, the model's own are used from then on, with a message."""
    shortest = min(_few(ladders), key=lambda ladder: ladder.longest)
    with _evaluating(model):
        batch = collate([shortest], images, "rows").to(next(model.parameters()).device)
        chunked = from_head(model, batch)
        if chunked is not None:
            worst = _largest(chunked, from_logits(model, batch))
            if not worst <= BOUND * _rounding(model, [shortest], images, chunked):
                distrust_head(model, f"gives log-probs that differ by {worst:.3g} in chunks of its head")


@torch.no_grad()
def check_rows(model: Any, ladders: Sequence[TokenisedLadder], images: ImageReader) -> None:
    """Raise `InputError` if the model cannot train even in `rows`: its forward pass fails, or the log-probs of a row
    depend on the other rows of its batch by more than rounding explains."""
    ladders = _few(ladders)
    ladder, kind = max(ladders, key=lambda ladder: ladder.longest), base(model).config.model_type
    last = replace(ladder, tokens=ladder.tokens[-1:], rounds=ladder.rounds[-1:], image_spans=ladder.image_spans[-1:])
    shortest = min(ladders, key=lambda ladder: ladder.longest)
    with _evaluating(model):
        try:
            alone = _scores(model, [last], images, "rows").values
            company = [_few([shortest], 1)[0], last] if last.longest > LONG else [shortest, ladder]
            batch = _scores(model, company, images, "rows", together=True).values[-len(alone) :]
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a family's own code does
            raise InputError(f"models of kind {kind} cannot be trained ({type(error).__name__}: {error})") from error
        moved = _largest(alone, batch)
        if not moved <= BOUND * _rounding(model, [last], images, alone):
            raise InputError(
                f"models of kind {kind} cannot be trained: the log-probs of a row move by {moved:.3g} with the other "
                f"rows of its batch, on ladder {ladder.id}"
            )


@torch.no_grad()
def check_compiled(model: Any, ladders: Sequence[TokenisedLadder], images: ImageReader) -> None:
    """Compare compiled layers, if the model has any, with the uncompiled ones on the shortest ladder. If log-probs
    differ by more than rounding explains, the compiled layers are discarded, and a message says so. Raises
    `InputError` if the layers cannot be compiled here."""
    if not is_compiled(model):
        return
    shortest = min(_few(ladders), key=lambda ladder: ladder.longest)
    with _evaluating(model):
        with uncompiled():
            plain = _scores(model, [shortest], images, "rows").values
        try:
            compiled = _scores(model, [shortest], images, "rows").values
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # no compiler, or an operation that it does not support
            cause = getattr(error, "inner_exception", error)
            reason = f"{type(cause).__name__}: {cause}".splitlines()[0]
            raise InputError(f"align.compile: layers cannot be compiled here ({reason}); set it to false") from error
        moved, noise = _largest(plain, compiled), _rounding(model, [shortest], images, plain)
        if not moved <= BOUND * noise:
            do_not_compile(model)
            say(f"align.compile: not compiled, because log-probs differ by {moved:.3g}, rounding explains {noise:.3g}")


@torch.no_grad()
def check_liger(model: Any, ladders: Sequence[TokenisedLadder], images: ImageReader) -> None:
    """Compare Liger's kernels, if the model has any, with plain layers on the shortest ladder. If log-probs differ by
    more than rounding explains, they are discarded, and a message says so. Raises `InputError` if they cannot run."""
    if not has_liger(base(model)):
        return
    shortest = min(_few(ladders), key=lambda ladder: ladder.longest)
    with _evaluating(model):
        with without_liger(base(model)):
            plain = _scores(model, [shortest], images, "rows").values
            noise = _rounding(model, [shortest], images, plain)
        try:
            moved = _largest(plain, _scores(model, [shortest], images, "rows").values)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a version of Triton or of transformers that Liger does not know
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise InputError(f"align.use_liger_kernel: its kernels fail here ({reason}); set it to false") from error
        if not moved <= BOUND * noise:
            discard_liger(base(model))
            say(f"align.use_liger_kernel: not used: log-probs differ by {moved:.3g}, rounding explains {noise:.3g}")


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """While open, the model is in evaluation mode."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@torch.no_grad()
def disagreement(model: Any, rows: Sequence[Sequence[TokenisedLadder]], images: ImageReader) -> str:
    """Why a shared prefix does not give what separate rows do, in the format that trains and in float32; empty if it
    does. rows: the ladders of each batch."""
    with _evaluating(model):
        reason = _apart(model, rows, images)
        if reason or unit(model) <= FLOAT32:
            return reason or _leak(model, rows, images)
        try:
            with in_float32(model):
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


def _few(ladders: Sequence[TokenisedLadder], most: int = MOST_ANSWERS) -> list[TokenisedLadder]:
    """The ladders with their first answers alone."""
    names = ("tokens", "rounds", "image_spans")
    return [replace(one, **{name: getattr(one, name)[:most] for name in names}) for one in ladders]


def _apart(model: Any, rows: Sequence[Sequence[TokenisedLadder]], images: ImageReader) -> str:
    """Where agreement fails, and by how much; empty if it holds."""
    noise, worst, where = 0.0, 0.0, ""
    for row in rows:
        separate = _scores(model, row, images, "rows")
        try:
            packed = _scores(model, row, images, "shared")
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a family's own code does with a cache
            return f"the model does not continue a cached prefix ({type(error).__name__}: {error})"
        if not _same_tokens(separate, packed):
            return f"a shared prefix scores other tokens on ladder {_names(row)}"
        difference = _largest(separate.values, packed.values)
        noise = max(noise, _rounding(model, row, images, separate.values))
        if not difference <= worst:
            worst, where = difference, _names(row)
    if worst <= BOUND * noise:
        return ""
    return f"log-probs differ by {worst:.3g} on ladder {where}, rounding explains {noise:.3g}"


def _leak(model: Any, rows: Sequence[Sequence[TokenisedLadder]], images: ImageReader) -> str:
    """Where isolation fails, and by how much; empty if it holds."""
    for row in rows:
        before = _scores(model, row, images, "shared")
        for changed, kept in _some_changed(row):
            moved = _largest(before.values[kept], _scores(model, changed, images, "shared").values[kept])
            if moved == 0:
                continue
            separate = _scores(model, row, images, "rows").values
            company = any(
                not torch.equal(separate[others], _scores(model, texts, images, "rows").values[others])
                for texts, others in _some_changed(row)
            )
            again = _largest(before.values, _scores(model, row, images, "shared").values)
            allowed = BOUND * _rounding(model, row, images, separate) if company or again else 0.0
            if not moved <= allowed:
                return f"log-probs move by {moved:.3g} with the text of other responses on ladder {_names(row)}"
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


def _scores(
    model: Any, row: Sequence[TokenisedLadder], images: ImageReader, layout: Layout, together: bool = False
) -> TokenLogprobs:
    """Log-probs of ladders. together: rows share a pass, also long ones."""
    alone = layout == "rows" and not together and max(ladder.longest for ladder in row) > LONG
    batch = collate(row, images, layout, 1) if alone else collate(row, images, layout)
    return token_logprobs(model, batch.to(next(model.parameters()).device))


def _same_tokens(one: TokenLogprobs, other: TokenLogprobs) -> bool:
    """Whether both score the same tokens of the same responses, in the same order."""
    names = ("tokens", "ladder", "response", "round")
    return one.sizes == other.sizes and all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


def _largest(one: Tensor, other: Tensor) -> float:
    """The largest difference between log-probs of the same tokens."""
    return float((one.double() - other.double()).abs().max())


def _rounding(model: Any, row: Sequence[TokenisedLadder], images: ImageReader, plain: Tensor) -> float:
    """The most that rounding moves a log-prob of these ladders by, and no less than a rounding of the log-prob itself.
    plain: [N], in separate rows."""
    if is_compiled(model):  # stirred layers run uncompiled, so what they are compared with must too
        with uncompiled():
            plain = _scores(model, row, images, "rows").values
    most = FLOAT32 * float(plain.abs().max())
    for seed in range(DRAWS):
        with stirred(model, seed):
            most = max(most, _largest(_scores(model, row, images, "rows").values, plain))
    return most


def _names(row: Sequence[TokenisedLadder]) -> str:
    return ", ".join(ladder.id for ladder in row)

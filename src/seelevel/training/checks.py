"""Before training: can this model be trained at all, and do the fast ways to compute its log-probs give what the plain
ones do? By how much they may differ: see `seelevel.training.agreement`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from seelevel.errors import InputError
from seelevel.progress import say
from seelevel.training.comparing import BOUND, LONG, evaluating, few, largest, noise_of, of_first, scores
from seelevel.training.compiling import do_not_compile, is_compiled, uncompiled
from seelevel.training.liger import discard_liger, has_liger, without_liger
from seelevel.training.logprobs import distrust_head, from_head, from_logits
from seelevel.training.packing import collate
from seelevel.training.packing.inputs import base
from seelevel.training.packing.tokens import ImageReader, TokenisedLadder


@torch.no_grad()
def check_head(model: Any, ladders: Sequence[TokenisedLadder], images: ImageReader) -> None:
    """Compare log-probs from the head in chunks with the model's own logits on the shortest ladder. If they differ by
    more than rounding explains, the model's own are used from then on, with a message."""
    shortest = min(few(ladders), key=lambda ladder: ladder.longest)
    with evaluating(model):
        batch = collate([shortest], images, "rows").to(next(model.parameters()).device)
        chunked = from_head(model, batch)
        if chunked is not None:
            chunked = of_first(model, chunked)
            worst = largest(chunked, of_first(model, from_logits(model, batch)))
            if not worst <= BOUND * noise_of(model, [shortest], images, chunked):
                distrust_head(model, f"gives log-probs that differ by {worst:.3g} in chunks of its head")


@torch.no_grad()
def check_rows(model: Any, ladders: Sequence[TokenisedLadder], images: ImageReader) -> None:
    """Raise `InputError` if the model cannot train even in `rows`: its forward pass fails, or the log-probs of a row
    depend on the other rows of its batch by more than rounding explains."""
    ladders = few(ladders)
    ladder, kind = max(ladders, key=lambda ladder: ladder.longest), base(model).config.model_type
    last = replace(ladder, tokens=ladder.tokens[-1:], rounds=ladder.rounds[-1:], image_spans=ladder.image_spans[-1:])
    shortest = min(ladders, key=lambda ladder: ladder.longest)
    with evaluating(model):
        try:
            alone = scores(model, [last], images, "rows").values
            company = [few([shortest], 1)[0], last] if last.longest > LONG else [shortest, ladder]
            batch = scores(model, company, images, "rows", together=True).values[-len(alone) :]
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a family's own code does
            raise InputError(f"models of kind {kind} cannot be trained ({type(error).__name__}: {error})") from error
        moved = largest(alone, batch)
        if not moved <= BOUND * noise_of(model, [last], images, alone):
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
    try:
        reason = _changed_by(model, ladders, images, uncompiled)
    except _FailsError as error:  # no compiler, or an operation that it does not support
        raise InputError(f"align.compile: layers cannot be compiled here ({error}); set it to false") from error
    if reason:
        do_not_compile(model)
        say(f"align.compile: not compiled, because {reason}")


@torch.no_grad()
def check_liger(model: Any, ladders: Sequence[TokenisedLadder], images: ImageReader) -> None:
    """Compare Liger's kernels, if the model has any, with plain layers on the shortest ladder. If log-probs differ by
    more than rounding explains, they are discarded, and a message says so. Raises `InputError` if they cannot run."""
    if not has_liger(base(model)):
        return
    try:
        reason = _changed_by(model, ladders, images, partial(without_liger, base(model)))
    except _FailsError as error:  # Liger does not know this version of Triton, for instance
        raise InputError(f"align.use_liger_kernel: its kernels fail here ({error}); set it to false") from error
    if reason:
        discard_liger(base(model))
        say(f"align.use_liger_kernel: not used: {reason}")


class _FailsError(Exception):
    """The layers that are not the plain ones cannot compute."""


def _changed_by(
    model: Any,
    ladders: Sequence[TokenisedLadder],
    images: ImageReader,
    plainly: Callable[[], AbstractContextManager[Any]],
) -> str:
    """By how much the log-probs of the shortest ladder differ from those inside `plainly`, if by more than rounding
    explains; else empty. Raises `_FailsError` if they cannot be computed."""
    shortest = min(few(ladders), key=lambda ladder: ladder.longest)
    with evaluating(model):
        with plainly():
            plain = scores(model, [shortest], images, "rows").values
            noise = noise_of(model, [shortest], images, plain)
        try:
            moved = largest(plain, scores(model, [shortest], images, "rows").values)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            cause = getattr(error, "inner_exception", error)
            raise _FailsError(f"{type(cause).__name__}: {cause}".splitlines()[0]) from error
    return "" if moved <= BOUND * noise else f"log-probs differ by {moved:.3g}, rounding explains {noise:.3g}"

"""Log-probs of a few ladders, to be compared with those of the same tokens computed in another way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from seelevel.training.compiling import is_compiled, uncompiled
from seelevel.training.logprobs import token_logprobs
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.packing import collate
from seelevel.training.packing.tokens import ImageReader, TokenisedLadder
from seelevel.training.rounding import FLOAT32, stirred
from seelevel.training.settings import Layout

BOUND = 8.0
"""By how much more than measured rounding a log-prob may differ: see docs/log.md, 2026-11-27."""
DRAWS = 2
MOST_ANSWERS = 4
"""Answers of a ladder that are compared: in separate rows all at once must fit into memory."""
LONG = 4096
"""Tokens from which on each row has a pass of its own: the mask of padded rows grows with the square of the length."""


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """While open, the model is in evaluation mode."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def few(ladders: Sequence[TokenisedLadder], most: int = MOST_ANSWERS) -> list[TokenisedLadder]:
    """The ladders with their first answers alone."""
    names = ("tokens", "rounds", "image_spans")
    return [replace(one, **{name: getattr(one, name)[:most] for name in names}) for one in ladders]


def scores(
    model: Any, row: Sequence[TokenisedLadder], images: ImageReader, layout: Layout, together: bool = False
) -> TokenLogprobs:
    """Log-probs of ladders. together: rows share a pass, also long ones."""
    alone = layout == "rows" and not together and max(ladder.longest for ladder in row) > LONG
    batch = collate(row, images, layout, 1) if alone else collate(row, images, layout)
    computed = token_logprobs(model, batch.to(next(model.parameters()).device))
    of_first(model, computed.values)
    return computed


def of_first(model: Any, values: Tensor) -> Tensor:
    """The values, replaced by the first process's if the model is split: all processes must decide alike, or they would
    wait for each other's next pass."""
    if isinstance(model, FSDPModule):
        dist.broadcast(values, 0)
    return values


def same_tokens(one: TokenLogprobs, other: TokenLogprobs) -> bool:
    """Whether both score the same tokens of the same responses, in the same order."""
    names = ("tokens", "ladder", "response", "round")
    return one.sizes == other.sizes and all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


def largest(one: Tensor, other: Tensor) -> float:
    """The largest difference between log-probs of the same tokens."""
    return float((one.double() - other.double()).abs().max())


def noise_of(model: Any, row: Sequence[TokenisedLadder], images: ImageReader, plain: Tensor) -> float:
    """The most that rounding moves a log-prob of these ladders by, and no less than a rounding of the log-prob itself.
    plain: [N], in separate rows."""
    if is_compiled(model):  # stirred layers run uncompiled, so what they are compared with must too
        with uncompiled():
            plain = scores(model, row, images, "rows").values
    most = FLOAT32 * float(plain.abs().max())
    for seed in range(DRAWS):
        with stirred(model, seed):
            most = max(most, largest(scores(model, row, images, "rows").values, plain))
    return most


def names_of(row: Sequence[TokenisedLadder]) -> str:
    return ", ".join(ladder.id for ladder in row)

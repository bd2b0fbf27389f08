"""Log-probabilities straight from the output head, in chunks: [tokens × vocabulary] never exists at once.

Inside `without_head`, a model's own forward pass runs as ever, but its head returns a witness instead of logits: a row
of known numbers. If they come out changed, this family caps or scales its logits after the head.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from seelevel.training.settings import HEAD_CHUNK, HEAD_KEPT

WITNESS = 64.0


def output_head(model: Any) -> nn.Linear | None:
    """The linear layer that makes a model's logits; None if it is another module, such as one with an adapter."""
    head = model.get_output_embeddings()
    return head if type(head) is nn.Linear else None


@contextmanager
def without_head(head: nn.Linear) -> Iterator[list[Tensor]]:
    """Make `head` return a witness, [1, 1, V], instead of logits; what it would have read is in the list that opens."""
    kept: list[Tensor] = []

    def before(module: nn.Module, args: tuple[Any, ...]) -> tuple[Tensor]:
        kept.append(args[0])
        return (args[0].flatten(0, -2)[None, :0],)

    def after(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        return _witness(head, output)[None, None]

    handles = [head.register_forward_pre_hook(before), head.register_forward_hook(after)]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def is_witness(head: nn.Linear, logits: Tensor) -> bool:
    """Whether a model's logits are what the head returned inside `without_head`."""
    return torch.equal(logits.detach().flatten(), _witness(head, logits))


def _witness(head: nn.Linear, like: Tensor) -> Tensor:
    """Numbers that any cap, scale, shift or mask of the logits changes."""
    return torch.linspace(-WITNESS, WITNESS, head.out_features, dtype=like.dtype, device=like.device)


def head_logprobs(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, tokens: Tensor, rows: int | None = None
) -> Tensor:
    """log softmax(hidden · weightᵀ + bias)[tokens], [N], in float32 at least. hidden: [N, d]; weight: [V, d].

    If the head is frozen, the forward pass also computes the gradient of each log-prob by its hidden state,
    W[token] − p · W, [N, d], so that nothing is computed twice. If the head trains, up to `HEAD_KEPT` probabilities are
    kept; with more, the backward pass recomputes each chunk. Inside autocast the products have its type, as the model's
    own have.
    """
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    rows = rows or max(HEAD_CHUNK // len(weight), 1)
    keep = len(tokens) * len(weight) <= HEAD_KEPT
    values: Tensor = _HeadLogprobs.apply(hidden, weight, bias, tokens, rows, dtype, keep)  # type: ignore[no-untyped-call]
    return values


class _HeadLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tokens: Tensor,
        rows: int,
        dtype: torch.dtype,
        keep: bool,
    ) -> Tensor:
        by_hidden, *by_head = ctx.needs_input_grad[:3]
        ctx.trained, ctx.parts, ctx.dtype = any(by_head), _chunks(len(tokens), rows), dtype
        slopes = torch.empty_like(hidden) if by_hidden and not ctx.trained else None
        kept, logprobs = [], []
        with torch.autocast(hidden.device.type, enabled=False):
            matrix = weight.to(dtype)
            for part in ctx.parts:
                p = _logits(hidden[part], matrix, bias, dtype).log_softmax(1)
                logprobs.append(p.gather(1, tokens[part, None]).squeeze(1))
                if slopes is not None:
                    slopes[part] = _slope(p.exp_().neg_(), tokens[part]).to(dtype) @ matrix
                elif ctx.trained and keep and by_hidden:
                    kept.append(p.exp_())
        ctx.save_for_backward(*((hidden, weight, bias, tokens, *kept) if ctx.trained else (slopes,)))
        return torch.cat(logprobs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        [grad] = grads
        if not ctx.trained:
            [slopes] = ctx.saved_tensors
            return slopes * grad[:, None].to(slopes.dtype), None, None, None, None, None, None
        hidden, weight, bias, tokens, *kept = ctx.saved_tensors
        dtype, (wants_hidden, wants_weight, wants_bias) = ctx.dtype, ctx.needs_input_grad[:3]
        by_hidden = torch.empty_like(hidden) if wants_hidden else None
        by_weight = torch.zeros_like(weight, dtype=grad.dtype) if wants_weight else None
        by_bias = torch.zeros_like(bias, dtype=grad.dtype) if wants_bias else None
        matrix = weight.to(dtype)
        for number, part in enumerate(ctx.parts):
            g = grad[part, None]
            p = kept[number] if kept else _logits(hidden[part], matrix, bias, dtype).softmax(1)
            slope = _slope(p * -g if kept else p.mul_(-g), tokens[part], g[:, 0])
            if by_bias is not None:
                by_bias += slope.sum(0)
            slope = slope.to(dtype)
            if by_hidden is not None:
                by_hidden[part] = slope @ matrix
            if by_weight is not None and dtype == by_weight.dtype:
                by_weight.addmm_(slope.T, hidden[part].to(dtype))
            elif by_weight is not None:  # a sum over chunks in the products' own type would lose small terms
                by_weight += slope.T @ hidden[part].to(dtype)
        return (
            by_hidden,
            None if by_weight is None else by_weight.to(weight.dtype),
            None if by_bias is None else by_bias.to(bias.dtype),
            None,
            None,
            None,
            None,
        )


def _chunks(count: int, rows: int) -> list[slice]:
    return [slice(start, min(start + rows, count)) for start in range(0, count, rows)]


def _logits(hidden: Tensor, matrix: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    logits = linear(hidden.to(dtype), matrix, None if bias is None else bias.to(dtype))
    return logits if logits.dtype == torch.float64 else logits.float()


def _slope(negative: Tensor, tokens: Tensor, grad: Tensor | float = 1.0) -> Tensor:
    """In place: turn −p · grad [n, V] into the gradient of log p[token] by the logits, (1{token} − p) · grad."""
    negative[torch.arange(len(tokens), device=tokens.device), tokens] += grad
    return negative

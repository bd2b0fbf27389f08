"""What one peer needs for a step, and whether it computes what the others do."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import torch

from benchmarks.arithmetic import wait
from benchmarks.attention import attention_calls
from benchmarks.memory import peak_bytes
from benchmarks.peers import PEERS, Peer, Task

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""Largest difference of gradients, ‖Δg‖/‖g‖, of a log-prob per token and of the loss, in nats. A wrong mask or position
shows in the first digit; rounding to bfloat16 in the third."""


class DisagreementError(AssertionError):
    """Two peers compute different things; there is nothing to time."""


class OutOfTimeError(Exception):
    """Time was up before a peer had taken a timed step."""


@dataclass
class Plan:
    """How peers are measured. repeats: timed steps. attention: see `attention_calls`. until: the moment, of
    `time.monotonic`, after which no step begins. forgiving: a peer that disagrees is measured nonetheless."""

    repeats: int
    attention: bool = False
    until: float = math.inf
    forgiving: bool = False


@dataclass
class Figures:
    """What a peer computes in one step: summed log-probs, gradient, loss; on the CPU."""

    logprobs: torch.Tensor
    gradient: torch.Tensor
    loss: float


@dataclass
class Measured:
    """What was measured of one peer. times: seconds of each step; batch_seconds: of reading and tokenising its ladders,
    a part of every step; tokens, peak_bytes: of a step; together: ladders of a pass; differences: from the first
    peer; failed: why there is nothing else."""

    together: int
    times: list[float] = field(default_factory=list)
    tokens: int = 0
    batch_seconds: float = 0.0
    peak_bytes: int = 0
    cached: bool = False
    differences: dict[str, float] = field(default_factory=dict)
    attention: list[dict[str, Any]] = field(default_factory=list)
    failed: str = ""


def in_turns(names: Sequence[str], task: Task, plan: Plan) -> Iterator[tuple[str, Measured]]:
    """All peers at once, step by step in turns, so that a busy moment of the machine falls on all."""
    peers = {name: _make(name, task) for name in names}
    results = {name: Measured(task.together) for name in names}
    first: Figures | None = None
    for name, peer in peers.items():
        figures = figures_of(peer)
        first = first or figures
        results[name].differences = _compared(name, figures, first, task, plan)
        peer.step()  # the optimiser's states appear, buffers warm
    for _ in range(plan.repeats):
        for name, peer in peers.items():
            results[name].times.append(_timed(peer))
    for name, peer in peers.items():
        _observe(peer, results[name], plan)
    yield from results.items()


def one_by_one(names: Sequence[str], task: Task, plan: Plan) -> Iterator[tuple[str, Measured]]:
    """A peer at a time, each from its making to its end: where memory is short and the machine our own. A peer whose
    pass does not fit into memory gets half as many ladders in a pass."""
    first: Figures | None = None
    for name in names:
        result = Measured(task.together)
        while not (result.tokens or result.failed):
            result.times.clear()
            try:
                first = _alone(name, replace(task, together=result.together), plan, result, first)
            except torch.OutOfMemoryError:
                if result.together == 1:
                    result.failed = "out of memory with one ladder in a pass"
                result.together = max(result.together // 2, 1)
            except OutOfTimeError:
                result.failed = "its time was up before a step was timed"
            gc.collect()
            torch.cuda.empty_cache()
        yield name, result


def _alone(name: str, task: Task, plan: Plan, result: Measured, first: Figures | None) -> Figures:
    """Fill in `result`; returns the figures to compare the next peer with."""
    _in_time(plan)
    peer = _make(name, task)
    figures = figures_of(peer)
    result.differences = _compared(name, figures, first or figures, task, plan)
    _in_time(plan)
    peer.step()  # the optimiser's states appear; the figures have warmed the rest
    for _ in range(plan.repeats):
        if not result.times or time.monotonic() < plan.until:
            result.times.append(_timed(peer))
    _observe(peer, result, plan)
    return first or figures


def _in_time(plan: Plan) -> None:
    if time.monotonic() > plan.until:
        raise OutOfTimeError


def _make(name: str, task: Task) -> Peer:
    module, kind = PEERS[name].split(":")
    peer: Peer = getattr(import_module(module), kind)(task)
    return peer


def _timed(peer: Peer) -> float:
    gc.collect()
    wait(peer.task.device)
    start = time.perf_counter()
    peer.step()
    wait(peer.task.device)
    return time.perf_counter() - start


def _observe(peer: Peer, result: Measured, plan: Plan) -> None:
    result.peak_bytes, result.cached = peak_bytes(peer), peer.cached
    result.attention = attention_calls(peer) if plan.attention else []
    start = time.perf_counter()
    result.tokens = peer.tokens()
    result.batch_seconds = time.perf_counter() - start


def figures_of(peer: Peer) -> Figures:
    logprobs = torch.cat([part.float().cpu() for part in peer.logprobs()])
    gradient, loss = peer.gradient()
    return Figures(logprobs, gradient.cpu(), loss)


def _compared(name: str, figures: Figures, first: Figures, task: Task, plan: Plan) -> dict[str, float]:
    """How far a peer is from the first one. Raises `DisagreementError` if that is more than rounding, unless the plan
    is forgiving."""
    lengths = torch.tensor([len(r.text.split()) + 1 for ladder in task.ladders for r in ladder.responses])
    logprobs = float(((figures.logprobs - first.logprobs).abs() / lengths).max())
    gradient = float((figures.gradient - first.gradient).norm() / first.gradient.norm())
    loss = abs(figures.loss - first.loss)
    differences = {"log-prob": logprobs, "gradient": gradient, "loss": loss}
    limit = TOLERANCE[task.shape.dtype]
    if not plan.forgiving and not agrees(differences, limit):
        raise DisagreementError(
            f"{name}: log-probs differ by {logprobs:.2g} a token, gradients by {gradient:.2g} of their norm, "
            f"the loss by {loss:.2g}; the limit is {limit:g}"
        )
    return differences


def agrees(differences: dict[str, float], limit: float) -> bool:
    """Whether differences are rounding's; NaN is not."""
    return all(value <= limit for value in differences.values())

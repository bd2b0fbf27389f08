"""What one optimiser step costs a ladder of K responses, in our layouts and in other trainers' ways.

    python -m benchmarks.train_step --peers trl rows-full rows shared --k 5 --json

Peers are compared before they are timed: summed log-probs, loss and gradient have to agree. On the processor they take
turns, step by step, so that a busy moment falls on all; the figure is the median. The last thing printed is one JSON
object {"settings": ..., "results": [{"peer", "seconds_per_ladder", "tokens_per_ladder", "peak_bytes", ...}, ...]}.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks.arithmetic import counted_flops, ladder_flops, matmul_flops, peak_flops, wait
from benchmarks.memory import peak_bytes
from benchmarks.peers import PEERS, Peer, Task
from benchmarks.shapes import SHAPES, Shape, make_ladder

SWEEPS = {"k": [2, 3, 4, 5, 6, 7, 8], "prefix": [200, 400, 616, 1200, 1800, 2400], "response": [40, 80, 160, 400]}
SPREAD = (0.75, 1.25)
"""Lengths of a ladder's responses, as shares of --response, from its first to its last: 60 to 100 at 80."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""Largest difference of gradients, ‖Δg‖/‖g‖, of a log-prob per token and of the loss, in nats. A wrong mask or position
shows in the first digit; rounding to bfloat16 in the third."""


class DisagreementError(AssertionError):
    """Two peers compute different things; there is nothing to time."""


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    options = _options(arguments)
    torch.set_num_threads(options.threads or torch.get_num_threads())
    device = torch.device(options.device)
    shape = SHAPES[options.shape]
    shape = replace(shape, vocab=options.vocab or shape.vocab, dtype=DTYPES.get(options.dtype, shape.dtype))
    speed = matmul_flops(shape, device)
    points = [{}] if options.sweep is None else [{options.sweep: value} for value in SWEEPS[options.sweep]]
    results: list[dict[str, Any]] = []
    agreement: list[dict[str, float]] = []
    for point in points:
        at = {"k": options.k, "prefix": options.prefix, "response": options.response, **point}
        found, differences = measure(options, shape.fitted(at["prefix"]), device, speed, **at)
        results += [{**result, **at} for result in found] if point else found
        agreement.append(differences)
        for result in found:
            _say(options, at, result)
    report = {"settings": _settings(options, shape, device, speed, agreement), "results": results}
    print(json.dumps(report) if options.json else json.dumps(report, indent=1))
    return report


def measure(
    options: argparse.Namespace, shape: Shape, device: torch.device, speed: float, k: int, prefix: int, response: int
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Results of all peers at one point, and by how much they differed from the first."""
    lengths = (round(SPREAD[0] * response), round(SPREAD[1] * response))
    with tempfile.TemporaryDirectory() as folder:
        ladders = [make_ladder(shape, Path(folder), k, prefix, lengths, seed) for seed in range(options.ladders)]
        task = Task(shape, ladders, device, options.checkpointing, options.together)
        names = list(options.peers)
        if device.type == "cuda":  # one after the other: memory is short there, and the machine our own
            times, facts, agreement = _one_by_one(names, task, options.repeats)
        else:
            times, facts, agreement = _in_turns(names, task, options.repeats)
    sizes = [len(text["content"].split()) + 1 for ladder in ladders for r in ladder.responses for text in r.messages]
    results = []
    for name in names:
        seconds = statistics.median(times[name]) / options.ladders
        cached = bool(facts[name]["cached"])
        flops = ladder_flops(shape, prefix, sizes[:k], reference=not cached)
        result = {
            "peer": name,
            "seconds_per_ladder": seconds,
            "tokens_per_ladder": facts[name]["tokens"] / options.ladders,
            "peak_bytes": facts[name]["peak_bytes"],
            "fastest_seconds_per_ladder": min(times[name]) / options.ladders,
            "times_arithmetic_floor": seconds * speed / flops,
        }
        if (peak := peak_flops(device)) is not None:
            counted = counted_flops(shape, result["tokens_per_ladder"], sum(sizes[:k]), reference=not cached)
            result["mfu"] = counted / seconds / peak
        results.append(result)
    ours = next((r["seconds_per_ladder"] for r in results if r["peer"] == "shared"), None)
    if ours is not None:
        results = [{**r, "times_shared": r["seconds_per_ladder"] / ours} for r in results]
    return results, agreement


def _in_turns(
    names: list[str], task: Task, repeats: int
) -> tuple[dict[str, list[float]], dict[str, dict[str, int]], dict[str, float]]:
    peers = {name: _make(name, task) for name in names}
    agreement: dict[str, float] = {}
    yardstick = None
    for name, peer in peers.items():
        yardstick = yardstick or _figures(peer)
        _compare(name, _figures(peer), yardstick, task, agreement)
    for peer in peers.values():
        peer.step()  # the optimiser's states appear, buffers warm
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats):
        for name, peer in peers.items():
            times[name].append(_timed(peer))
    return times, {name: _facts(peer) for name, peer in peers.items()}, agreement


def _one_by_one(
    names: list[str], task: Task, repeats: int
) -> tuple[dict[str, list[float]], dict[str, dict[str, int]], dict[str, float]]:
    times, facts, agreement = {}, {}, dict[str, float]()
    yardstick = None
    for name in names:
        peer = _make(name, task)
        figures = _figures(peer)
        yardstick = yardstick or figures
        _compare(name, figures, yardstick, task, agreement)
        for _ in range(2):
            peer.step()
        times[name] = [_timed(peer) for _ in range(repeats)]
        facts[name] = _facts(peer)
        del peer
        gc.collect()
        torch.cuda.empty_cache()
    return times, facts, agreement


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


def _facts(peer: Peer) -> dict[str, int]:
    return {"tokens": peer.tokens(), "peak_bytes": peak_bytes(peer), "cached": peer.cached}


def _figures(peer: Peer) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Summed log-probs, gradient (on the CPU) and loss of one step."""
    return torch.cat([part.float().cpu() for part in peer.logprobs()]), peer.gradient().cpu(), peer.backward()


def _compare(
    name: str,
    figures: tuple[torch.Tensor, torch.Tensor, float],
    yardstick: tuple[torch.Tensor, torch.Tensor, float],
    task: Task,
    agreement: dict[str, float],
) -> None:
    """Refuse a peer that does not compute what the first one does."""
    lengths = torch.tensor([len(r.text.split()) + 1 for ladder in task.ladders for r in ladder.responses])
    logprobs = float(((figures[0] - yardstick[0]).abs() / lengths).max())
    gradient = float((figures[1] - yardstick[1]).norm() / yardstick[1].norm())
    loss = abs(figures[2] - yardstick[2])
    agreement.update({f"{name} log-prob": logprobs, f"{name} gradient": gradient, f"{name} loss": loss})
    limit = TOLERANCE[task.shape.dtype]
    if max(logprobs, gradient, loss) > limit:
        raise DisagreementError(
            f"{name}: log-probs differ by {logprobs:.2g} a token, gradients by {gradient:.2g} of their norm, "
            f"the loss by {loss:.2g}; the limit is {limit:g}"
        )


def _settings(
    options: argparse.Namespace,
    shape: Shape,
    device: torch.device,
    speed: float,
    agreement: list[dict[str, float]],
) -> dict[str, Any]:
    return {
        **{
            name: getattr(options, name)
            for name in ("shape", "k", "prefix", "response", "ladders", "together", "repeats", "sweep")
        },
        "vocab": shape.vocab,
        "dtype": str(shape.dtype).removeprefix("torch."),
        "lora": shape.lora,
        "checkpointing": options.checkpointing,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "matmul_flops": speed,
        "torch": torch.__version__,
        "largest_differences": {name: max(at.get(name, 0.0) for at in agreement) for name in agreement[0]},
    }


def _say(options: argparse.Namespace, at: dict[str, int], result: dict[str, Any]) -> None:
    where = f"k={at['k']} prefix={at['prefix']} response={at['response']}"
    print(
        f"{where} {result['peer']}: {result['seconds_per_ladder']:.3f} s a ladder, "
        f"{result['tokens_per_ladder']:.0f} tokens, peak {result['peak_bytes'] / 1e6:.0f} MB, "
        f"{result['times_arithmetic_floor']:.2f} × floor",
        file=sys.stderr,
        flush=True,
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_step", description=__doc__.split("\n")[0])
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=["rows-full", "rows", "shared"])
    parser.add_argument("--shape", choices=list(SHAPES), default="44m", help="model; 7b is meant for a GPU")
    parser.add_argument("--k", type=int, default=5, help="responses of a ladder")
    parser.add_argument("--prefix", type=int, default=616, help="tokens of picture and prompt")
    parser.add_argument("--response", type=int, default=80, help="mean tokens of a response; 80 spreads from 60 to 100")
    parser.add_argument("--vocab", type=int, default=None, help="in place of the shape's own")
    parser.add_argument("--dtype", choices=list(DTYPES), default=None, help="in place of the shape's own")
    parser.add_argument("--ladders", type=int, default=1, help="ladders in one optimiser step")
    parser.add_argument("--together", type=int, default=1, help="of them in one forward pass")
    parser.add_argument("--repeats", type=int, default=5, help="timed steps; the median counts")
    parser.add_argument("--sweep", choices=list(SWEEPS), default=None, help="over K, prefix or response length")
    parser.add_argument("--checkpointing", action="store_true", help="compute activations again in the backward pass")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", action="store_true", help="the JSON on one line")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()

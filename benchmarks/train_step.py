"""What one optimiser step costs a ladder of K responses, in our layouts and in other trainers' ways.

    python -m benchmarks.train_step --peers trl rows-full rows shared --k 5 --json

Peers are compared before they are timed: summed log-probs, loss and gradient have to agree. On the processor they take
turns, step by step, so that a busy moment falls on all; the figure is the median. The last thing printed is one JSON
object {"settings": ..., "results": [{"peer", "seconds_per_ladder", "tokens_per_ladder", "peak_bytes", ...}, ...]}.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.arithmetic import counted_flops, ladder_flops, matmul_flops, peak_flops
from benchmarks.measure import Plan, in_turns, one_by_one
from benchmarks.peers import PEERS, Task
from benchmarks.shapes import PROMPT, SHAPES, make_ladder

SWEEPS = {"k": [2, 3, 4, 5, 6, 8, 12, 16], "prefix": [200, 400, 616, 1200, 1800, 2400], "response": [40, 80, 160, 400]}
SPREAD = (0.75, 1.25)
"""Lengths of a ladder's responses, as shares of --response, from its first to its last: 60 to 100 at 80."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    options = parse(arguments)
    torch.set_num_threads(options.threads or torch.get_num_threads())
    device = torch.device(options.device)
    speed = matmul_flops(options.model, device)
    points = [{}] if options.sweep is None else [{options.sweep: value} for value in SWEEPS[options.sweep]]
    results: list[dict[str, Any]] = []
    for point in points:
        for name, value in point.items():
            setattr(options, name, value)
        new = []
        for result in measure(options, device, speed, Plan(options.repeats, options.attention)):
            print(line(options, result), file=sys.stderr, flush=True)
            new.append(result)
        ours = next((r.get("seconds_per_ladder") for r in new if r["peer"] == "shared"), None)
        at = {name: getattr(options, name) for name in ("k", "prefix", "response")} if point else {}
        for result in new:
            if ours and "failed" not in result:
                result["times_shared"] = result["seconds_per_ladder"] / ours
            results.append({**result, **at})
    report = {"settings": settings(options, device, speed, results), "results": results}
    print(json.dumps(report) if options.json else json.dumps(report, indent=1))
    return report


def measure(options: argparse.Namespace, device: torch.device, speed: float, plan: Plan) -> Iterator[dict[str, Any]]:
    """The result of each peer at one point, as soon as it is there. speed: see `matmul_flops`. "failed" says why a peer
    has none."""
    shape = options.model.fitted(options.prefix)
    lengths = (round(SPREAD[0] * options.response), round(SPREAD[1] * options.response))
    with tempfile.TemporaryDirectory() as folder:
        seeds = range(options.ladders)
        ladders = [make_ladder(shape, Path(folder), options.k, options.prefix, lengths, seed) for seed in seeds]
        sizes = [len(response.text.split()) + 1 for response in ladders[0].responses]
        task = Task(shape, ladders, device, options.checkpointing, options.together)
        way = one_by_one if options.one_by_one else in_turns
        for name, peer in way(options.peers, task, plan):
            if peer.failed:
                yield {"peer": name, "together": peer.together, "failed": peer.failed}
                continue
            seconds = statistics.median(peer.times) / options.ladders
            floor = ladder_flops(shape, options.prefix, sizes, reference=not peer.cached)
            tokens = peer.tokens / options.ladders
            result = {
                "peer": name,
                "together": peer.together,
                "seconds_per_ladder": seconds,
                "fastest_seconds_per_ladder": min(peer.times) / options.ladders,
                "batch_seconds_per_ladder": peer.batch_seconds / options.ladders,
                "tokens_per_ladder": tokens,
                "peak_bytes": peer.peak_bytes,
                "times_arithmetic_floor": seconds * speed / floor,
                "differences": peer.differences,
            }
            if (peak := peak_flops(device)) is not None:
                result["mfu"] = counted_flops(shape, tokens, sum(sizes), reference=not peer.cached) / seconds / peak
            yield {**result, "attention": peer.attention} if plan.attention else result


def settings(
    options: argparse.Namespace, device: torch.device, speed: float, results: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """What was measured, where, and by how much the peers differed."""
    names = ("shape", "k", "prefix", "response", "ladders", "together", "repeats", "sweep", "checkpointing")
    largest: dict[str, float] = {}
    for result in results:
        for what, value in result.get("differences", {}).items():
            name = f"{result['peer']} {what}"
            largest[name] = max(value, largest.get(name, 0.0))
    return {
        **{name: getattr(options, name) for name in names},
        "vocab": options.model.vocab,
        "dtype": str(options.model.dtype).removeprefix("torch."),
        "lora": options.model.lora,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "matmul_flops": speed,
        "torch": torch.__version__,
        "largest_differences": largest,
    }


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()


def line(options: argparse.Namespace, result: dict[str, Any]) -> str:
    """A result as one line of text."""
    head = f"k={options.k} prefix={options.prefix} response={options.response} {result['peer']}: "
    if "failed" in result:
        return head + result["failed"]
    mfu = f", {result['mfu']:.1%} MFU" if "mfu" in result else ""
    return (
        f"{head}{result['seconds_per_ladder']:.3f} s per ladder, {result['tokens_per_ladder']:.0f} tokens, "
        f"peak {result['peak_bytes'] / 1e6:.0f} MB, {result['times_arithmetic_floor']:.2f} × floor{mfu}"
    )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options, with the shape they ask for as `model` and its prefix."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_step", description=__doc__.split("\n")[0])
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=["rows-full", "rows", "shared"])
    parser.add_argument("--shape", choices=list(SHAPES), default="44m", help="model; those of 7b are meant for a GPU")
    parser.add_argument("--k", type=int, default=5, help="responses of a ladder")
    parser.add_argument("--prefix", type=int, default=None, help="tokens of picture and prompt; its picture and 40")
    parser.add_argument("--response", type=int, default=80, help="mean tokens of a response; 80 spreads from 60 to 100")
    parser.add_argument("--vocab", type=int, default=None, help="in place of the shape's own")
    parser.add_argument("--dtype", choices=list(DTYPES), default=None, help="in place of the shape's own")
    parser.add_argument("--ladders", type=int, default=1, help="ladders in one optimiser step")
    parser.add_argument("--together", type=int, default=1, help="of them in one forward pass")
    parser.add_argument("--repeats", type=int, default=5, help="timed steps; the median counts")
    parser.add_argument("--sweep", choices=list(SWEEPS), default=None, help="over K, prefix or response length")
    parser.add_argument("--one-by-one", action="store_true", help="a peer at a time, as on a GPU, in place of in turns")
    parser.add_argument("--attention", action="store_true", help="list the kernels of attention that run")
    parser.add_argument("--checkpointing", action="store_true", help="compute activations again in the backward pass")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", action="store_true", help="the JSON on one line")
    options = parser.parse_args(arguments)
    if lacking := missing(options.peers):
        parser.error(f"--peers: {lacking}")
    shape = SHAPES[options.shape]
    dtype = DTYPES.get(options.dtype, shape.dtype)
    options.model = replace(shape, vocab=options.vocab or shape.vocab, dtype=dtype)
    options.prefix = options.prefix or shape.image_tokens + PROMPT
    options.one_by_one |= options.device != "cpu"
    return options


def missing(peers: Sequence[str]) -> str:
    """Why some of these peers cannot be measured here; empty if all can."""
    wanted = any(name.startswith("trl") for name in peers)
    return "TRL is not installed; pip install -e '.[bench]'" if wanted and find_spec("trl") is None else ""


if __name__ == "__main__":
    main()

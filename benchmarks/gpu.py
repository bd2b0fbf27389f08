"""What a step costs on one GPU: all that is worth measuring there, in the order of its importance, in limited time.

    python -m benchmarks.gpu --out runs/gpu --minutes 12
    python -m benchmarks.gpu --out runs/gpu --show         # the table of all results so far
    python -m benchmarks.gpu --out /tmp/try --device cpu --shape tiny-lora qwen25vl-tiny-lora --ladders 2 --response 10

Each peer is a line of OUT/gpu.jsonl as soon as it is measured, so that a run that is cut loses nothing. A step begins
only if its time is left; one that does not fit is skipped, and that is a line too. A peer that fails or disagrees is
reported, and the others go on; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks import train_step
from benchmarks.arithmetic import matmul_flops, peak_flops
from benchmarks.measure import TOLERANCE, Plan, agrees
from benchmarks.shapes import SHAPES
from benchmarks.tables import gpu_table

Line = dict[str, Any]
FIRST = "shared"
"""The peer that the others of a step are compared with. It is measured first: it is what the run is for."""


@dataclass(frozen=True)
class Step:
    """Peers at one point. shape: 0 for LLaVA, 1 for Qwen2.5-VL; together: all ladders in one pass, else one ladder;
    seconds: what it may take on an H200."""

    name: str
    seconds: int
    shape: int
    peers: tuple[str, ...]
    k: int = 5
    together: bool = False
    attention: bool = False


GROUPS = (FIRST, "shared-4", "shared-1")
STEPS = [
    Step("llava-together", 100, 0, (FIRST, "rows", "rows-full"), together=True),
    Step("llava-one", 60, 0, (FIRST, "rows", "rows-full"), attention=True),
    Step("llava-trl", 45, 0, (FIRST, "trl")),
    Step("llava-compiled", 150, 0, (FIRST, "shared-compiled"), together=True),
    Step("qwen-together", 150, 1, (FIRST, "rows"), together=True),
    Step("qwen-one", 140, 1, (FIRST, "rows"), attention=True),
    Step("qwen-trl", 90, 1, (FIRST, "trl")),
    Step("groups-16", 50, 0, GROUPS, k=16),
    Step("groups-2", 40, 0, GROUPS, k=2),
]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    end = time.monotonic() + 60 * options.minutes
    path = options.out / "gpu.jsonl"
    if not options.show:
        device = torch.device(options.device)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise SystemExit("benchmarks.gpu: no CUDA device is available; --device cpu tries the script out")
        _say(describe(device))
        options.out.mkdir(parents=True, exist_ok=True)
        for step in STEPS:
            if step.name in options.steps:
                run_step(step, options, device, end, path)
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    print(gpu_table(lines))
    return int(any("failed" in line or not line.get("agrees", True) for line in lines))


def describe(device: torch.device) -> str:
    """The device and the libraries, on one line."""
    memory = ""
    if device.type == "cuda":
        memory = f", {torch.cuda.get_device_properties(device).total_memory / 2**30:.0f} GiB"
    peak = peak_flops(device)
    speed = f", data sheet {peak / 1e12:.0f} TFLOP/s" if peak else ", speed unknown: no MFU"
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    return f"{train_step.device_name(device)}{memory}{speed}; {versions}"


def run_step(step: Step, options: argparse.Namespace, device: torch.device, end: float, path: Path) -> None:
    """Append a line for each peer of a step, or why there is none."""
    start = time.monotonic()
    what = {"step": step.name, "device": train_step.device_name(device)}
    missing = train_step.missing(step.peers)
    if missing or end - start < step.seconds:
        reason = missing or f"it may take {step.seconds} s, {max(end - start, 0):.0f} s are left"
        _append(path, {**what, "skipped": reason})
        _say(f"{step.name}: skipped: {reason}")
        return
    try:
        for line in measured(step, options, device, start + step.seconds):
            _append(path, {**what, **line})
    except Exception as error:  # the next step may run all the same
        traceback.print_exc()
        _append(path, {**what, "failed": f"{type(error).__name__}: {error}"})
    gc.collect()  # what a broken step held
    torch.cuda.empty_cache()
    _say(f"{step.name}: {time.monotonic() - start:.0f} s; {max(end - time.monotonic(), 0):.0f} s are left")


def measured(step: Step, options: argparse.Namespace, device: torch.device, until: float) -> Iterator[Line]:
    """The lines of a step. until: the moment of `time.monotonic` after which no optimiser step of it begins."""
    ladders = str(options.ladders if step.together else 1)
    point = train_step.parse(
        [
            *("--shape", options.shape[step.shape], "--device", options.device, "--one-by-one"),
            *("--k", str(step.k), "--response", str(options.response), "--peers", *step.peers),
            *("--ladders", ladders, "--together", ladders, "--repeats", str(options.repeats)),
        ]
    )
    plan = Plan(options.repeats, step.attention, until, forgiving=True)
    names = ("shape", "k", "prefix", "response", "ladders", "repeats")
    facts = {name: getattr(point, name) for name in names} | {"torch": torch.__version__}
    for result in train_step.measure(point, device, matmul_flops(point.model, device), plan):
        line = facts | result
        if "failed" not in result:
            line["agrees"] = agrees(result["differences"], TOLERANCE[point.model.dtype])
        _say(f"{step.name}: {train_step.line(point, result)}, {result['together']} in a pass")
        if not line.get("agrees", True):
            _say(f"{step.name}: {result['peer']} does not compute what {FIRST} does: {result['differences']}")
        for call in result.get("attention", ()):
            sizes = f" query {call['query']} key {call['key']}" if "query" in call else ""
            _say(f"  {call['name']}{sizes}: {call['calls']} calls, {call['ms']} ms")
        yield line


def _append(path: Path, line: Line) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder of gpu.jsonl, which grows")
    parser.add_argument("--minutes", type=float, default=12, help="no step begins that may take longer than is left")
    parser.add_argument("--steps", nargs="+", choices=[s.name for s in STEPS], default=[s.name for s in STEPS])
    parser.add_argument("--shape", nargs=2, choices=list(SHAPES), default=["7b", "qwen25vl-7b"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--ladders", type=int, default=8, help="in a pass; half as many where memory does not suffice")
    parser.add_argument("--response", type=int, default=80, help="mean tokens of a response")
    parser.add_argument("--repeats", type=int, default=3, help="timed steps; the median counts")
    parser.add_argument("--show", action="store_true", help="run nothing")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

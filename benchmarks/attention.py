"""What attention over packed rows costs on a GPU: in parts, under one mask, and with FlexAttention.

    python -m benchmarks.attention --json

One layer of LLaVA-1.5-7B's shape, forward and backward: rows of a prefix and K responses. `masked` is one call with the
whole mask, what training uses on a GPU; `parts` what it uses on a processor (`training/branches.py`); `flex`
FlexAttention with a block mask, rows side by side as here, and `flex-joined` all ladders in one long row without
padding. Outputs and gradients of each are compared with `masked` in float32 before it is timed; compilation is not in
the times.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.arithmetic import wait
from seelevel.training.packing.branches import branched
from seelevel.training.packing.families import visible

TOLERANCE = 2e-2
"""Largest difference of an output or gradient, as a share of the largest value: bfloat16 has three digits."""


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Time every way and print the report; a way that gives other numbers ends it."""
    options = _options(arguments)
    device = torch.device(options.device)
    torch.manual_seed(0)
    segments = [make_segments(options.prefix, options.k, options.response) for _ in range(options.ladders)]
    rows = torch.stack(segments).to(device)
    shape = (len(rows), options.heads, rows.shape[1], options.width)
    made = [torch.randn(shape, device=device, dtype=torch.bfloat16) for _ in range(3)]
    slope = torch.randn(shape, device=device, dtype=torch.bfloat16)
    ways = {name: make(rows) for name, make in WAYS.items() if options.flex or "flex" not in name}
    exact = outcome(masked(rows, torch.float32), [each.float() for each in made], slope.float())
    results = []
    for name, attend in ways.items():
        found = outcome(attend, made, slope)
        worst = max(float((a.float() - b).abs().max() / b.abs().max()) for a, b in zip(found, exact, strict=True))
        if worst > TOLERANCE:
            raise SystemExit(f"{name} differs from the masked call by {worst:.3g}")
        times = [
            _milliseconds(lambda attend=attend: outcome(attend, made, slope), device) for _ in range(options.repeats)
        ]
        results.append({"way": name, "milliseconds": statistics.median(times), "largest_difference": worst})
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"
    report = {"settings": {**vars(options), "device": where, "torch": torch.__version__}, "results": results}
    print(json.dumps(report) if options.json else json.dumps(report, indent=1))
    return report


def make_segments(prefix: int, k: int, response: int) -> Tensor:
    """[L]: 0 for the prefix, 1..K for responses of `response` tokens."""
    return torch.cat([torch.zeros(prefix, dtype=torch.int64), torch.arange(1, k + 1).repeat_interleave(response)])


def masked(rows: Tensor, dtype: torch.dtype = torch.bfloat16) -> Callable[..., Tensor]:
    """One call with the whole mask."""
    mask = _added(rows, dtype)
    return lambda q, k, v: scaled_dot_product_attention(q, k, v, attn_mask=mask)


def parts(rows: Tensor) -> Callable[..., Tensor]:
    """The same call with a mask that knows its rows' parts."""
    mask = branched(_added(rows, torch.bfloat16), rows, always=True)
    return lambda q, k, v: scaled_dot_product_attention(q, k, v, attn_mask=mask)


def _added(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask [R, 1, L, L] as it is added to the scores."""
    seen = visible(rows)
    return torch.zeros(seen.shape, dtype=dtype, device=rows.device).masked_fill_(~seen, float("-inf"))


def flex(rows: Tensor) -> Callable[..., Tensor]:
    """FlexAttention, rows side by side."""

    def seen(b: Tensor, h: Tensor, q: Tensor, kv: Tensor) -> Tensor:
        return (kv <= q) & ((rows[b, kv] == 0) | (rows[b, kv] == rows[b, q]))

    mask = create_block_mask(seen, len(rows), None, rows.shape[1], rows.shape[1], device=str(rows.device))
    run = torch.compile(flex_attention)
    return lambda q, k, v: run(q, k, v, block_mask=mask)


def flex_joined(rows: Tensor) -> Callable[..., Tensor]:
    """FlexAttention, all rows in one."""
    flat, row = rows.flatten(), torch.arange(len(rows), device=rows.device).repeat_interleave(rows.shape[1])

    def seen(b: Tensor, h: Tensor, q: Tensor, kv: Tensor) -> Tensor:
        return (kv <= q) & (row[kv] == row[q]) & ((flat[kv] == 0) | (flat[kv] == flat[q]))

    mask = create_block_mask(seen, None, None, len(flat), len(flat), device=str(rows.device))
    run = torch.compile(flex_attention)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        joined = [each.transpose(0, 1).flatten(1, 2)[None] for each in (q, k, v)]
        return run(*joined, block_mask=mask)[0].unflatten(1, (len(rows), -1)).transpose(0, 1)

    return attend


WAYS = {"masked": masked, "parts": parts, "flex": flex, "flex-joined": flex_joined}


def outcome(attend: Callable[..., Tensor], made: Sequence[Tensor], slope: Tensor) -> list[Tensor]:
    """The output and the gradients of queries, keys and values."""
    leaves = [each.detach().requires_grad_() for each in made]
    out = attend(*leaves)
    return [out.detach(), *torch.autograd.grad(out, leaves, slope)]


def _milliseconds(work: Callable[[], Any], device: torch.device) -> float:
    work()
    wait(device)
    start = time.perf_counter()
    for _ in range(5):
        work()
    wait(device)
    return (time.perf_counter() - start) / 5 * 1e3


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ladders", type=int, default=4, help="rows")
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--prefix", type=int, default=616)
    parser.add_argument("--response", type=int, default=80)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--width", type=int, default=128, help="of a head")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--flex", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available())
    parser.add_argument("--json", action="store_true", help="the JSON on one line")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()

"""Which kernels of attention a peer's step runs, and over how many queries and keys."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch
from torch.profiler import ProfilerActivity, profile

if TYPE_CHECKING:
    from benchmarks.peers import Peer

OPERATOR = "aten::_scaled_dot_product_"
KERNEL = re.compile("flash|fmha|sdpa|attention", re.IGNORECASE)
MOST = 8
NAME_LENGTH = 120


def attention_calls(peer: Peer) -> list[dict[str, Any]]:
    """The costliest of one pass forward and back, reference included: operators {"name", "query", "key": shapes,
    "calls", "ms"}, whose name says the kind of kernel, then a GPU's kernels {"name", "calls", "ms"}."""
    cuda = peer.task.device.type == "cuda"
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA] if cuda else [ProfilerActivity.CPU]
    with profile(activities=activities, record_shapes=True) as recorded:
        peer.backward()
        if cuda:
            torch.cuda.synchronize()
    events = recorded.key_averages(group_by_input_shape=True)
    operators, kernels = [], []
    for event in events:
        spent = (event.device_time_total if cuda else event.cpu_time_total) / 1e3
        call = {"name": event.key[:NAME_LENGTH], "calls": event.count, "ms": round(spent, 3)}
        if event.key.startswith(OPERATOR):
            first = int(event.key.endswith("_backward"))  # behind the gradient of the output
            query, key = event.input_shapes[first : first + 2]
            operators.append({**call, "query": query, "key": key})
        elif event.device_type == torch.autograd.DeviceType.CUDA and KERNEL.search(event.key):
            kernels.append(call)
    return [call for part in (operators, kernels) for call in sorted(part, key=lambda c: -c["ms"])[:MOST]]

"""How many bytes a training step needs above the weights, gradients and optimiser states that stay.

On the processor the allocator's own events are read from the profiler: every allocation and release with its address,
so that the figure is exact and does not depend on what else runs. A gradient tensor is recognised by the address it
has at the end and does not count. On CUDA it is the allocator's peak less what is resident after the step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile

if TYPE_CHECKING:
    from benchmarks.peers import Peer


def peak_bytes(peer: Peer) -> int:
    """Peak of activations and temporaries in one pass forward and back, reference included. Leaves gradients behind.

    The optimiser's states have to exist already: take a step before.
    """
    peer.optimiser.zero_grad()
    if peer.task.device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        peer.backward()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=False) as recorded:
        peer.backward()
    events = allocations(recorded)
    gradients = {p.grad.untyped_storage().data_ptr() for p in peer.trained if p.grad is not None}
    return _peak(events, gradients)


def allocations(recorded: profile) -> list[tuple[int, int]]:
    """(address, bytes: negative where released) in the order of time, of a profile with memory on the processor."""
    found, waiting = [], list(recorded.profiler.kineto_results.experimental_event_tree())
    while waiting:
        event = waiting.pop()
        waiting += event.children
        if event.tag == _EventType.Allocation:
            found.append((event.start_time_ns, event.extra_fields.ptr, event.extra_fields.alloc_size))
    return [(address, size) for _, address, size in sorted(found, key=lambda each: each[0])]


def _peak(events: list[tuple[int, int]], gradients: set[int]) -> int:
    """Highest sum of (address, bytes: negative where released) without what lives on at the gradients' addresses."""
    last = {address: number for number, (address, size) in enumerate(events) if size > 0}
    kept = {last[address] for address in gradients if address in last}
    live = peak = 0
    for number, (_, size) in enumerate(events):
        if number not in kept:
            live += size
            peak = max(peak, live)
    return peak

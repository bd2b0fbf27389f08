"""What autograd keeps of a pass, in the host's memory: the input of each layer, and the prefix's keys and values.

They leave the device in the forward pass and come back, one layer at a time, in the backward pass. So the memory of the
device does not grow with the number of layers. Needs `recompute_layers`, or everything inside the layers would travel.

Copies are ordered by the device's stream, as in `torch.autograd.graph.save_on_cpu`: no copy reads what is not written
yet. A copy to the host that does not block has pinned memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

LEAST_BYTES = 1 << 10
"""Smaller tensors stay where they are."""
_OFFLOADED: WeakSet[nn.Module] = WeakSet()


def offload_activations(model: nn.Module) -> None:
    """From now on the passes of a model (without adapters around it) keep their tensors in the host's memory."""
    _OFFLOADED.add(model)


def is_offloaded(model: nn.Module) -> bool:
    """Whether `offload_activations` was called on a model (without adapters around it)."""
    return model in _OFFLOADED


def on_host(tensor: Tensor) -> bool:
    """Whether a tensor is in the host's memory."""
    return tensor.device.type == "cpu"


def to_host(tensor: Tensor) -> Tensor:
    """The tensor in the host's memory. Gradients flow through, and add up there."""
    return tensor.to("cpu", non_blocking=True)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device; itself if it is there."""
    return tensor.to(device, non_blocking=True)


@contextmanager
def kept_on_host(model: nn.Module) -> Iterator[None]:
    """While open, autograd keeps tensors in the host's memory, except for weights and small ones."""
    weights = {part.untyped_storage().data_ptr() for part in (*model.parameters(), *model.buffers())}

    def keep(saved: Tensor) -> Any:
        small = saved.numel() * saved.element_size() < LEAST_BYTES
        if small or on_host(saved) or saved.untyped_storage().data_ptr() in weights:
            return saved
        return saved.device, to_host(saved.detach())

    def give(kept: Any) -> Tensor:
        return kept if isinstance(kept, Tensor) else to_device(kept[1], kept[0])

    with saved_tensors_hooks(keep, give):
        yield

"""One CPU plays a GPU and its host: what is offloaded is in memory that torch does not allocate, and does not count."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seelevel.training.packing import offload


class Host:
    """The host's memory: arrays of numpy, known by their addresses. `bytes`: in it now; `most`: at the highest;
    `moved`: bytes that were copied into it; `sums`: gradients that add up in it, by the address of their tensor."""

    def __init__(self) -> None:
        self.live: dict[int, int] = {}
        self.sums: dict[int, Tensor] = {}
        self.most = self.moved = 0

    @property
    def bytes(self) -> int:
        return sum(self.live.values())

    def holds(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() in self.live

    def copy(self, tensor: Tensor) -> Tensor:
        size = tensor.numel() * tensor.element_size()
        array = np.empty(size + 1, dtype=np.uint8)
        copied = torch.from_numpy(array)[:size].view(tensor.dtype).view(tensor.shape)
        copied.copy_(tensor)
        place = array.ctypes.data
        self.live[place] = size
        weakref.finalize(array, self.live.pop, place)
        self.most, self.moved = max(self.most, self.bytes), self.moved + size
        return copied


class _ToHost(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, host: Host) -> Tensor:
        copied = host.copy(tensor)
        ctx.host, ctx.place = host, copied.untyped_storage().data_ptr()
        return copied

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        ctx.host.sums.pop(ctx.place, None)
        return grads[0].clone(), None


class _ToDevice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, host: Host) -> Tensor:
        ctx.host, ctx.place = host, tensor.untyped_storage().data_ptr()
        return tensor.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None]:
        """The first gradient of a tensor goes on, and later ones are added to it: autograd would add on the device."""
        if ctx.place in ctx.host.sums:
            ctx.host.sums[ctx.place] += grads[0]
            return None, None
        ctx.host.sums[ctx.place] = ctx.host.copy(grads[0])
        return ctx.host.sums[ctx.place], None


@contextmanager
def playing_gpu() -> Iterator[Host]:
    """While open, the CPU's memory is a device's, and the host is another one."""
    host, whole = Host(), (offload.on_host, offload.to_host, offload.to_device)
    offload.on_host = host.holds
    offload.to_host = lambda tensor: _ToHost.apply(tensor, host)
    offload.to_device = lambda tensor, _: _ToDevice.apply(tensor, host) if host.holds(tensor) else tensor
    try:
        yield host
    finally:
        offload.on_host, offload.to_host, offload.to_device = whole

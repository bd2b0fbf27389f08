"""A machine that plays a GPU and its host on one CPU: what is offloaded is in memory that torch does not allocate."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seelevel.training.packing import offload


class Host:
    """The host's memory: arrays of numpy, known by their addresses. `bytes`: in it now; `most`: at the highest;
    `moved`: bytes that were copied into it."""

    def __init__(self) -> None:
        self.live: dict[int, int] = {}
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
        return host.copy(tensor)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0].clone(), None


class _ToDevice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, host: Host) -> Tensor:
        ctx.host = host
        return tensor.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.host.copy(grads[0]), None


def play_gpu(monkeypatch: pytest.MonkeyPatch) -> Host:
    """From now on, the CPU's memory is a device's, and the host is another one."""
    host = Host()
    monkeypatch.setattr(offload, "on_host", host.holds)
    monkeypatch.setattr(offload, "to_host", lambda t: _ToHost.apply(t, host))
    monkeypatch.setattr(offload, "to_device", lambda t, _: _ToDevice.apply(t, host) if host.holds(t) else t)
    return host

"""How far rounding moves a model's log-probs, measured in the model itself.

Sums of floating-point numbers depend on their order, and the order depends on the shape of a batch, the processor and
the number of threads. So two correct ways to compute a log-prob give different results. How different they are depends
on the number format, on the depth of the model, on its activations and on its logits; no constant fits all models.

`stirred` measures it. It does on purpose what rounding does by chance: the result of every layer moves by one rounding
of its number format, each element up or down at random. The log-probs move by as much as rounding can explain. This is
Monte Carlo arithmetic (Parker 1997; CESTAC of Vignes 1974), at the level of layers. The draws come from a fixed seed,
so the result is the same on every machine, but for rounding.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from seelevel.training.compiling import uncompiled

FLOAT32 = torch.finfo(torch.float32).eps
TENSOR_FLOAT32 = 2.0**-10


def unit(model: Any) -> float:
    """One rounding of the model's products, as a share of the result. Never less than float32's: parts of most models
    (RMSNorm, rotary positions) compute in float32 whatever the format of the weights."""
    kind = next(model.parameters()).device.type
    if torch.is_autocast_enabled(kind):
        return max(torch.finfo(torch.get_autocast_dtype(kind)).eps, _least(kind))
    return max(torch.finfo(model.dtype).eps, _least(kind))


def _least(kind: str) -> float:
    reduced = kind == "cuda" and torch.get_float32_matmul_precision() != "highest"
    return TENSOR_FLOAT32 if reduced else FLOAT32


@contextmanager
def stirred(model: Any, seed: int) -> Iterator[None]:
    """While open, the result of every layer but the output head moves by one rounding. The head stays: what follows it
    is read as it is, and its own rounding shows in bfloat16, where logits fall on another number."""
    device = next(model.parameters()).device
    draws, least, head = torch.Generator(device).manual_seed(seed), _least(device.type), model.get_output_embeddings()

    def stir(module: nn.Module, args: Any, output: Any) -> Tensor | None:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return None
        signs = torch.randint(0, 2, output.shape, generator=draws, device=output.device).to(output.dtype) * 2 - 1
        return output * (1 + max(torch.finfo(output.dtype).eps, least) * signs)

    layers = [module for module in model.modules() if module is not head and not any(True for _ in module.children())]
    handles = [layer.register_forward_hook(stir) for layer in layers]
    try:
        with uncompiled():
            yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def in_float32(model: Any) -> Iterator[None]:
    """While open, a model of a coarser format computes in float32: weights are cast in place, which loses nothing, and
    autocast is off. Raises `MemoryError` if there is no room."""
    kind = next(model.parameters()).device.type
    coarse = [(t, t.dtype) for t in chain(model.parameters(), model.buffers()) if t.is_floating_point()]
    coarse = [(t, dtype) for t, dtype in coarse if t.element_size() < 4]
    if kind == "cpu" and sum(t.numel() * (4 - t.element_size()) for t, _ in coarse) > free_memory():
        raise MemoryError
    precision = torch.get_float32_matmul_precision()
    products = [(part, part.compute_dtype) for part in model.modules() if hasattr(part, "compute_dtype")]  # 4 bits
    try:
        torch.set_float32_matmul_precision("highest")
        for t, _ in coarse:
            t.data = t.data.float()
        for part, _ in products:
            part.compute_dtype = torch.float32
        with torch.autocast(kind, enabled=False):
            yield
    except torch.OutOfMemoryError as error:
        raise MemoryError from error
    finally:
        torch.set_float32_matmul_precision(precision)
        for t, dtype in coarse:
            t.data = t.data.to(dtype)
        for part, dtype in products:
            part.compute_dtype = dtype


def free_memory() -> int:
    """Bytes of memory that nothing uses; all of it on a system that does not say."""
    known = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    return os.sysconf(known) * os.sysconf("SC_PAGE_SIZE")

"""The least arithmetic that a ladder takes, and how fast this machine multiplies matrices."""

from __future__ import annotations

import time

import torch

from benchmarks.shapes import Shape

# Dense bfloat16 products a second by the makers' data sheets; for MFU.
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12, "A6000": 155e12}


def linear_weights(shape: Shape) -> int:
    """Weights of the language model's linear layers, head and embeddings left out."""
    attention = 2 * shape.width**2 + 2 * shape.width * shape.kv_width
    return shape.layers * (attention + 3 * shape.width * shape.intermediate)


def adapter_weights(shape: Shape) -> int:
    """Weights of adapters on all linear layers of the language model."""
    sides = 6 * shape.width + 2 * shape.kv_width + 3 * (shape.width + shape.intermediate)
    return shape.layers * shape.lora * sides


def ladder_flops(shape: Shape, prefix: int, responses: list[int], reference: bool) -> float:
    """Floating-point operations of one training step on one ladder with nothing computed twice.

    Prefix and picture once, every response token once, logits of scored tokens alone. Backward costs twice the forward
    pass, once under adapters, whose base gets no gradient; adapters train at three times their forward pass. The
    reference adds a forward pass of the language model (the frozen tower's picture is the same).
    """
    tokens, scored = prefix + sum(responses), sum(responses)
    seen = prefix**2 / 2 + sum(length * prefix + length**2 / 2 for length in responses)
    attention = 4 * seen * shape.width * shape.layers
    head = 2 * scored * shape.width * shape.vocab
    forward = 2 * linear_weights(shape) * tokens + head
    projector = shape.tower.projector_flops(shape.width)
    frozen = shape.lora > 0
    flops = forward * (2 if frozen else 3) + attention * 3 + projector * (1 if frozen else 3) + shape.tower.flops()
    if frozen:
        flops += 6 * adapter_weights(shape) * tokens
    if reference:
        flops += forward + attention + projector
    return flops


def counted_flops(shape: Shape, tokens: float, scored: float, reference: bool) -> float:
    """What MFU counts: 4N a token on N frozen weights (forward and the gradient of activations; recomputation does not
    count), 6 on adapters and on weights that train, 2N more for a reference pass; the head at scored tokens. The
    language model alone: neither attention's products nor the vision tower and the projector count."""
    weights = linear_weights(shape) * tokens + shape.vocab * shape.width * scored
    trained = adapter_weights(shape) * tokens
    return (4 if shape.lora else 6) * weights + 6 * trained + (2 * weights if reference else 0)


def matmul_flops(shape: Shape, device: torch.device) -> float:
    """Floating-point operations a second of a large square matrix product here, at its fastest."""
    size, repeats = (8192, 20) if device.type == "cuda" else (min(1536, 8 * shape.width), 9)
    a = torch.randn(size, size, device=device, dtype=torch.float32).to(shape.dtype)
    b = a.clone()
    times = []
    for _ in range(repeats + 2):
        wait(device)
        start = time.perf_counter()
        torch.mm(a, b)
        wait(device)
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times[2:])


def peak_flops(device: torch.device) -> float | None:
    """The data sheet's figure for this GPU, where it is known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((flops for part, flops in PEAK_FLOPS.items() if part in name), None)


def wait(device: torch.device) -> None:
    """Until the device has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)

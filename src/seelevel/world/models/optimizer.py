"""The optimiser, the learning rate and the saved state of every training of the world."""

from __future__ import annotations

import ctypes
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn


def one_cycle(step: int, steps: int, warm: float = 0.05) -> float:
    """Share of the highest learning rate: a linear rise, then a cosine to nearly zero."""
    rise = max(1, int(warm * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


class Optimizers:
    """Muon for the matrices of transformer blocks (a fifth fewer steps at this size), AdamW for everything else."""

    def __init__(self, model: nn.Module, learning_rate: float, muon_rate: float = 0.0) -> None:
        blocks = {id(p) for name, p in model.named_parameters() if p.ndim == 2 and ".layers." in name and muon_rate}
        matrices = [p for p in model.parameters() if id(p) in blocks]
        others = [p for p in model.parameters() if id(p) not in blocks]
        self.parts: list[tuple[torch.optim.Optimizer, float]] = [
            (torch.optim.AdamW(others, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01), learning_rate)
        ]
        if matrices:
            muon = torch.optim.Muon(matrices, lr=muon_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
            self.parts.append((muon, muon_rate))

    def step(self, share: float) -> None:
        """One step at a share of the highest learning rates; gradients are cleared."""
        for optimizer, rate in self.parts:
            for group in optimizer.param_groups:
                group["lr"] = rate * share
            optimizer.step()
            optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        return {str(index): optimizer.state_dict() for index, (optimizer, _) in enumerate(self.parts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for index, (optimizer, _) in enumerate(self.parts):
            optimizer.load_state_dict(state[str(index)])


class Saver:
    """A training's state in one file, from which a stopped training resumes."""

    def __init__(self, path: Path, model: nn.Module, optimizer: Optimizers) -> None:
        self.path, self.model, self.optimizer = path, model, optimizer

    def load(self) -> int:
        """Restore the state and return the next step; 0 if there is no saved state."""
        if not self.path.is_file():
            return 0
        state = torch.load(self.path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])

    def save(self, step: int) -> None:
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": step}
        torch.save(state, self.path.with_suffix(".new"))
        self.path.with_suffix(".new").rename(self.path)


def keep_memory() -> None:
    """Tell glibc to keep freed memory; does nothing with another C library.

    By default glibc maps and unmaps every larger tensor anew, and the page faults take two fifths of a step of such
    small models.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, value in ((-3, 32 << 20), (-1, 1 << 30), (-2, 256 << 20)):  # mmap threshold, trim threshold, pad
            libc.mallopt(option, value)

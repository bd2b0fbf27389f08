"""The optimiser and the learning rate that every training of the world uses."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn


def one_cycle(step: int, steps: int, warm: float = 0.05) -> float:
    """Share of the highest learning rate: linear rise, then cosine to nearly nothing."""
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

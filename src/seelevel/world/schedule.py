"""The optimiser and the learning rate that every training of the world uses."""

from __future__ import annotations

import math

import torch
from torch import nn


def one_cycle(step: int, steps: int, warm: float = 0.08) -> float:
    """Share of the highest learning rate: linear rise, then cosine to nearly nothing."""
    rise = max(1, int(warm * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def optimizer_for(model: nn.Module, learning_rate: float) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), eps=1e-8)

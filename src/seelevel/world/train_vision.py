"""First half of a model's training: the vision tower alone learns to tell what is in each cell of the grid.

Real LLaVA models start from a vision tower that was trained before; so do these, on the world's own annotations. The
heads are thrown away afterwards.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPVisionModel

from seelevel.world.drawing import SIDE
from seelevel.world.family import PATCH, normalised
from seelevel.world.scenes import COLOURS, KINDS, PLACES, SETTINGS, SIZES, Scene
from seelevel.world.schedule import one_cycle, optimizer_for

log = logging.getLogger(__name__)

BATCH = 64
CLASSES = (len(KINDS) + 1, len(COLOURS), len(SIZES), 3)
"""Of a cell: kind (0 is none), colour, size, count."""


def targets(scenes: Sequence[Scene]) -> tuple[Tensor, Tensor]:
    """Classes of every cell, int64 (n, 9, 4), -100 where there is nothing to say; and settings, int64 (n,)."""
    cells = np.full((len(scenes), 9, 4), -100, dtype=np.int64)
    cells[:, :, 0] = 0
    for index, scene in enumerate(scenes):
        for group in scene.groups:
            cells[index, PLACES.index(group.place)] = (
                KINDS.index(group.kind) + 1,
                COLOURS.index(group.colour),
                SIZES.index(group.size),
                group.count - 1,
            )
    return torch.from_numpy(cells), torch.tensor([SETTINGS.index(scene.setting) for scene in scenes])


class CellHeads(nn.Module):
    """From patch features (n, patches, width) to logits of each cell's classes, read from the 4×4 patches around it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.look = nn.Parameter(torch.randn(9, (SIDE // PATCH) ** 2) * 0.02)
        self.hidden = nn.Linear(width, 2 * width)
        self.out = nn.Linear(2 * width, sum(CLASSES))
        self.setting = nn.Linear(width, len(SETTINGS))
        side = SIDE // PATCH
        near = torch.zeros(9, side, side)
        for cell in range(9):
            row, column = (round((index + 0.5) * side / 3 - 2) for index in divmod(cell, 3))
            near[cell, max(row, 0) : row + 4, max(column, 0) : column + 4] = 1 / 16
        self.register_buffer("near", near.flatten(1))

    def forward(self, features: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        features = self.norm(features)
        cells = (self.near + self.look) @ features
        logits = self.out(nn.functional.gelu(self.hidden(cells)))
        return logits.split(CLASSES, dim=-1), self.setting(features.mean(1))


def train_vision(
    tower: CLIPVisionModel, scenes: Sequence[Scene], pixels: np.ndarray, steps: int, learning_rate: float, seed: int
) -> None:
    """Train a vision tower in place; its last hidden states (without the class token) are what the heads read."""
    torch.manual_seed(seed)
    heads = CellHeads(tower.config.hidden_size)
    both = nn.ModuleList([tower, heads])
    optimizer = optimizer_for(both, learning_rate)
    cells, settings = targets(scenes)
    rng = random.Random(f"vision/{seed}")
    began, right, seen = time.time(), 0.0, 0
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * one_cycle(step, steps)
        chosen = rng.sample(range(len(scenes)), min(BATCH, len(scenes)))
        states = tower(normalised(pixels[chosen]), output_hidden_states=True).hidden_states[-1][:, 1:]
        logits, setting = heads(states)
        loss = nn.functional.cross_entropy(setting, settings[chosen])
        for index, part in enumerate(logits):
            loss = loss + nn.functional.cross_entropy(part.flatten(0, 1), cells[chosen, :, index].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimizer.step()
        there = cells[chosen, :, 0] > 0
        right += float((logits[0].argmax(-1) == cells[chosen, :, 0])[there].sum())
        seen += int(there.sum())
        if (step + 1) % 100 == 0:
            log.info("vision step %d loss %.3f kinds right %.3f seconds %.0f",
                     step + 1, loss.item(), right / seen, time.time() - began)  # fmt: skip
            right, seen = 0.0, 0

"""First part of a model's training: the vision tower alone learns to tell the contents of each cell of the grid.

Real LLaVA models start from a pre-trained vision tower. So do these models; their towers are trained on the world's own
annotations. The heads are discarded afterwards.
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

from seelevel.world.models.family import normalised
from seelevel.world.models.optimizer import Optimizers, one_cycle
from seelevel.world.pictures.scenes import COLOURS, KINDS, PLACES, SETTINGS, SIZES, Scene

log = logging.getLogger(__name__)

BATCH = 96
CLASSES = (len(KINDS) + 1, len(COLOURS), len(SIZES), 3)
"""Number of classes of a cell's kind (0: empty), colour, size and count."""


def targets(scenes: Sequence[Scene]) -> tuple[Tensor, Tensor]:
    """Classes of every cell, int64 (n, 9, 4), -100 for an attribute of an empty cell; and settings, int64 (n,)."""
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
    """From patch features (n, 9, width) to logits of each cell's classes, read linearly; a patch is a cell."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, sum(CLASSES))
        self.setting = nn.Linear(width, len(SETTINGS))

    def forward(self, features: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        features = self.norm(features)
        return self.out(features).split(CLASSES, dim=-1), self.setting(features.mean(1))


def train_vision(
    tower: CLIPVisionModel, scenes: Sequence[Scene], pixels: np.ndarray, steps: int, learning_rate: float, seed: int
) -> None:
    """Train a vision tower in place; the heads read its last hidden states, without the class token."""
    torch.manual_seed(seed)
    heads = CellHeads(tower.config.hidden_size)
    both = nn.ModuleList([tower, heads])
    optimizer = Optimizers(both, learning_rate)
    cells, settings = targets(scenes)
    rng = random.Random(f"vision/{seed}")
    began, right, total = time.time(), 0.0, 0
    for step in range(steps):
        chosen = rng.sample(range(len(scenes)), min(BATCH, len(scenes)))
        states = tower(normalised(pixels[chosen]), output_hidden_states=True).hidden_states[-1][:, 1:]
        logits, setting = heads(states)
        loss = nn.functional.cross_entropy(setting, settings[chosen])
        for index, part in enumerate(logits):
            loss = loss + nn.functional.cross_entropy(part.flatten(0, 1), cells[chosen, :, index].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimizer.step(one_cycle(step, steps))
        occupied = cells[chosen, :, 0] > 0
        right += float((logits[0].argmax(-1) == cells[chosen, :, 0])[occupied].sum())
        total += int(occupied.sum())
        if (step + 1) % 100 == 0:
            log.info("vision step %d loss %.3f kinds right %.3f seconds %.0f",
                     step + 1, loss.item(), right / total, time.time() - began)  # fmt: skip
            right, total = 0.0, 0

"""What an objective logs: sums with their counts, so that the parts of a step add up to its means however it was split.

Not every part has every name (`margin_2_3` needs a ladder with those levels), so each mean carries its own count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mean:
    """A mean over ladders that more ladders can join. total: sum of their values, a scalar; count: how many."""

    total: Tensor | float
    count: int


@dataclass(frozen=True)
class Logs:
    """Means over ladders by name; ladders: how many are in the mean loss; without_pair: how many are not,
    because they have no signal."""

    means: dict[str, Mean]
    ladders: int
    without_pair: int = 0

    def __getitem__(self, name: str) -> float:
        """The mean of this name; NaN if no ladder is in it."""
        mean = self.means[name]
        return float(mean.total) / mean.count if mean.count else float("nan")

    def plain(self) -> Logs:
        """The same with floats for tensors, fetched from the device at once."""
        tensors = {name: mean.total for name, mean in self.means.items() if isinstance(mean.total, Tensor)}
        fetched = dict(zip(tensors, torch.stack(list(tensors.values())).tolist(), strict=True)) if tensors else {}
        means = {name: Mean(fetched.get(name, mean.total), mean.count) for name, mean in self.means.items()}
        return Logs(means, self.ladders, self.without_pair)

    def figures(self) -> dict[str, float]:
        """Every mean that has a ladder, by name, and `without_pair`."""
        means = {name: self[name] for name, mean in self.means.items() if mean.count}
        return {**means, "without_pair": float(self.without_pair)}


def joined(parts: Iterable[Logs]) -> Logs:
    """The logs of all parts' ladders together; parts on one device, or plain."""
    means: dict[str, Mean] = {}
    ladders = without = 0
    for part in parts:
        ladders, without = ladders + part.ladders, without + part.without_pair
        for name, mean in part.means.items():
            before = means.get(name, Mean(0.0, 0))
            means[name] = Mean(before.total + mean.total, before.count + mean.count)
    return Logs(means, ladders, without)

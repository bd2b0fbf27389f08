"""How far two trainings ended from each other."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file


def share_of_the_way(one: Path, other: Path, start: Path) -> float:
    """Distance between the weights of two trained models, as a share of the way from where they started.

    Of all weights together: Adam makes every weight's step as long as any other's, also where the gradient is 0 but for
    rounding, so single weights may go either way.
    """
    ends = [load_file(folder / "model.safetensors") for folder in (one, other)]
    begin = load_file(start / "model.safetensors")
    assert ends[0].keys() == ends[1].keys() == begin.keys()
    return _distance(*ends) / _distance(ends[0], begin)


def _distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return float(sum((value.double() - other[name].double()).square().sum() for name, value in one.items())) ** 0.5

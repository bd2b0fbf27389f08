"""Sixteen pictures, or frames of a video, in one prefix: shared is what rows are, with offloaded activations too."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.host import playing_gpu
from seelevel.training.logprobs import Policy
from seelevel.training.packing import collate
from seelevel.training.packing.offload import offload_activations
from seelevel.training.packing.passes import recompute_layers
from tests.families.family import PATCH, Family, pixels
from tests.families.ladders import Pictures, ladder
from tests.families.test_prefix import adapted, run
from tests.families.zoo import FAMILIES

MANY = ["qwen2_5_vl", "qwen3_vl", "internvl", "llava_onevision", "gemma3", "smolvlm"]


def compare(family: Family) -> None:
    model = adapted(family.name)
    one = [ladder(family, "film", 16, 3, seed=1)]
    read = Pictures(family)
    values, gradients = run(Policy(model).train(), collate(one, read, "rows", answers=1))  # type: ignore[arg-type]
    offload_activations(model.get_base_model())
    recompute_layers(model)
    with playing_gpu() as host:
        batch = collate(one, read, "shared", answers=1)  # type: ignore[arg-type]
        other, found = run(Policy(model).train(), batch)
    assert host.moved > 0
    assert ((other - values) / values).abs().max() <= 1e-6
    total = torch.stack([g.norm() for g in gradients.values()]).norm()
    for name, gradient in gradients.items():
        assert (found[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-6 * total, name


@pytest.mark.parametrize("name", MANY)
def test_sixteen_pictures_in_one_prefix_give_what_rows_give(name: str) -> None:
    compare(FAMILIES[name])


@pytest.mark.slow
def test_sixteen_pictures_of_a_thousand_tokens_give_what_rows_give() -> None:
    large = pixels(64 * 64, 3 * 2 * PATCH * PATCH, image_grid_thw=[[1, 64, 64]])
    compare(replace(FAMILIES["qwen2_5_vl"], tokens=32 * 32, picture=large))

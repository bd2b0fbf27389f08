"""Sixteen pictures, or frames of a video, in one prefix: shared is what rows are, with offloaded activations too."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.host import playing_gpu
from benchmarks.memory import allocations
from seelevel.training.logprobs import Policy, token_logprobs
from seelevel.training.packing import collate
from seelevel.training.packing.offload import offload_activations
from seelevel.training.packing.passes import recompute_layers
from tests.families.family import PATCH, Family, pixels
from tests.families.ladders import Pictures, ladder
from tests.families.test_prefix import adapted, run
from tests.families.zoo import FAMILIES, build

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


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "qwen3_vl", "internvl", "smolvlm", "llava_onevision"])
def test_one_ladder_makes_no_mask_of_its_prefix_squared(name: str) -> None:
    """Unlike families with a window, or whose pictures are seen in both directions."""
    policy, history = Policy(build(name)), tuple(20 + n % 270 for n in range(400))
    recompute_layers(policy)
    one = ladder(FAMILIES[name], "long", 2, 3, seed=1, history=history)
    batch = collate([one], Pictures(FAMILIES[name]), "shared")  # type: ignore[arg-type]
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=False) as recorded:
        token_logprobs(policy.train(), batch).values.sum().backward()
    squares = {one.branch**2 * width for width in (1, 2, 4, 8)}
    assert not squares & {size for _, size in allocations(recorded)}


@pytest.mark.slow
def test_sixteen_larger_pictures_give_what_rows_give() -> None:
    """4,096 tokens of pictures. With 16,384 (`side` 64) it takes minutes and 4 GB."""
    side = 32
    large = pixels(side**2, 3 * 2 * PATCH * PATCH, image_grid_thw=[[1, side, side]])
    compare(replace(FAMILIES["qwen2_5_vl"], tokens=side**2 // 4, picture=large))

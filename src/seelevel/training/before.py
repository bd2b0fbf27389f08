"""What a training computes before its first step: the layout that is right, and the reference's log-probs.

With FSDP2 and ZeRO-3 no device need hold the whole model here either. It is loaded into the host's memory and split
over the processes as FSDP2 splits it for training (`split_weights`). The model that trains is loaded again afterwards,
because adapters cannot be put on split weights.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor

from seelevel.training.agreement import Agreed, checked_layout
from seelevel.training.checks import check_compiled, check_head, check_liger, check_rows
from seelevel.training.compiling import uncompiled
from seelevel.training.logprobs import use_own_logits, uses_own_logits
from seelevel.training.prepare import Prepared
from seelevel.training.reference import reference_logprobs
from seelevel.training.rounding import free_memory
from seelevel.training.settings import TrainSettings
from seelevel.training.sharding import Lockstep, split_weights

Load = Callable[[str], Any]
"""Loads the model of a training in a number format (`float32`) into the host's memory."""


def before_training(
    model: Any,
    data: Prepared,
    settings: TrainSettings,
    budget: int,
    folder: Path,
    weights: str,
    split: tuple[torch.device, Load] | None = None,
) -> tuple[Agreed, list[Tensor] | None]:
    """(how to compute log-probs, those of `data.tokenised` under the model as loaded). The latter are None if the
    objective needs none.

    budget: tokens of a pass; folder, weights: see `reference_logprobs`. split: the model, which is in the host's
    memory, is split over the devices of all processes, in place.
    """
    lockstep, twin = None, None
    if split is not None:
        device, load = split
        twin = partial(_twin, model, load, device) if model.dtype.itemsize < 4 else None
        split_weights(model, device)
        lockstep = Lockstep(device)
    with uncompiled():
        check_liger(model, data.tokenised, data.images)
        check_rows(model, data.tokenised, data.images)
    check_compiled(model, data.tokenised, data.images)
    check_head(model, data.tokenised, data.images)
    agreed = checked_layout(model, data.tokenised, data.images, settings.layout, budget, twin)
    if not settings.objective.needs_reference:
        return agreed, None
    state = PartialState()
    return agreed, reference_logprobs(
        model, data.tokenised, data.images, agreed.layout, folder, weights, state, lockstep
    )


def _twin(model: Any, load: Load, device: torch.device) -> Any:
    """A split model's weights in float32, split too. Raises `MemoryError` if all processes of this machine together
    have no room to load them."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    needed = 4 * processes * sum(weight.numel() for weight in model.parameters())
    if Lockstep(device).maximum(needed - free_memory()) > 0:  # the machine with the least room decides for all
        raise MemoryError
    twin = load("float32")
    if uses_own_logits(model):
        use_own_logits(twin)
    split_weights(twin, device)
    return twin

"""FSDP2: weights, gradients and moments are split over the processes, and gathered layer by layer where they are used.

The launcher asks for it as accelerate's does: `ACCELERATE_USE_FSDP=true`. accelerate itself would shard on GPUs alone,
and silently train with DDP on the CPU. Here one way serves both, torch's `fully_shard`: each decoder layer is a unit,
and the rest (embeddings, output head, projector, vision tower) is one more, gathered once per pass. So a pass without a
picture gathers the same units as one with pictures.

Every gathering is a call that all processes make together, and a unit is gathered once for each segment of a batch. So
all processes need equally many passes with equally many segments. `padded_batches` adds what is missing: segments of
one token that score nothing, and passes whose loss is multiplied by 0. Source: PyTorch FSDP, arXiv 2304.11277.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

from seelevel.errors import InputError
from seelevel.training.launched import is_true, sharding
from seelevel.training.logprobs import Policy
from seelevel.training.packing import BEGINS, Batch, Segment
from seelevel.training.packing.inputs import base
from seelevel.training.packing.tokens import NOT_SCORED, TokenisedLadder
from seelevel.training.structure import parts

ASKED = "ACCELERATE_USE_FSDP"
NOT_OURS = {
    "FSDP_OFFLOAD_PARAMS": "weights stay on their device; turn offloading off",
    "FSDP_ACTIVATION_CHECKPOINTING": "set align.gradient_checkpointing: true instead",
}
"""What a launcher may also ask for, and what to do instead."""


def is_asked() -> bool:
    """Whether the launcher asks for FSDP2. Raises `InputError` if it asks for more than there is."""
    if sharding() != "FSDP":
        return False
    for name, remedy in NOT_OURS.items():
        if is_true(name, os.environ):
            raise InputError(f"{name}: not supported; {remedy}")
    if not hasattr(FSDPModule, "set_reduce_scatter_unused_params"):
        raise InputError(f"FSDP2 needs a newer torch than {torch.__version__}; install torch>=2.13")
    return True


@contextmanager
def taken_over() -> Iterator[bool]:
    """Opens with `is_asked()`. While open, accelerate and transformers do not see that FSDP is asked for: accelerate
    would shard in another way, and transformers would load the weights in the first process alone."""
    asked = is_asked()
    value = os.environ.pop(ASKED, None)
    try:
        yield asked
    finally:
        if value is not None:
            os.environ[ASKED] = value


class Lockstep:
    """Gives all processes equally many passes with equally many segments. Every method is called by all of them
    together."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def padded_batches(self, batches: Iterable[Batch], count: int, token: int, again: bool = False) -> Iterator[Batch]:
        """These `count` batches, and after them those whose loss does not count, so that all processes have equally
        many, with equally many segments. `token`: any text token; `again`: see `Batch`."""
        whole = islice(chain(batches, repeat(_idle(token, again))), self.maximum(count))
        return map(partial(self._padded, token), whole)

    def _padded(self, token: int, batch: Batch) -> Batch:
        missing = self.maximum(len(batch.segments)) - len(batch.segments)
        return replace(batch, segments=(*batch.segments, *[_segment(token, scored=0)] * missing))

    def maximum(self, count: int) -> int:
        """The largest number of any process."""
        number = torch.tensor(count, device=self.device)
        dist.all_reduce(number, dist.ReduceOp.MAX)
        return int(number)


class SplitPolicy(Lockstep, ABC):
    """A `Policy` that several processes hold together."""

    @abstractmethod
    def weights(self, trained_alone: bool) -> dict[str, Tensor] | None:
        """The model's whole weights on the CPU in the first process, None in the others. trained_alone: only those that
        train, as for adapters."""

    @abstractmethod
    def clear_unused_gradients(self) -> None:
        """Called after the backward passes of a step."""


def split_weights(model: Any, device: torch.device, reshard: bool = True) -> list[Any]:
    """Split the weights of a model, or of a `Policy`, over all processes, in place, unit by unit: each layer, and last
    the model with the rest. A unit is moved to the device and split before the next one is. Returns the units.

    reshard: a layer is split again after its forward pass. Raises `InputError` for a model that cannot be split.
    """
    for name, weight in model.named_parameters():
        if not weight.ndim:
            raise InputError(f"{name} is a single number, which FSDP2 cannot split; use --launch ddp")
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    units = [*parts(base(model.model if isinstance(model, Policy) else model)).layers, model]
    for unit in units:
        fully_shard(unit, mesh=mesh, reshard_after_forward=None if unit is model else reshard)
    return units


class Sharded(SplitPolicy):
    """A `Policy` whose weights are split over all processes, in place. Every method is called by all of them together.

    Raises `InputError` for a model that cannot be split.
    """

    def __init__(self, policy: Any, device: torch.device) -> None:
        super().__init__(device)
        self.policy = policy
        self._used: set[str] = set()
        reshard = os.environ.get("FSDP_RESHARD_AFTER_FORWARD", "true").lower() != "false"
        names = {module: f"{name}." if name else "" for name, module in policy.named_modules()}
        for unit in split_weights(policy, device, reshard):
            self._follow(unit, names[unit])
        policy.set_reduce_scatter_unused_params(True)  # which weights get a gradient may differ between processes
        policy._is_accelerate_prepared = True  # else accelerate wraps it in DDP as well

    def _follow(self, unit: nn.Module, prefix: str) -> None:
        """From its first pass on, note which weights of a unit get a gradient."""

        def begin(*_: Any) -> None:
            handle.remove()
            for name, weight in unit.named_parameters():
                if weight.requires_grad and not isinstance(weight, DTensor):  # gathered, so of this unit
                    weight.register_post_accumulate_grad_hook(lambda _, name=prefix + name: self._used.add(name))

        handle = unit.register_forward_pre_hook(begin)

    def clear_unused_gradients(self) -> None:
        """Remove the gradients of weights that took part in no process's passes. They are 0, but an optimiser treats a
        gradient of 0 differently from a missing one."""
        weights = [(name, weight) for name, weight in self.policy.named_parameters() if weight.requires_grad]
        used = torch.tensor([name in self._used for name, _ in weights], dtype=torch.int32, device=self.device)
        dist.all_reduce(used, dist.ReduceOp.MAX)
        for (_, weight), is_used in zip(weights, used.tolist(), strict=True):
            if not is_used:
                weight.grad = None
        self._used.clear()

    def weights(self, trained_alone: bool) -> dict[str, Tensor] | None:
        """The model's whole weights on the CPU in the first process, None in the others."""
        for module in self.policy.modules():
            if isinstance(module, FSDPModule):
                module.reshard()
        kept = {name for name, weight in self.policy.named_parameters() if weight.requires_grad or not trained_alone}
        state = self.policy.state_dict(keep_vars=True)
        named = {name: value for name, value in state.items() if name in kept or not isinstance(value, DTensor)}
        whole: dict[str, Tensor] | None = _whole({name.removeprefix("model."): value for name, value in named.items()})
        return whole


def text_token(ladder: TokenisedLadder) -> int:
    """A token of a ladder's text, for `padded_batches`."""
    return int(ladder.tokens[0][ladder.rounds[0] != NOT_SCORED][0])


def _segment(token: int, scored: int) -> Segment:
    """A conversation of one token."""
    ids, places = torch.tensor([[token]]), torch.zeros(scored, dtype=torch.long)
    owner = torch.zeros(0, dtype=torch.long)
    return Segment(BEGINS, owner, ids, torch.ones_like(ids), torch.zeros_like(ids), {}, places, places)


def _idle(token: int, again: bool) -> Batch:
    """A batch that scores one token."""
    zero = torch.zeros(1, dtype=torch.long)
    return Batch("rows", (_segment(token, scored=1),), torch.tensor([token]), zero, zero, zero, (1,), ("",), again)


def _whole(state: Any) -> Any:
    """A state of split tensors as one of whole tensors on the CPU in the first process, None in the others."""
    first, kept = dist.get_rank() == 0, dict[int, Tensor]()

    def gathered(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: gathered(part) for key, part in value.items()}
        if isinstance(value, list):
            return [gathered(part) for part in value]
        if not isinstance(value, DTensor):
            return value
        if id(value) not in kept:  # tied weights stay one
            full = value.full_tensor()
            kept[id(value)] = full.detach().cpu() if first else full[:0]
        return kept[id(value)]

    state = gathered(state)
    return state if first else None


def save_states(optimizer: Any, schedule: Any, folder: Path) -> None:
    """Write the states of optimizer and schedule as `Trainer` does without FSDP, with whole moments. All processes call
    it together."""
    state = _whole(optimizer.state_dict())
    if state is not None:
        torch.save(state, folder / OPTIMIZER_NAME)
        torch.save(schedule.state_dict(), folder / SCHEDULER_NAME)


def load_states(optimizer: Any, schedule: Any, folder: Path) -> None:
    """Read what `save_states` or `Trainer` wrote. Each process keeps its part of the moments."""
    state = torch.load(folder / OPTIMIZER_NAME, map_location="cpu", mmap=True, weights_only=True)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for number, values in state["state"].items():
        values |= {name: _split_like(weights[number], value) for name, value in values.items()}
    optimizer.load_state_dict(state)
    schedule.load_state_dict(torch.load(folder / SCHEDULER_NAME, map_location="cpu", weights_only=True))


def _split_like(weight: Tensor, value: Any) -> Any:
    """A copy of what belongs to a weight: a moment split as the weight is, anything of another shape as it is."""
    if not isinstance(value, Tensor):
        return value
    if not isinstance(weight, DTensor) or value.shape != weight.shape:
        return value.clone()
    value = value.to(weight.device)
    return distribute_tensor(value, weight.device_mesh, weight.placements, src_data_rank=None).clone()

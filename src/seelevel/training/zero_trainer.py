"""DeepSpeed's ZeRO: the optimiser's moments (stage 2), gradients, and weights (stage 3) are split over the processes.
Source: arXiv 1910.02054.

The weights are split when the training begins; with stage 3 each process has loaded them into the host's memory until
then. Checkpoints and models are written whole, as one process writes them.

DeepSpeed reduces gradients in the order in which they appear, and gathers weights module by module. Both go wrong, or
wait forever, if a process computes other modules than the others do. So all processes have equally many passes with
equally many segments (`padded_batches`). Whether a pass has a picture decides if the vision tower and the projector are
used. So everything outside the language model's layers is one unit: it is gathered for a whole pass, and its gradients
come last, in one order, even if they are 0.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

from seelevel.errors import InputError
from seelevel.training.launched import Sharding
from seelevel.training.packing.inputs import base
from seelevel.training.sharding import SplitPolicy
from seelevel.training.structure import parts
from seelevel.training.trainer import PreferenceTrainer

MOMENTS = ("exp_avg", "exp_avg_sq")


class Zero(SplitPolicy):
    """A `Policy` inside a DeepSpeed engine. Every method is called by all processes together. `optimizer`: what one
    process would train with; the schedule sets its rates."""

    def __init__(self, engine: Any, optimizer: Any, device: torch.device) -> None:
        super().__init__(device)
        self.engine, self.groups = engine, optimizer.param_groups
        policy = engine.module
        of_layers = {id(weight) for layer in parts(base(policy.model)).layers for weight in layer.parameters()}
        self._rest = [weight for weight in policy.parameters() if id(weight) not in of_layers]
        self._order: list[int] = []
        for number, weight in enumerate(self._trained):
            weight.register_post_accumulate_grad_hook(lambda _, number=number: self._order.append(number))
        if self._split:
            from deepspeed.runtime.zero.partition_parameters import register_external_parameter

            for weight in self._rest:
                register_external_parameter(policy, weight)
        policy.register_forward_pre_hook(self._anchor)
        policy.register_forward_hook(self._anchored)

    @property
    def _trained(self) -> list[Any]:
        """The trained weights in the optimizer's order."""
        return [weight for group in self.groups for weight in group["params"]]

    @property
    def _split(self) -> bool:
        """Whether weights are split, not only gradients and moments."""
        return bool(self.engine.zero_optimization_stage() == 3)

    def _anchor(self, *_: Any) -> None:
        """Make 0 of the weights outside the layers. It is made before all else, so its gradients come last."""
        if self._split:
            # DeepSpeed compares the modules of a pass with those of the last one and of other processes.
            coordinator = self.engine.optimizer.parameter_offload.get_param_coordinator()
            if not coordinator.is_invalid_trace():
                coordinator._invalidate_trace()
        trained = [weight for weight in self._rest if weight.requires_grad]
        self._zero = sum(weight.sum() for weight in trained) * 0 if trained and torch.is_grad_enabled() else 0

    def _anchored(self, module: nn.Module, inputs: Any, values: Tensor) -> Tensor:
        zero, self._zero = self._zero, 0
        return values + zero

    def backward(self, loss: Tensor, last: bool) -> None:
        """The backward pass; the last one of a step also updates the weights."""
        self._order.clear()
        self.engine.set_gradient_accumulation_boundary(last)
        self.engine.backward(loss)
        self._check_order()
        if last:
            used = [group for group in self.groups if group["params"]]  # DeepSpeed takes no empty ones
            for group, ours in zip(self.engine.optimizer.param_groups, used, strict=True):
                group["lr"] = ours["lr"]
            self.engine.step()

    def _check_order(self) -> None:
        """Raise `InputError` if gradients came in another order in this process than in the first one."""
        mine = torch.tensor(hash(tuple(self._order)), device=self.device)
        ends = torch.stack([mine, -mine])
        dist.all_reduce(ends, dist.ReduceOp.MAX)
        if ends[0] != -ends[1]:
            raise InputError(
                "DeepSpeed: gradients come in different orders in different processes, which it would mix up; "
                "use --launch ddp or fsdp2"
            )

    def weights(self, trained_alone: bool) -> dict[str, Tensor] | None:
        """The model's whole weights on the CPU in the first process, None in the others."""
        policy, first = self.engine.module, dist.get_rank() == 0
        kept = {name for name, weight in policy.named_parameters() if weight.requires_grad or not trained_alone}
        whole, state = dict[int, Tensor](), dict[str, Tensor]()
        for name, value in policy.state_dict(keep_vars=True).items():
            if not isinstance(value, nn.Parameter):
                state[name.removeprefix("model.")] = value
            elif name in kept or not trained_alone:
                if id(value) not in whole:  # tied weights stay one
                    whole[id(value)] = self._gathered(value, first)
                state[name.removeprefix("model.")] = whole[id(value)]
        return state if first else None

    def _gathered(self, weight: Any, keep: bool) -> Tensor:
        from deepspeed.runtime.zero.partition_parameters import GatheredParameters

        with GatheredParameters([weight], enabled=self._split):
            return weight.detach().cpu().clone() if keep else torch.empty(0)

    def optimizer_state(self) -> dict[str, Any] | None:
        """The state of AdamW as one process has it, in the first process; None in the others."""
        from deepspeed.utils import safe_get_full_optimizer_state

        self._link_moments()
        optimizer, first = self.engine.optimizer, dist.get_rank() == 0
        step = next(iter(optimizer.optimizer.state.values()))["step"]
        moments, groups = dict[int, dict[str, Tensor]](), list[dict[str, Any]]()
        for group in self.groups:
            numbers = [*range(len(moments), len(moments) + len(group["params"]))]
            groups.append({**group, "params": numbers})
            for number, weight in zip(numbers, group["params"], strict=True):
                values = {name: safe_get_full_optimizer_state(weight, name).cpu() for name in MOMENTS}
                moments[number] = {"step": step.cpu().clone(), **values} if first else {}
        return {"state": moments, "param_groups": groups} if first else None

    def load_optimizer_state(self, state: dict[str, Any]) -> None:
        """Go on from the state of AdamW as one process writes it."""
        optimizer = self.engine.optimizer
        steps = [values["step"] for values in state["state"].values()]
        flat = optimizer.fp32_partitioned_groups_flat if self._split else optimizer.single_partition_of_fp32_groups
        for weights in flat:
            zeros = {name: torch.zeros_like(weights) for name in MOMENTS}
            optimizer.optimizer.state[weights] = {"step": max(steps).clone(), **zeros}
        self._link_moments()
        for number, weight in enumerate(self._trained):
            for name in MOMENTS:
                if number in state["state"]:
                    self._set_moment(weight, state["state"][number][name], name)
        for group, saved in zip(self.groups, state["param_groups"], strict=True):
            group.update({key: value for key, value in saved.items() if key != "params"})

    def _link_moments(self) -> None:
        """Stage 2 links weights to their moments after the first group's first step, when the others have none yet."""
        if not self._split:
            self.engine.optimizer._hp_optimizer_states_linked = False
            self.engine.optimizer._lazy_init_hp_params_optimizer_state()

    def _set_moment(self, weight: Any, value: Tensor, name: str) -> None:
        from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state

        value = value.to(self.device)
        if not self._split:
            safe_set_full_optimizer_state(weight, value, name)
            return
        share = weight.ds_tensor.numel()
        shares = pad(value.flatten(), (0, share * dist.get_world_size() - value.numel())).view(-1, share)
        safe_set_local_optimizer_state(weight, shares[dist.get_rank()], name)

    def clear_unused_gradients(self) -> None:
        """Nothing: DeepSpeed treats a weight without a gradient as one whose gradient is 0."""


class _Updated:
    """Stands for the optimizer in the trainer's loop: DeepSpeed has updated the weights at the last backward pass."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.optimizer, name)

    def step(self) -> None:
        """Nothing."""


class ZeroTrainer(PreferenceTrainer):
    """A `PreferenceTrainer` under DeepSpeed, with a configuration that `zero.check` accepts.

    accelerate's way into DeepSpeed is not taken: on CPUs it trains without it.
    """

    def __init__(self, configuration: dict[str, Any], *args: Any) -> None:
        super().__init__(*args)
        self.configuration = configuration
        self.zero: Zero | None = None  # from when the training begins

    @property
    def split_by(self) -> Sharding | None:
        return "DEEPSPEED"

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: str | None) -> Any:
        """Load a checkpoint's weights before they are split, and its moments after. It is not in DeepSpeed's form."""
        if self.args.device.type == "cpu":
            os.environ.setdefault("DS_ACCELERATOR", "cpu")
        import deepspeed

        if resume_from_checkpoint is not None:
            self._load_from_checkpoint(resume_from_checkpoint)
        optimizer = self.create_optimizer()
        self.create_scheduler(num_training_steps=max_steps, optimizer=optimizer)
        groups = [{**group, "params": [*group["params"]]} for group in optimizer.param_groups if group["params"]]
        given = self._filled()
        if given["zero_optimization"]["stage"] == 3:  # weight by weight, or the whole model would move to the device
            deepspeed.zero.Init(module=self.model, config_dict_or_path=given)
        engine, *_ = deepspeed.initialize(model=self.model, optimizer=type(optimizer)(groups), config=given)
        self.sharded = self.zero = Zero(engine, optimizer, self.args.device)
        self.model_wrapped, self.optimizer = engine, _Updated(optimizer)
        if resume_from_checkpoint is not None:
            self._load_optimizer_and_scheduler(resume_from_checkpoint)
        for name in ("model", "optimizer", "lr_scheduler"):
            setattr(self.callback_handler, name, getattr(self, name))
        self.callback_handler.train_dataloader = train_dataloader
        return engine, train_dataloader

    def _filled(self) -> dict[str, Any]:
        """The configuration with this training's numbers."""
        each = self.args.per_device_train_batch_size
        sizes = {"train_micro_batch_size_per_gpu": each, "train_batch_size": each * self.args.world_size}
        filled = {**self.configuration, **sizes, "gradient_clipping": self.args.max_grad_norm}
        if self.args.bf16:  # DeepSpeed switches an autocast around it off
            filled["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
        return filled

    def _backward(self, loss: Tensor, last: bool) -> None:
        assert self.zero is not None
        self.zero.backward(loss, last)

    def _clip_grad_norm(self, model: Any) -> Any:
        """The gradient's norm; DeepSpeed has clipped it."""
        return model.get_global_grad_norm()

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        return super()._get_grad_norm(model, model.get_global_grad_norm() if grad_norm is None else grad_norm)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        assert self.zero is not None
        state = self.zero.optimizer_state()
        if self.args.should_save:
            torch.save(state, Path(output_dir) / OPTIMIZER_NAME)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        assert self.zero is not None and checkpoint is not None
        state, schedule = (
            torch.load(Path(checkpoint) / name, map_location="cpu", weights_only=True)
            for name in (OPTIMIZER_NAME, SCHEDULER_NAME)
        )
        self.zero.load_optimizer_state(state)
        self.lr_scheduler.load_state_dict(schedule)

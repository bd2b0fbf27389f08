"""A `transformers.Trainer` with a fixed number of ladders per step, however many fit into one forward pass."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from peft import PeftModel
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainingArguments

from seelevel.errors import NonFiniteLossError
from seelevel.progress import Progress, say
from seelevel.registry import load
from seelevel.store import write_folder, write_json
from seelevel.training.agreement import Agreed
from seelevel.training.ahead import ahead
from seelevel.training.balance import balance_steps
from seelevel.training.checkpoints import checkpoints, seal
from seelevel.training.launched import Sharding, check_wrapped
from seelevel.training.logprobs import Policy, token_logprobs
from seelevel.training.objectives import OBJECTIVES
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.objectives.logs import Logs, joined
from seelevel.training.objectives.settings import Objective
from seelevel.training.packing import Batch, collate, row_parts, rows_of
from seelevel.training.prepare import Prepared
from seelevel.training.requirements import check_step_divides
from seelevel.training.rounding import unit
from seelevel.training.saving import numbers
from seelevel.training.schedule import buckets, linked, schedule
from seelevel.training.settings import TrainSettings
from seelevel.training.sharding import Sharded, SplitPolicy, load_states, save_states, text_token
from seelevel.training.step_log import FALL_WINDOW, StepLog, best_fallen

KEPT_CHECKPOINTS = 1


@dataclass(frozen=True)
class Plan:
    """How to train. `agreed`, `tokens_per_batch` (padded, in one forward pass) and `answers` (in one segment of it, see
    `packing.collate`) are the ones decided for this model; `fingerprint` is of everything that changes the result, and
    only checkpoints that carry it are resumed; `label` is the name of the progress bar; `log` is the file that gets the
    figures of each step; `shard` splits the weights over the processes (FSDP2)."""

    settings: TrainSettings
    agreed: Agreed
    tokens_per_batch: int
    answers: int | None
    fingerprint: str
    label: str = "align"
    log: Path | None = None
    shard: bool = False


class PreferenceTrainer(Trainer):
    """Trains on ladders with an objective of `seelevel.training.objectives`.

    One optimiser step covers exactly `ladders_per_step` ladders. Its loss is the objective's mean over the ladders with
    a signal, however they are split over forward passes and processes (`balance_steps`). The seed fixes the order. A
    checkpoint appears whole or not at all, and a training that resumes from one ends with the same bytes as one that
    was never stopped.

    `reference`: the log-probs of `data.tokenised` under the reference, each [N] on the CPU; None if the objective needs
    none. Raises `NonFiniteLossError` with the ladders' names; their log-probs are then in `nonfinite.json` beside the
    checkpoints.
    """

    def __init__(
        self, model: Any, args: TrainingArguments, data: Prepared, reference: Sequence[Tensor] | None, plan: Plan
    ) -> None:
        settings = plan.settings
        if settings.objective.needs_reference and reference is None:
            raise ValueError(f"objective {settings.objective.name} needs reference log-probs")
        check_step_divides(settings, args.world_size)
        args.per_device_train_batch_size = settings.ladders_per_step // args.world_size
        order = schedule(data.interactions, settings.epochs, settings.ladders_per_step, args.seed)
        tokens = partial(data.tokens_of, layout=plan.agreed.layout, budget=plan.tokens_per_batch)
        order = balance_steps(order, settings.ladders_per_step, args.world_size, data.interactions, tokens)
        super().__init__(model=Policy(model), args=args, train_dataset=order, data_collator=list)
        self.remove_callback(PrinterCallback)
        self.trained = model  # without the policy around it
        self.sharded: SplitPolicy | None = None  # from when the training begins
        self.plan, self.steps = plan, len(order) // settings.ladders_per_step
        self._data, self.reference = data, reference
        self._objective = settings.objective
        self._loss_function = loss_function(settings.objective)
        self._epochs_per_step = settings.ladders_per_step / len(data.ladders)
        self._bar: Progress | None = None
        self._step_logs: dict[str, float] = {}
        self._step_sums: dict[str, Tensor] = {}
        self._warned = False
        self._writing: Path | None = None
        self._whole: dict[str, Tensor] | None = None
        self._step_log: StepLog | None = None if plan.log is None else StepLog(plan.log)

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)

    def train(self, resume_from_checkpoint: str | None = None, **options: Any) -> Any:
        """Train to the end, from `last_checkpoint()` for instance."""
        if not self.is_world_process_zero():
            return super().train(resume_from_checkpoint, **options)
        done = int(resume_from_checkpoint.rpartition("-")[2]) if resume_from_checkpoint else 0
        with Progress(self.plan.label, total=self.steps, unit="steps", done=done) as self._bar:
            return super().train(resume_from_checkpoint, **options)

    @property
    def rounding(self) -> float:
        """One rounding of the model's products, as a share of the result."""
        with self.accelerator.autocast():
            return unit(self.trained)

    @property
    def split_by(self) -> Sharding | None:
        """What the launcher was asked to split the training with."""
        return "FSDP" if self.plan.shard else None

    # One step ------------------------------------------------------------------------------------------------------

    def training_step(self, model: Any, inputs: list[int], num_items_in_batch: Any = None) -> Tensor:
        """Forward and backward over one step's ladders (indices); returns the step's loss on this process."""
        check_wrapped(model, self.split_by)
        model.train()
        ladders = [self._data.ladders[i] for i in inputs]
        self._step_sums = {}
        with_signal = sum(map(self._objective.learns_from, ladders, (self._data.views[i] for i in inputs)))
        counted = self.accelerator.reduce(torch.tensor(with_signal, device=self.args.device), "sum")
        # Gradients are averaged over processes, so each process's share of the mean is scaled up by their number.
        world = self.accelerator.num_processes
        passes = self.passes(inputs)
        total, parts = torch.zeros((), device=self.args.device), list[Logs]()
        count = self.sharded.maximum(len(passes)) if self.sharded else len(passes)
        batches = self.batches(passes)  # none is kept during its backward pass
        for number in range(count):
            last = number == count - 1
            if number >= len(passes):  # another process has one more pass
                self._backward(self._values(model, next(batches)).values.sum() * 0, last)
                continue
            wait = self.sharded is None and not last
            with self.accelerator.no_sync(model) if wait else contextlib.nullcontext():
                loss, logs = self._loss(model, passes[number], next(batches))
                share = logs.ladders / counted.clamp(min=1)
                self._backward(loss * share * world, last)
            total = total + (loss.detach() * share * world).to(total.dtype)
            parts.append(logs)
        if self.sharded is not None:
            self.sharded.clear_unused_gradients()
        self._step_logs = joined(gather_object([joined(parts).plain()])).figures()
        if self._bar is not None:
            self._bar.advance()
        return total

    def _backward(self, loss: Tensor, last: bool) -> None:
        self.accelerator.backward(loss)  # last: of the step

    def passes(self, inputs: Sequence[int]) -> list[list[int]]:
        """Group ladders (indices), such as a step's, into forward passes within the budget, those of similar length
        together. A ladder's views are in its pass."""
        of_ladder = [[self._data.tokenised[i] for i in self._data.with_views([i])[0]] for i in inputs]
        owner = [n for n, members in enumerate(of_ladder) for _ in members]
        tokenised = [tokens for members in of_ladder for tokens in members]
        budget, shared = self.plan.tokens_per_batch, self.plan.agreed.layout == "shared"
        units = rows_of(tokenised, budget) if shared else []
        separate = [[n] for n, tokens in enumerate(tokenised) if tokens.apart or not shared]
        together, apart = list[list[int]](), list[list[int]]()  # what is in one pass, as rows
        rows = [*units, *separate]
        for group in linked([[owner[n] for n in row] for row in rows]):
            (together if group[-1] < len(units) else apart).append(group)
        parts = [[row_parts([tokenised[n] for n in rows[row]]) for row in group] for group in together]
        # Prefixes that must be equally long are alone in their pass.
        room = budget if self.plan.agreed.unequal else 0
        begins, more = ([max(b for b, _ in part) for part in parts], [sum(m for _, m in part) for part in parts])
        packed = [[together[n] for n in chosen] for chosen in buckets(begins, room, more, [*map(len, parts)])]
        if apart:  # a ladder of K responses is K rows
            members = [[tokenised[n] for row in group for n in rows[row]] for group in apart]
            most = max(budget // max(sum(len(tokens.tokens) for tokens in group) for group in members), 1)
            longest = [max(tokens.longest for tokens in group) for group in members]
            packed += [[apart[n] for n in chosen] for chosen in buckets(longest, most)]
        owners = [[owner[n] for group in groups for row in group for n in rows[row]] for groups in packed]
        return [[inputs[n] for n in dict.fromkeys(numbers)] for numbers in owners]

    def batches(self, passes: Sequence[Sequence[int]]) -> Iterator[Batch]:
        """The batches of passes (ladders' indices), on the device; for a split model also the padding."""
        batches: Iterator[Batch] = ahead(map(self._collated, passes), self.args.device)
        if self.sharded is not None:
            token = text_token(self._data.tokenised[passes[0][0]])
            batches = self.sharded.padded_batches(batches, len(passes), token, self.plan.answers is not None)
        return map(methodcaller("to", self.args.device), batches)

    def _collated(self, chosen: Sequence[int]) -> Batch:
        """The ladders of a pass (indices), then their views."""
        tokenised = [self._data.tokenised[place] for place in self._data.with_views(chosen)[0]]
        agreed = self.plan.agreed
        return collate(tokenised, self._data.images, agreed.layout, self.plan.answers, agreed.unequal)

    def _values(self, model: Any, batch: Batch) -> TokenLogprobs:
        with self.accelerator.autocast():
            return token_logprobs(model, batch)

    def _loss(self, model: Any, chosen: Sequence[int], batch: Batch) -> tuple[Tensor, Logs]:
        policy = self._values(model, batch)
        places, views = self._data.with_views(chosen)
        reference = None
        if self.reference is not None:
            values = torch.cat([self.reference[place] for place in places])
            reference = policy.with_values(values.to(policy.values)).with_views(len(chosen), views)
        ladders = [self._data.ladders[i] for i in chosen]
        loss, logs = self._loss_function(policy.with_views(len(chosen), views), reference, ladders)
        with torch.no_grad():
            self._step_sums |= zip(batch.ids, policy.per_response(0.0), strict=True)
        if not torch.isfinite(loss):
            self._step_sums = {name: self._step_sums[name] for name in batch.ids}
            self._stop_non_finite("the loss")
        return loss, logs

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        if norm is not None and not math.isfinite(float(norm)):
            self._stop_non_finite("the gradient")
        return norm

    def _stop_non_finite(self, what: str) -> None:
        """Save the log-probs of the step's ladders (only the NaN or infinite ones, if there are any) and raise."""
        sums = {name: values.tolist() for name, values in self._step_sums.items()}
        bad = [name for name, values in sums.items() if not all(map(math.isfinite, values))] or list(sums)
        process = self.args.process_index
        path = Path(self.args.output_dir) / ("nonfinite.json" if not process else f"nonfinite-{process}.json")
        write_json(path, {"step": self.state.global_step, "log_probs": {n: [str(v) for v in sums[n]] for n in bad}})
        raise NonFiniteLossError(
            f"{what} is NaN or infinite in step {self.state.global_step + 1}; ladders {', '.join(bad)} (their "
            f"log-probs are in {path}); lower learning_rate or look at these ladders"
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Record the figures of a step, without times: the record must be the same in every run."""
        if "train_runtime" in logs:
            return
        super().log({**logs, **self._step_logs}, start_time)
        self.state.log_history[-1]["epoch"] = round(self.state.global_step * self._epochs_per_step, 6)
        if self._step_log is not None and self.is_world_process_zero():
            self._step_log.follow(self.state.log_history)
        fallen = best_fallen(self.state.log_history[-FALL_WINDOW:], self.rounding)
        if fallen is not None and not self._warned:
            self._warned = True
            say(
                f"warning: over the last {FALL_WINDOW} steps the best responses' log-probability was on average "
                f"{-fallen:.3f} nats per token below the reference's: the model unlearns its best answers; use "
                "mdpo with penalty: paper, or lower learning_rate"
            )

    # Checkpoints ---------------------------------------------------------------------------------------------------

    def last_checkpoint(self) -> str | None:
        """The newest complete checkpoint of this training."""
        complete = checkpoints(Path(self.args.output_dir), self.plan.fingerprint)
        return str(complete[-1]) if complete else None

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._writing or self.args.output_dir)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self._whole = self.whole_weights()
        folder = Path(self.args.output_dir)
        target = folder / f"checkpoint-{self.state.global_step}"
        if not self.args.should_save:  # other processes only add their random state
            self._write_checkpoint(model, trial, folder / f"writing-{target.name}")
            self.accelerator.wait_for_everyone()
            return
        write_folder(target, lambda place: self._write_checkpoint(model, trial, place), self._checkpoint_bytes())
        self._whole = None
        self.accelerator.wait_for_everyone()
        for old in checkpoints(folder, self.plan.fingerprint)[:-KEPT_CHECKPOINTS]:
            shutil.rmtree(old)

    def _write_checkpoint(self, model: Any, trial: Any, place: Path) -> None:
        self._writing = place
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._writing = None
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            inner = place / f"checkpoint-{self.state.global_step}"
            for path in inner.iterdir():
                path.rename(place / path.name)
            inner.rmdir()
            seal(place, self.plan.fingerprint)

    def _checkpoint_bytes(self) -> int:
        saved = [p for p in self.trained.parameters() if p.requires_grad or not isinstance(self.trained, PeftModel)]
        weights: int = sum(numbers(p) * p.element_size() for p in saved)
        moments: int = sum(2 * numbers(p) * p.element_size() for p in saved if p.requires_grad)
        return weights + moments + (1 << 20)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if self.args.should_save:
            self.trained.save_pretrained(output_dir, state_dict=self._whole)

    def whole_weights(self) -> dict[str, Tensor] | None:
        """What a model's `save_pretrained` needs as its `state_dict`; None if the model has it. All processes call this
        together."""
        return None if self.sharded is None else self.sharded.weights(isinstance(self.trained, PeftModel))

    def create_optimizer(self, model: Any = None) -> Any:
        """The optimizer, of split weights with FSDP2: a checkpoint's weights are loaded by now."""
        if self.plan.shard and self.sharded is None:
            self.sharded = Sharded(self.model, self.args.device)
        return super().create_optimizer(model)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.sharded is None:
            super()._save_optimizer_and_scheduler(output_dir)
        else:
            save_states(self.optimizer, self.lr_scheduler, Path(output_dir))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if self.sharded is None or checkpoint is None:
            super()._load_optimizer_and_scheduler(checkpoint)
        else:
            load_states(self.optimizer, self.lr_scheduler, Path(checkpoint))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load weights strictly: the saved names differ from the model's, and HF's own method would match none."""
        if isinstance(self.trained, PeftModel):
            super()._load_from_checkpoint(resume_from_checkpoint, self.trained)
            return
        saved = type(self.trained).from_pretrained(resume_from_checkpoint, dtype=self.trained.dtype)
        self.trained.load_state_dict(saved.state_dict(), strict=True)


def loss_function(objective: Objective) -> Callable[..., tuple[Tensor, Logs]]:
    """`(policy, reference, ladders) -> (loss, logs)`: the package's function of that name, or `compute_loss`."""
    if objective.name in OBJECTIVES:
        return partial(load(OBJECTIVES[objective.name]), settings=objective)
    return objective.compute_loss

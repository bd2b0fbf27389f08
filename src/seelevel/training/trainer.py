"""The trainer: `transformers.Trainer` whose step is a fixed number of ladders, whatever fits into one forward pass."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from peft import PeftModel
from torch import Tensor
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainingArguments

from seelevel.errors import InputError, NonFiniteLossError
from seelevel.ladder import Ladder
from seelevel.progress import Progress, say
from seelevel.registry import choose
from seelevel.store import write_folder, write_json
from seelevel.training.checkpoints import checkpoints, seal
from seelevel.training.logprobs import token_logprobs
from seelevel.training.objectives import OBJECTIVES
from seelevel.training.objectives.logs import Logs, joined
from seelevel.training.objectives.ratios import off
from seelevel.training.objectives.settings import ObjectiveSettings
from seelevel.training.packing import collate, row_length, rows_of
from seelevel.training.packing.tokens import ImageReader, TokenisedLadder
from seelevel.training.rounding import FLOAT32, unit
from seelevel.training.schedule import buckets, schedule
from seelevel.training.settings import Layout

FALL_WINDOW = 20
"""Steps over which the best responses' log-probability has to lie below the reference's for an alarm."""
KEPT_CHECKPOINTS = 1


@dataclass(frozen=True)
class TrainingData:
    """What is trained on: ladders, their tokens, their pictures; and each ladder's reference log-probs, [N] on the CPU,
    where the objective needs them."""

    ladders: Sequence[Ladder]
    tokenised: Sequence[TokenisedLadder]
    images: ImageReader
    reference: Sequence[Tensor] | None = None


class PreferenceTrainer(Trainer):
    """Trains on ladders with an objective of `seelevel.training.objectives`.

    One optimiser step covers exactly `ladders_per_step` ladders: the mean of the objective over those that count,
    however they are split over processes and forward passes (by a budget of padded tokens, neighbours in length
    together; in `shared` the rounds of an interaction in one row). The order is fixed by the seed. Checkpoints appear
    whole or not at all, under `fingerprint`, and a training that resumes from one ends in the same bytes as one that
    was never stopped.

    Raises `NonFiniteLossError` naming the ladders, whose log-probs are then in `nonfinite.json` beside the checkpoints.
    """

    label = "align"
    """What the progress bar is called."""

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        data: TrainingData,
        objective: ObjectiveSettings,
        epochs: float,
        ladders_per_step: int,
        layout: Layout = "shared",
        tokens_per_batch: int = 4096,
        fingerprint: str = "",
    ) -> None:
        if objective.needs_reference and data.reference is None:
            raise ValueError(f"objective {objective.name} needs reference log-probs")
        if ladders_per_step % args.world_size:
            raise InputError(
                f"ladders_per_step: {ladders_per_step} ladders do not divide over {args.world_size} processes; "
                "choose a multiple"
            )
        args.per_device_train_batch_size = ladders_per_step // args.world_size
        interactions = [one.interaction for one in data.tokenised]
        order = schedule(interactions, epochs, ladders_per_step, args.seed)
        super().__init__(model=model, args=args, train_dataset=order, data_collator=list)
        self.remove_callback(PrinterCallback)
        self.steps = len(order) // ladders_per_step
        self._bar: Progress | None = None
        self._data, self._settings, self._layout = data, objective, layout
        self._objective = choose("objective", objective.name, OBJECTIVES)
        self._budget, self._fingerprint = tokens_per_batch, fingerprint
        self._epochs_per_step = ladders_per_step / len(data.ladders)
        self._step_logs: dict[str, float] = {}
        self._step_sums: dict[str, Tensor] = {}
        self._warned = False
        self._writing: Path | None = None

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)

    def train(self, resume_from_checkpoint: str | None = None, **options: Any) -> Any:
        """Train to the end, from `last_checkpoint()` for instance."""
        if not self.is_world_process_zero():
            return super().train(resume_from_checkpoint, **options)
        done = int(resume_from_checkpoint.rpartition("-")[2]) if resume_from_checkpoint else 0
        with Progress(self.label, total=self.steps, unit="steps", done=done) as self._bar:
            return super().train(resume_from_checkpoint, **options)

    @property
    def rounding(self) -> float:
        """One rounding of the model's products, as a share of the result."""
        with self.accelerator.autocast():
            return unit(self.model)

    # One step ------------------------------------------------------------------------------------------------------

    def training_step(self, model: Any, inputs: list[int], num_items_in_batch: Any = None) -> Tensor:
        """Forward and backward over one step's ladders (indices); returns the step's loss on this process."""
        model.train()
        ladders = [self._data.ladders[i] for i in inputs]
        self._step_sums = {}
        counted = torch.tensor(sum(self._settings.counts(ladder.levels) for ladder in ladders), device=self.args.device)
        # Gradients are averaged over processes, so each process's share of the mean is scaled up by their number.
        world = self.accelerator.num_processes
        counted = self.accelerator.reduce(counted, "sum")
        groups = self._passes(inputs)
        total = torch.zeros((), device=self.args.device)
        parts: list[Logs] = []
        for number, group in enumerate(groups):
            last = number == len(groups) - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(model):
                loss, logs = self._loss(model, group)
                share = logs.ladders / counted.clamp(min=1)
                self.accelerator.backward(loss * share * world)
            total = total + (loss.detach() * share * world).to(total.dtype)
            parts.append(logs)
        self._step_logs = joined(gather_object([joined(parts).plain()])).figures()
        if self._bar is not None:
            self._bar.advance()
        return total

    def _passes(self, inputs: Sequence[int]) -> list[list[int]]:
        """A step's ladders, forward pass by forward pass."""
        tokenised = [self._data.tokenised[i] for i in inputs]
        if self._layout == "rows":  # a ladder is K of them
            budget = max(self._budget // max(len(one.tokens) for one in tokenised), 1)
            groups = buckets([one.row_length("rows") for one in tokenised], budget)
            return [[inputs[n] for n in group] for group in groups]
        rows = rows_of(tokenised, self._budget)
        groups = buckets([row_length([tokenised[n] for n in row]) for row in rows], self._budget)
        return [[inputs[n] for row in group for n in rows[row]] for group in groups]

    def _loss(self, model: Any, chosen: Sequence[int]) -> tuple[Tensor, Logs]:
        batch = collate([self._data.tokenised[i] for i in chosen], self._data.images, self._layout).to(self.args.device)
        with self.accelerator.autocast():
            policy = token_logprobs(model, batch)
        reference = None
        if self._data.reference is not None:
            values = torch.cat([self._data.reference[i] for i in chosen])
            reference = policy.with_values(values.to(policy.values))
        loss, logs = self._objective(policy, reference, [self._data.ladders[i] for i in chosen], self._settings)
        with torch.no_grad():
            self._step_sums |= zip(batch.ids, policy.per_response(0.0), strict=True)
        if not torch.isfinite(loss):
            self._step_sums = {name: self._step_sums[name] for name in batch.ids}
            self._stop_non_finite("the loss")
        return loss, logs

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)
        if norm is not None and not math.isfinite(float(norm)):
            self._stop_non_finite("the gradient")
        return norm

    def _stop_non_finite(self, what: str) -> None:
        """Save the log-probs of the step's ladders, those that are no numbers if any, and raise."""
        sums = {name: values.tolist() for name, values in self._step_sums.items()}
        bad = [name for name, values in sums.items() if not all(map(math.isfinite, values))] or list(sums)
        process = self.args.process_index
        path = Path(self.args.output_dir) / ("nonfinite.json" if not process else f"nonfinite-{process}.json")
        write_json(path, {"step": self.state.global_step, "log_probs": {n: [str(v) for v in sums[n]] for n in bad}})
        raise NonFiniteLossError(
            f"{what} is not finite in step {self.state.global_step + 1}; ladders {', '.join(bad)} (their log-probs "
            f"are in {path}); lower learning_rate or look at these ladders"
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Record a step: HF's figures and the objective's. Times are left out, so that the record is reproducible."""
        if "train_runtime" in logs:
            return
        super().log({**logs, **self._step_logs}, start_time)
        self.state.log_history[-1]["epoch"] = round(self.state.global_step * self._epochs_per_step, 6)
        fallen = best_fallen(self.state.log_history[-FALL_WINDOW:], self.rounding)
        if fallen is not None and not self._warned:
            self._warned = True
            say(
                f"warning: over the last {FALL_WINDOW} steps the best responses' log-probability lay "
                f"{-fallen:.3f} nats a token below the reference's: the model unlearns its best answers; use "
                "mdpo with penalty: paper, or lower learning_rate"
            )

    # Checkpoints ---------------------------------------------------------------------------------------------------

    def last_checkpoint(self) -> str | None:
        """The newest whole checkpoint of this training."""
        found = checkpoints(Path(self.args.output_dir), self._fingerprint)
        return str(found[-1]) if found else None

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._writing or self.args.output_dir)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir)
        target = folder / f"checkpoint-{self.state.global_step}"
        if not self.args.should_save:  # another process: it only adds its random state to what process 0 writes
            self._write_checkpoint(model, trial, folder / f"writing-{target.name}")
            self.accelerator.wait_for_everyone()
            return
        write_folder(target, lambda place: self._write_checkpoint(model, trial, place), self._checkpoint_bytes())
        self.accelerator.wait_for_everyone()
        for old in checkpoints(folder, self._fingerprint)[:-KEPT_CHECKPOINTS]:
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
            seal(place, self._fingerprint)

    def _checkpoint_bytes(self) -> int:
        saved = [p for p in self.model.parameters() if p.requires_grad or not isinstance(self.model, PeftModel)]
        weights: int = sum(p.numel() * p.element_size() for p in saved)
        moments: int = sum(2 * p.numel() * p.element_size() for p in saved if p.requires_grad)
        return weights + moments + (1 << 20)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load weights strictly. HF's own way reads the saved names into a model that has others, and matches none."""
        model = self.model if model is None else model
        if isinstance(model, PeftModel):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        saved = type(model).from_pretrained(resume_from_checkpoint, dtype=model.dtype)
        model.load_state_dict(saved.state_dict(), strict=True)


def best_fallen(history: Sequence[dict[str, float]], rounding: float = FLOAT32) -> float | None:
    """The average change (negative, nats per token) of the best responses over a full window, if they fell; else None.
    A fall within rounding does not count: the mean over n steps is off by 1/√n of what a token's log-prob is off by."""
    changes = [entry["best_change"] for entry in history if "best_change" in entry]
    if len(changes) < FALL_WINDOW:
        return None
    mean = sum(changes) / len(changes)
    return mean if mean < -off(rounding) / len(changes) ** 0.5 else None

"""Ladders and a model become a trained model folder: load, prepare, agree, reference, train, save."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import TrainingArguments, set_seed

from seelevel.errors import InputError
from seelevel.fingerprints import digest
from seelevel.json_text import loads
from seelevel.ladder import Ladder
from seelevel.models.base import Completion, Prompt, Sampling
from seelevel.models.local import LocalModel
from seelevel.opening import read_text
from seelevel.progress import say
from seelevel.store import cache_folder, clear_unfinished, expand_path, write_atomically, write_folder, write_json
from seelevel.training import zero
from seelevel.training.after import evenly, logprobs_after
from seelevel.training.agreement import Agreed
from seelevel.training.arguments import training_arguments
from seelevel.training.before import before_training
from seelevel.training.compiling import uncompiled
from seelevel.training.launched import join_processes, naming_lost_ranks
from seelevel.training.loading import (
    base_of_adapter,
    chosen_device,
    dropout_of_adapter,
    free_unused,
    freeze_vision,
    load_to_train,
    skip_adapter_input_cast,
    with_lora,
)
from seelevel.training.logprobs import use_own_logits, uses_own_logits
from seelevel.training.margins import FILE as LOGPROBS
from seelevel.training.margins import in_order, write_logprobs
from seelevel.training.objectives.settings import DpoSettings
from seelevel.training.packing.passes import recompute_layers
from seelevel.training.packing.tokens import ImageReader
from seelevel.training.prepare import Prepared, ladder_content, prepare
from seelevel.training.reference import by_level, data_fingerprint, weights_fingerprint
from seelevel.training.saving import check_weights_finite, json_lines, model_bytes, model_writer, trained_weights
from seelevel.training.settings import NO_EFFECT, TOKENS_PER_BATCH, TrainSettings, precision
from seelevel.training.sharding import taken_over
from seelevel.training.snapshots import Snapshots, snapshot_steps
from seelevel.training.step_log import FALL_WINDOW, best_fallen, lines_of
from seelevel.training.trainer import Plan, PreferenceTrainer

SAME_RESULT = ("offload_activations", "use_liger_kernel")
"""Settings that change the result by rounding at most."""
MAX_WARMUP = 0.1
"""The largest share of the steps that may be warm-up, for trainings shorter than `warmup_steps` expects."""


@dataclass(frozen=True)
class Job:
    """One training as the caller asks for it. `shard`: with FSDP2; `zero`: with this configuration of DeepSpeed."""

    ladders: Sequence[Ladder]
    model: str
    settings: TrainSettings
    out: Path
    seed: int
    label: str
    shard: bool = False
    zero: dict[str, Any] | None = None

    @property
    def target(self) -> Path:
        """The folder of the result: a model, or an adapter."""
        return self.out / ("adapter" if self.settings.lora or base_of_adapter(self.model) else "model")

    @property
    def splits_weights(self) -> bool:
        """Whether no process has all weights of the model on its device."""
        return self.shard or (self.zero is not None and self.zero["zero_optimization"]["stage"] == 3)

    @property
    def key(self) -> dict[str, Any]:
        """The settings that change the result by more than rounding."""
        lora = self.settings.lora
        dropout = dropout_of_adapter(self.model) if lora is None else lora.dropout
        rounding = set() if dropout else {"compile", "answers_per_pass"}  # with dropout, both change what is drawn
        return self.settings.model_dump(mode="json", exclude={"cache", *SAME_RESULT, *NO_EFFECT, *rounding})

    @cached_property
    def fingerprint(self) -> str:
        """A digest of everything that the caller has chosen."""
        return digest(self.key, self.model, self.seed, [ladder_content(ladder) for ladder in self.ladders])


@dataclass(frozen=True)
class Session:
    """A loaded model with the ladders tokenised for it. `mixed`: products in bfloat16 by autocast; `weights`: the
    fingerprint of the weights as loaded."""

    model: Any
    processor: Any
    arguments: TrainingArguments
    device: str
    dtype: str
    mixed: bool
    weights: str
    data: Prepared
    budget: int


def fit(
    ladders: Sequence[Ladder], model_path: str, settings: TrainSettings, out: Path, seed: int = 0, label: str = "align"
) -> dict[str, Any]:
    """Train a model on ladders; returns counts for a manifest. `label` opens every line that is printed.

    Writes `out/model` (weights and processor) or, with LoRA or from an adapter, `out/adapter`, whole or not at all;
    `out/snapshots/step-<n>`, the same as it was after earlier steps, and `out/logprobs.parquet`, if the settings ask;
    `out/log.jsonl`, one line per step, as it trains; `out/left_out.jsonl`, the ladders not trained on, with reasons;
    `out/training.json`, the returned counts. While it runs, `out/checkpoints` and the cache let the same call continue
    after a kill, to the same bytes. Raises `InputError` if the objective can learn from no ladder or none fits,
    `NonFiniteLossError` if a loss, a gradient or a final weight is NaN or infinite, `RankLostError` if another process
    of this training has ended or does not answer.

    `model_path` may be an adapter's folder. Then that adapter is trained, and the reference is the model with the
    adapter as loaded.
    """
    with naming_lost_ranks(), taken_over() as shard, zero.taken_over() as split:
        job = Job(ladders, model_path, settings, out, seed, label, shard, split)
        if (facts := _finished(job)) is not None:
            return facts
        if reason := settings.objective.why_unusable(ladders):
            raise InputError(reason)
        session, _, trainer = _ready(job)
        if settings.trackers:
            _track(job, session, trainer)
        _train(job, session, trainer)
        return _save(job, session, trainer)


def rehearse(ladder: Ladder, model_path: str, settings: TrainSettings, out: Path) -> str:
    """One training step on a ladder, without an optimiser; returns what would train, in a line. `out` is scratch.

    The objective is DPO, whatever the recipe's is, so that any two answers will do. Raises what `fit` would raise.
    """
    changes = {"objective": DpoSettings(), "ladders_per_step": 1, "cache": False}
    job = Job([ladder], model_path, settings.model_copy(update=changes), out, 0, "try")
    _, layout, trainer = _ready(job)
    loss = trainer.training_step(trainer.model, [0])
    trained = {name: weight for name, weight in trainer.trained.named_parameters() if weight.requires_grad}
    if not any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in trained.values()):
        raise InputError(f"no gradient reaches any of the {len(trained)} tensors that should train")
    layers = sorted({name.partition(".lora_")[0].rpartition(".")[2] for name in trained if ".lora_" in name})
    where = f", adapters on {', '.join(layers)}" if layers else ""
    count = trained_weights(trainer.trained)
    return f"one step: loss {float(loss):.3f}, {count:,} weights train{where}, layout {layout}"


def _ready(job: Job) -> tuple[Session, str, PreferenceTrainer]:
    """The loaded model, its layout, and its trainer, which has the reference's log-probs."""
    session = _load(job)
    split = (session.arguments.device, partial(_again, job)) if job.splits_weights else None
    folder = reference_folder(job.settings, job.out)
    # The reference's log-probs must have the same precision as the policy's.
    with torch.autocast(torch.device(session.device).type, torch.bfloat16, enabled=session.mixed):
        agreed, reference = before_training(
            session.model, session.data, job.settings, session.budget, folder, session.weights, split
        )
    if split is not None:
        own_logits = uses_own_logits(session.model)
        session = replace(session, model=None)
        free_unused()  # before the model is loaded again
        session = replace(session, model=_again(job, session.dtype))
        if own_logits:
            use_own_logits(session.model)
    return session, agreed.layout, _trainer(job, session, agreed, reference)


def _again(job: Job, dtype: str) -> Any:
    """The model once more, in the host's memory."""
    return load_to_train(job.model, job.settings, dtype, "cpu")[0]


def _finished(job: Job) -> dict[str, Any] | None:
    """The counts of this training if it has ended before; None if not. Raises `InputError` if another one has."""
    if not job.target.is_dir():
        return None
    facts: dict[str, Any] = loads(read_text(job.out / "training.json"))
    if facts.pop("request") != job.fingerprint:
        raise InputError(f"{job.target} was trained on other ladders or with other settings; choose another folder")
    _remove_working_files(job)
    return facts


def _remove_working_files(job: Job) -> None:
    for folder in ("checkpoints", "reference"):
        shutil.rmtree(job.out / folder, ignore_errors=True)


def _load(job: Job) -> Session:
    """Load the model, then tokenise the ladders for it."""
    settings, device = job.settings, chosen_device(job.settings.device)
    continues = base_of_adapter(job.model) is not None
    dtype, mixed = precision(settings, device, adapters=continues)
    if job.zero is not None:
        zero.check_dtype(dtype, adapters=continues or settings.lora is not None)
    join_processes(device, settings.process_timeout)
    arguments = training_arguments(settings, job.out / "checkpoints", job.seed, device, mixed, job.splits_weights)
    if arguments.process_index == 0:
        for folder in (job.out, job.out / "checkpoints"):
            folder.mkdir(parents=True, exist_ok=True)
            clear_unfinished(folder)
    model, processor = load_to_train(job.model, settings, dtype, "cpu" if job.splits_weights else device)
    data = prepare(job.ladders, processor, ImageReader(processor), settings, model.config, job.seed)
    budget = settings.tokens_per_batch or TOKENS_PER_BATCH.get(device, TOKENS_PER_BATCH["cuda"])
    return Session(model, processor, arguments, device, dtype, mixed, weights_fingerprint(model), data, budget)


def _trainer(job: Job, session: Session, agreed: Agreed, reference: Sequence[Tensor] | None) -> PreferenceTrainer:
    """A trainer of the weights that train: all but a frozen vision tower, or adapters alone."""
    settings, model, data, arguments = job.settings, session.model, session.data, session.arguments
    if settings.freeze_vision and not isinstance(model, PeftModel):
        freeze_vision(model)
    set_seed(job.seed)
    if settings.lora:
        model = with_lora(model, settings.lora)
    if session.mixed:
        skip_adapter_input_cast(model)
    if settings.gradient_checkpointing:
        recompute_layers(model)
    steps = len(data.ladders) * settings.epochs / settings.ladders_per_step
    arguments.warmup_steps = min(settings.warmup_steps, int(steps * MAX_WARMUP))
    content = data_fingerprint(data.tokenised)
    answers = settings.answers_per_pass if isinstance(settings.answers_per_pass, int) else None
    fingerprint = digest(job.key, session.weights, content, data.interactions, agreed, job.seed)
    log = job.out / "log.jsonl"
    plan = Plan(settings, agreed, session.budget, answers, fingerprint, job.label, log, job.shard)
    if job.zero is not None:
        from seelevel.training.zero_trainer import ZeroTrainer

        return ZeroTrainer(job.zero, model, arguments, data, reference, plan)
    return PreferenceTrainer(model, arguments, data, reference, plan)


def _track(job: Job, session: Session, trainer: PreferenceTrainer) -> None:
    """Have trackers follow the training."""
    from seelevel.training.tracking import ANSWER_TOKENS, Place, Tracking, fixed_prompts

    processor = deepcopy(session.processor)  # a tokenizer keeps the padding of its last call, and saves it

    def ask(prompts: Sequence[Prompt]) -> list[Completion]:
        with uncompiled(), trainer.accelerator.autocast():
            model = LocalModel(trainer.trained, processor, job.model)
            return model.generate(prompts, Sampling(max_new_tokens=ANSWER_TOKENS))

    fingerprint = trainer.plan.fingerprint
    name = f"{job.out.parent.name}-{job.label}-{digest(str(job.out.resolve()), fingerprint)[:8]}"
    place = Place(job.out, Path(trainer.args.output_dir), name, fingerprint)
    prompts = fixed_prompts(session.data.ladders, job.settings.objective.conditions(job.ladders))
    if trainer.plan.shard or job.zero:
        say(f"{job.label}: trackers get figures but no answers, because one process alone cannot ask a split model")
        prompts = []
    trainer.add_callback(Tracking(job.settings.trackers, job.settings.report_every, place, prompts, ask))


def _train(job: Job, session: Session, trainer: PreferenceTrainer) -> None:
    """Train to the end, from the newest checkpoint if there is one."""
    model, settings, processes = trainer.trained, job.settings, session.arguments.world_size
    kind = "FSDP2" if job.shard else "DDP" if job.zero is None else f"ZeRO {job.zero['zero_optimization']['stage']}"
    say(
        f"{job.label}: {len(session.data.ladders)} ladders, {trainer.steps} steps of {settings.ladders_per_step}, "
        f"{settings.objective.name}, layout {trainer.plan.agreed.layout}; {trained_weights(model):,} weights train, "
        f"{session.dtype} on {session.device}{f', {processes} processes ({kind})' * (processes > 1)}"
    )
    checkpoint = trainer.last_checkpoint()
    wanted = snapshot_steps(trainer.steps, settings.snapshot_count)
    snapshots = Snapshots(job.out, wanted, lambda: _writer(job, session, trainer), model_bytes(model))
    if session.arguments.process_index == 0:
        snapshots.clear(after=int(checkpoint.rpartition("-")[2]) if checkpoint else 0)
    trainer.add_callback(snapshots)
    if checkpoint is not None:
        say(f"{job.label}: goes on from {Path(checkpoint).name}")
    trainer.train(resume_from_checkpoint=checkpoint)
    check_weights_finite(model, job.label)


def _writer(job: Job, session: Session, trainer: PreferenceTrainer) -> Callable[[Path], None]:
    conditions = job.settings.objective.conditions(job.ladders)
    return model_writer(trainer.trained, session.processor, conditions, trainer.whole_weights())


def _save(job: Job, session: Session, trainer: PreferenceTrainer) -> dict[str, Any]:
    """Write the logs, the counts and, last, the model; returns the counts."""
    model, left_out = trainer.trained, session.data.left_out
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    windows = (history[end - FALL_WINDOW : end] for end in range(FALL_WINDOW, len(history) + 1))
    facts = {
        "ladders": len(session.data.ladders),
        "left_out": dict(sorted(Counter(entry.kind for entry in left_out).items())),
        "steps": trainer.state.global_step,
        "layout": trainer.plan.agreed.layout,
        "dtype": session.dtype,
        "device": session.device,
        "trained_weights": trained_weights(model),
        "best_fell": any(best_fallen(window, trainer.rounding) is not None for window in windows),
    }
    if trainer.reference is not None:
        count = len(session.data.ladders)
        facts["logprobs"] = by_level(session.data.ladders, session.data.tokenised[:count], trainer.reference[:count])
    places = evenly(len(session.data.ladders), job.settings.log_probs_of)
    after = logprobs_after(trainer, session.data, places) if places else []
    if after:
        facts["in_order"] = in_order([session.data.ladders[place] for place in places], after)
    write = _writer(job, session, trainer)
    if session.arguments.process_index == 0:
        write_atomically(job.out / "log.jsonl", lines_of(history))
        write_atomically(job.out / "left_out.jsonl", json_lines([asdict(entry) for entry in left_out]))
        if after:
            write_logprobs(job.out / LOGPROBS, after)
        write_json(job.out / "training.json", {**facts, "request": job.fingerprint})
        write_folder(job.target, write, model_bytes(model))
        _remove_working_files(job)
    trainer.accelerator.wait_for_everyone()
    return facts


def reference_folder(settings: TrainSettings, out: Path) -> Path:
    """Where reference log-probs are kept: the user's cache, a folder they chose, or this run alone."""
    if settings.cache is False:
        return out / "reference"
    return cache_folder() / "reference" if settings.cache is True else Path(expand_path(settings.cache, "cache"))

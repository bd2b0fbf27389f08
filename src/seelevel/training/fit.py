"""Ladders and a model in, a trained model folder out."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from peft import PeftModel
from transformers import TrainingArguments, set_seed

from seelevel.errors import InputError, NonFiniteLossError
from seelevel.fingerprints import digest
from seelevel.ladder import Ladder
from seelevel.models.conditions import FILE as CONDITIONS
from seelevel.progress import say
from seelevel.store import cache_folder, clear_unfinished, write_atomically, write_folder, write_json
from seelevel.training.agreement import check_head, checked_layout
from seelevel.training.loading import _adapted, _device, _freeze_vision, _load, _with_lora, skip_adapter_input_cast
from seelevel.training.packing.tokens import ImageReader
from seelevel.training.prepare import _content, prepare
from seelevel.training.reference import data_fingerprint, reference_logprobs, weights_fingerprint
from seelevel.training.settings import (
    TOKENS_PER_BATCH,
    TrainSettings,
    precision,
)
from seelevel.training.trainer import FALL_WINDOW, PreferenceTrainer, TrainingData, best_fallen

MOST_WARMUP = 0.1


def fit(
    ladders: Sequence[Ladder], model_path: str, settings: TrainSettings, out: Path, seed: int = 0, label: str = "align"
) -> dict[str, Any]:
    """Train a model on ladders; returns counts for a manifest. `label` opens what is printed.

    Writes `out/model` (weights and processor) or, with LoRA or from an adapter, `out/adapter`, whole or not at all;
    `out/log.jsonl`, one JSON a step; `out/left_out.jsonl`, the ladders not trained on, with reasons;
    `out/training.json`, what is returned. While it runs, `out/checkpoints` and the cache let the same call continue
    after it was killed, to the same bytes. Raises `InputError` when no ladder says anything to the objective or none
    fits, `NonFiniteLossError` where a loss, a gradient or the weights in the end are no numbers.

    `model_path` may be an adapter's folder: that adapter is trained on, and the reference is the model as loaded, with
    the adapter as it was.
    """
    target, facts_file = out / ("adapter" if settings.lora or _adapted(model_path) else "model"), out / "training.json"
    asked = settings.model_dump(mode="json", exclude={"cache"})
    request = digest(asked, model_path, seed, [_content(ladder) for ladder in ladders])
    if target.is_dir():
        done: dict[str, Any] = json.loads(facts_file.read_text())
        if done.pop("request") != request:
            raise InputError(f"{target} was trained on other ladders or with other settings; choose another folder")
        for left in ("checkpoints", "reference"):
            shutil.rmtree(out / left, ignore_errors=True)
        return done
    if reason := settings.objective.refusal(ladders):
        raise InputError(reason)
    device = _device(settings.device)
    dtype, mixed = precision(settings, device, adapters=_adapted(model_path) is not None)
    arguments = _arguments(settings, out, seed, device, mixed)
    first = arguments.process_index == 0
    if first:
        for folder in (out, out / "checkpoints"):
            folder.mkdir(parents=True, exist_ok=True)
            clear_unfinished(folder)
    model, processor = _load(model_path, settings, dtype, device)
    images = ImageReader(processor)
    usable, tokenised, left_out = prepare(ladders, processor, images, settings, model.config)
    budget = settings.tokens_per_batch or TOKENS_PER_BATCH.get(device, TOKENS_PER_BATCH["cuda"])
    weights = weights_fingerprint(model)
    reference = None
    # The reference's numbers are to be of the policy's own precision.
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=mixed):
        check_head(model, tokenised, images)
        layout = checked_layout(model, tokenised, images, settings.layout, budget)
        if settings.objective.needs_reference:
            folder = reference_folder(settings, out)
            reference = reference_logprobs(model, tokenised, images, layout, folder, weights, PartialState())
    if settings.freeze_vision and not isinstance(model, PeftModel):
        _freeze_vision(model)
    set_seed(seed)
    if settings.lora:
        model = _with_lora(model, settings.lora)
    if mixed:
        skip_adapter_input_cast(model)
    steps = len(usable) * settings.epochs / settings.ladders_per_step
    arguments.warmup_steps = min(settings.warmup_steps, int(steps * MOST_WARMUP))
    interactions = [one.interaction for one in tokenised]  # by which the order is laid
    fingerprint = digest(asked, weights, data_fingerprint(tokenised, images), interactions, layout, seed)
    had_cache = vars(model.config).get("use_cache")
    trainer = PreferenceTrainer(
        model,
        arguments,
        TrainingData(usable, tokenised, images, reference),
        settings.objective,
        settings.epochs,
        settings.ladders_per_step,
        layout,
        budget,
        fingerprint,
    )
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    say(
        f"{label}: {len(usable)} ladders, {trainer.steps} steps of {settings.ladders_per_step}, "
        f"{settings.objective.name}, layout {layout}; {trained:,} weights train, "
        f"{dtype} on {device}"
    )
    trainer.label = label
    trainer.train(resume_from_checkpoint=trainer.last_checkpoint())
    check_weights_finite(model, label)
    if had_cache is None:  # the trainer switches the cache off in the configuration, which is saved with the model
        del model.config.use_cache
    else:
        model.config.use_cache = had_cache
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    facts = {
        "ladders": len(usable),
        "left_out": dict(sorted(Counter(entry["kind"] for entry in left_out).items())),
        "steps": trainer.state.global_step,
        "layout": layout,
        "dtype": dtype,
        "device": device,
        "trained_weights": trained,
        "best_fell": any(
            best_fallen(history[end - FALL_WINDOW : end], trainer.rounding) is not None
            for end in range(FALL_WINDOW, len(history) + 1)
        ),
    }

    asked_for = settings.objective.asked_for(ladders)

    def write(place: Path) -> None:
        model.save_pretrained(place)
        processor.save_pretrained(place)
        if asked_for is not None:
            write_json(place / CONDITIONS, asdict(asked_for))

    if first:
        write_atomically(out / "log.jsonl", "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in history))
        write_atomically(out / "left_out.jsonl", "".join(json.dumps(e, sort_keys=True) + "\n" for e in left_out))
        write_json(facts_file, {**facts, "request": request})
        write_folder(target, write, sum(p.numel() * p.element_size() for p in model.parameters()) + (1 << 22))
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
        shutil.rmtree(out / "reference", ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    return facts


def check_weights_finite(model: Any, label: str) -> None:
    """Raise `NonFiniteLossError` where the last step, whose loss nobody will compute, has ruined what was trained."""
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    if ruined := [name for name, weight in trained if not weight.isfinite().all()]:
        raise NonFiniteLossError(
            f"{label}: {len(ruined)} of {len(trained)} tensors of weights hold numbers that are not finite after the "
            f"last step ({ruined[0]} the first); nothing is saved; lower learning_rate"
        )


def reference_folder(settings: TrainSettings, out: Path) -> Path:
    """Where reference log-probs are kept: the user's cache, a folder of his choice, or the run alone."""
    if settings.cache is False:
        return out / "reference"
    return cache_folder() / "reference" if settings.cache is True else Path(settings.cache).expanduser()


def _arguments(settings: TrainSettings, out: Path, seed: int, device: str, mixed: bool) -> TrainingArguments:
    kind = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}[settings.scheduler]
    return TrainingArguments(
        output_dir=str(out / "checkpoints"),
        num_train_epochs=1,  # the schedule holds all epochs, laid end to end
        learning_rate=settings.learning_rate,
        lr_scheduler_type=kind,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        activation_checkpointing=settings.gradient_checkpointing,
        bf16=mixed,
        save_strategy="steps",
        save_steps=settings.save_steps,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        use_cpu=device == "cpu",
        seed=seed,
    )

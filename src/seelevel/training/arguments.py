"""What `transformers.Trainer` is told of a training."""

from __future__ import annotations

from pathlib import Path

from transformers import TrainingArguments

from seelevel.training.settings import TrainSettings


class Unmoved(TrainingArguments):
    """Leaves the model in the host's memory, from where its weights are split over the devices."""

    @property
    def place_model_on_device(self) -> bool:
        return False


def training_arguments(
    settings: TrainSettings, out: Path, seed: int, device: str, mixed: bool, split: bool = False
) -> TrainingArguments:
    """out: the folder of the checkpoints; mixed: products in bfloat16 by autocast; split: no device gets the whole
    model."""
    kind = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}[settings.scheduler]
    return (Unmoved if split else TrainingArguments)(
        output_dir=str(out),
        num_train_epochs=1,  # the schedule holds all epochs, one after another
        learning_rate=settings.learning_rate,
        lr_scheduler_type=kind,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
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
        ddp_timeout=int(settings.process_timeout),
        seed=seed,
    )

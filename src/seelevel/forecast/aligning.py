"""The cost of a training on this machine, and how many answers go through the model at once in its memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seelevel.forecast.memory import Split
from seelevel.forecast.shapes import adapter_of, shape_of
from seelevel.forecast.training import Cost, lengths, token_counter, training_cost
from seelevel.ladder import Ladder
from seelevel.progress import say
from seelevel.training import zero
from seelevel.training.launched import sharding, world_size
from seelevel.training.settings import TrainSettings, precision

STEP_OVERHEAD = 0.15  # seconds of an optimiser step beyond its arithmetic
GPU_FLOPS = 150e12  # per second, of a large GPU: bfloat16 at half its peak
LARGE = 1e9  # a model with more weights is assumed to run on a GPU, even if there is none
PROCESS_BYTES = 6e8  # Python, torch and what they load
CHOICES = ("all", 8, 4, 2, 1)
USED = 0.85
"""The share of a device's memory that a training may be forecast to need."""
SAMPLE = 2000


def human(number: float) -> str:
    """1234567 → 1.2M."""
    for unit in ("", "k", "M", "G"):
        if abs(number) < 1000:
            return f"{number:.0f}{unit}" if not unit else f"{number:.1f}{unit}"
        number /= 1000
    return f"{number:.1f}T"


@dataclass(frozen=True)
class Training:
    """The cost of a training on so many ladders, on a kind of device, in a number format. `absent`: the device is not
    available on this machine. `answers`: the most of a ladder in one piece, or `all`."""

    cost: Cost
    ladders: int
    device: str
    absent: bool
    dtype: str
    answers: int | str

    def seconds(self, flops: float) -> float:
        """Time on a processor with so many floating-point operations per second, or on a large GPU."""
        speed = flops if self.device == "cpu" else GPU_FLOPS
        return (self.cost.flops + self.cost.reference_flops) / speed + self.cost.steps * STEP_OVERHEAD

    @property
    def memory(self) -> float:
        """Bytes: on the CPU of the whole process, on a GPU of its own memory."""
        total = self.cost.memory.total
        return total if self.device != "cpu" else total + self.cost.pictures + PROCESS_BYTES

    def lines(self, settings: TrainSettings) -> list[str]:
        """What the memory is used for, and how much is kept for other runs."""
        parts = ", ".join(f"{name} {human(value)}B" for name, value in vars(self.cost.memory).items())
        largest = self.cost.largest
        where = f"{self.dtype} on {self.device}" + (", not available on this machine" if self.absent else "")
        beside = f"; besides, pictures need {human(self.cost.pictures)}B"
        if self.device == "cpu":
            beside += f" and the program {human(PROCESS_BYTES)}B"
        lines = [
            f"align needs {human(self.cost.memory.total)}B: {parts} ({where}, layout {settings.layout}, "
            f"answers_per_pass {self.answers}, "
            f"{self.cost.passes} passes per step, the largest of {largest.tokens:,} tokens){beside}"
        ]
        if settings.objective.needs_reference:
            size = human(self.cost.scored * 4)
            lines.append(f"align's reference: one pass over {self.ladders} ladders, {size}B kept for other runs")
        if count := settings.snapshot_count:
            each = human(self.cost.saved)
            lines.append(f"align keeps {count} snapshots of {each}B, {human(count * self.cost.saved)}B on the disk")
        return lines


def training(
    settings: TrainSettings, model: str, sample: Sequence[Ladder], count: int, levels: int, seed: int
) -> Training | None:
    """The cost of training a model on `count` ladders like the sample's; None if its shape is unknown. Decides
    `answers_per_pass: auto`."""
    shape, adapter = shape_of(model), adapter_of(model)
    ladders = [settings.objective.select_responses(ladder) for ladder in sample]
    views = settings.objective.views(ladders, seed)
    if settings.objective.best_only:
        levels = min(levels, 1)
    measured = [] if shape is None else lengths(ladders, token_counter(model), shape.image_tokens, levels, views)
    if shape is None or not measured:
        return None
    trained = settings if adapter is None else settings.model_copy(update={"lora": adapter})
    gpu = Path("/proc/driver/nvidia").exists()
    device = settings.device if settings.device != "auto" else "cuda" if gpu or shape.weights > LARGE else "cpu"
    absent = device.startswith("cuda") and not gpu
    if not device.startswith("cuda"):
        trained = trained.model_copy(update={"offload_activations": False})
    dtype, mixed = precision(trained, device)
    split = split_here()
    room = float("inf") if absent else USED * memory_of(device) - PROCESS_BYTES
    for answers in CHOICES if settings.answers_per_pass == "auto" else (settings.answers_per_pass,):
        tried = trained.model_copy(update={"answers_per_pass": answers})
        cost = training_cost(shape, tried, measured, count, device.partition(":")[0], dtype, mixed, seed, split)
        if cost.memory.total <= room:
            break
    return Training(cost, count, device, absent, dtype, answers)


def split_here() -> Split:
    """How the launcher of this process splits a training. Raises `InputError` as `zero.asked_configuration` does."""
    processes, kind = world_size(), sharding()
    if kind is None or processes == 1:
        return Split(processes)
    whole = kind == "DEEPSPEED" and zero.asked_configuration()["zero_optimization"]["stage"] < 3
    return Split(processes, 1 if whole else processes, processes)


def memory_of(device: str) -> float:
    """Bytes of memory of a device of this machine: `cpu`, `cuda`, `cuda:1`; infinite where it cannot be known."""
    if device == "cpu":
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    if not device.startswith("cuda"):
        return float("inf")
    import torch

    return float(torch.cuda.get_device_properties(device).total_memory)


def decided(settings: TrainSettings, model: str, ladders: Sequence[Ladder], seed: int) -> TrainSettings:
    """The settings with a number, or `all`, for `answers_per_pass: auto`, on the device that will train. Prints a line
    if it is not `all`, and one if even a single answer is forecast to need more memory than there is."""
    if settings.answers_per_pass != "auto":
        return settings
    from seelevel.training.loading import chosen_device

    here = settings.model_copy(update={"device": chosen_device(settings.device)})
    cost = training(here, model, ladders[:SAMPLE], len(ladders), 0, seed)
    if cost is None or cost.answers == "all":
        return settings.model_copy(update={"answers_per_pass": "all"})
    memory, needed = human(memory_of(cost.device)), human(cost.cost.memory.total)
    say(
        f"align: answers_per_pass: {cost.answers}, because all at once would not fit into the {memory}B of "
        f"{cost.device}; it takes longer (forecast: {needed}B)"
    )
    if cost.cost.memory.total > USED * memory_of(cost.device) - PROCESS_BYTES:
        say(
            f"align: even so, the forecast is {needed}B: set gradient_checkpointing: true, offload_activations: true, "
            "a smaller tokens_per_batch, or lora"
        )
    return settings.model_copy(update={"answers_per_pass": cost.answers})

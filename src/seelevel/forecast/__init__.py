"""What a run would do and cost, before it runs: records, models, tokens, memory, time."""

from __future__ import annotations

import math
import os
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from seelevel.errors import free_bytes
from seelevel.forecast.shapes import adapter_of, shape_of
from seelevel.forecast.training import Cost, lengths, token_counter, training_cost
from seelevel.formats.parquet import read_ladders
from seelevel.generate.settings import FinetuneSettings
from seelevel.ladder import Ladder
from seelevel.models.base import ModelRef, is_server
from seelevel.models.files import ModelSize, model_size
from seelevel.models.folders import adapter_base
from seelevel.naming import count_questions, count_records, first_ladders, world_models
from seelevel.pipeline import Run
from seelevel.store import cache_folder
from seelevel.training.settings import TrainSettings, precision

# Measured on the embedded world: a decoding step of a small model costs this much before any arithmetic, and
# arithmetic reaches about this share of a large matrix product's speed.
STEP_SECONDS, EFFICIENCY = 0.010, 0.3
GENERATION_BATCH = 64
RESPONSE_SHARE = 0.5  # answers end by themselves: about half the permitted tokens
STEP_OVERHEAD = 0.15  # seconds of an optimiser step beside its arithmetic
GPU_FLOPS, GPU_BYTES = 150e12, 1.5e12  # a second of a large GPU: in bfloat16 at half its peak; from its memory
LARGE, LARGE_BATCH = 1e9, 16  # a model of so many weights is forecast on a GPU, also where there is none
PROCESS_BYTES = 6e8  # Python, torch and what they load
SAMPLE = 2000
STANDARD_TOKENS = 192  # permitted, as it were, where all responses are made of the standard one


def local_size(model: ModelRef) -> ModelSize | None:
    """Size of a model in a folder, or of a known one that is not on this disk; else None."""
    folder = Path(model.path)
    if folder.is_dir() and (base := adapter_base(folder)) is not None:
        return local_size(ModelRef(model.name, base))
    if folder.is_dir():
        return model_size(folder)
    shape = None if is_server(model.path) else shape_of(model.path)
    return None if shape is None else ModelSize(shape.weights, "", shape.image_tokens)


def described(name: str, size: ModelSize | None) -> str:
    """`world:s (722.8k parameters, stored F16)`."""
    if size is None:
        return f"{name} ({'on a server' if is_server(name) else 'not on this disk'})"
    where = f"stored {size.dtype}" if size.dtype else "not on this disk"
    return f"{name} ({human(size.parameters)} parameters, {where})"


def human(number: float) -> str:
    """1234567 → 1.2M."""
    for unit in ("", "k", "M", "G"):
        if abs(number) < 1000:
            return f"{number:.0f}{unit}" if not unit else f"{number:.1f}{unit}"
        number /= 1000
    return f"{number:.1f}T"


def matmul_flops() -> float:
    """Floating-point operations a second of a float32 matrix product on this machine's processor."""
    import numpy as np

    a = np.ones((768, 768), dtype=np.float32)
    a @ a
    start = time.perf_counter()
    for _ in range(8):
        a @ a
    return 8 * 2 * 768**3 / (time.perf_counter() - start)


def forecast(job: Run) -> str:
    """A table of the stages: would each run, on how many records, with which models, tokens, memory and time.

    Times are rough (half to double): of small models on this processor, of large ones on a large GPU. The memory of
    aligning is figured from the model's shape and the ladders' lengths; before there are ladders every one is taken to
    have all levels, as long as the standard response.
    """
    recipe, states = job.recipe, job.plan()
    records = count_records(recipe.data)
    flops = matmul_flops() * EFFICIENCY
    sizes = {name: local_size(job.names.ancestor(name)) for _, name in recipe.answering}
    lines = [
        f"recipe {recipe.name} → {job.out}",
        f"{records} records; times assume {flops / 1e9:.0f} GFLOP/s and are rough",
    ]
    lines.append(f"{'stage':10}{'would':8}{'records':>9}{'tokens':>9}{'memory':>9}{'time':>9}  models")

    def add(stage: str, count: int, tokens: float, memory: float, seconds: float, models: str) -> None:
        would = "run" if states.get(stage, True) else "keep"
        lines.append(
            f"{stage:10}{would:8}{count:>9}{human(tokens):>9}{human(memory) + 'B':>9}{_minutes(seconds):>9}  {models}"
        )

    def add_training(stage: str, settings: TrainSettings, name: str, found: Training | None, times: float = 1) -> None:
        if found is None:
            add(stage, records, 0, 0, 0, f"{name}, whose size is not known before it is here")
        else:
            tokens, seconds = found.cost.tokens * settings.epochs * times, found.seconds(flops) * times
            add(stage, found.ladders, tokens, found.memory, seconds, described(name, sizes[name]))

    def add_answers(stage: str, names: Sequence[str], more: Sequence[str], limit: int) -> None:
        tokens = seconds = memory = 0.0
        for name in names:
            part = _generation(records, limit * RESPONSE_SHARE, limit, sizes[name], flops)
            tokens += part[0]
            if not is_server(name):  # whose time and memory are its own
                seconds, memory = seconds + part[1], max(memory, part[2])
        models = "; ".join([*(described(name, sizes[name]) for name in dict.fromkeys(names)), *more])
        add(stage, records, tokens, memory, seconds, models)

    limit = recipe.generate.max_answer_tokens or STANDARD_TOKENS
    add("data", records, 0, 3e8, records / 500, "")
    for key, tuning, name in recipe.training[:-1]:
        stage, times = "base", 1.0
        if key != "base":
            stage, times = "fine-tune", (recipe.generate.max_levels - 1) / 2
            # a model on one part of the records, one on two, … and one on all: so many times all records
            states[stage] = states.get("generate", True)
        assert isinstance(tuning, FinetuneSettings)
        path, count = job.names.ancestor(name).path, count_records(tuning)
        add_training(
            stage, tuning, name, training(tuning, path, first_ladders(tuning, SAMPLE), count, 1, recipe.seed), times
        )
    add_answers("generate", recipe.generate.answering, [f"parser {p}" for p in recipe.generate.parsers], limit)
    levels = recipe.generate.max_levels
    if (check := recipe.check) is not None:
        named = [f"parser {check.parser}", *filter(None, (check.encoder, check.judge))]
        tokens = records * levels * limit * RESPONSE_SHARE
        add("check", records, tokens, 8e8, records * levels / 60, "; ".join(named))
    if (feedback := recipe.feedback) is not None:
        again = [] if feedback.model is None else [feedback.model] * (feedback.rounds - 1)
        add_answers("feedback", again, [f"judge {feedback.judge}"], feedback.sampling.max_new_tokens)
    size = sizes[recipe.align.model]
    aligned = alignment(job, records, keep=not states.get(recipe.before("align"), True))
    add_training("align", recipe.align, recipe.align.model, aligned)
    questions = count_questions(recipe.evaluate)
    tokens, seconds, memory = _generation(2 * questions, 15, 40, size, flops)
    models = f"{recipe.align.model} and the aligned one; judge {recipe.evaluate.judge}"
    add("evaluate", questions, tokens, memory, seconds, models)
    if aligned is not None:
        lines += aligned.lines(recipe.align)
    lines.append(f"disk free at {job.out}: {human(free_bytes(job.out))}B")
    return "\n".join(lines)


@dataclass(frozen=True)
class Training:
    """What a training would cost: on how many ladders, on which kind of device, in which number format."""

    cost: Cost
    ladders: int
    device: str
    absent: bool
    dtype: str

    def seconds(self, flops: float) -> float:
        """Time at so many floating-point operations a second of the processor, or at a large GPU's."""
        speed = flops if self.device == "cpu" else GPU_FLOPS
        return (self.cost.flops + self.cost.reference_flops) / speed + self.cost.steps * STEP_OVERHEAD

    @property
    def memory(self) -> float:
        """Bytes of the process on the CPU, of the device's own memory on a GPU."""
        total = self.cost.memory.total
        return total if self.device != "cpu" else total + self.cost.pictures + PROCESS_BYTES

    def lines(self, settings: TrainSettings) -> list[str]:
        """Where the memory goes, and what is kept for other runs."""
        parts = ", ".join(f"{name} {human(value)}B" for name, value in vars(self.cost.memory).items())
        one = self.cost.largest
        where = f"{self.dtype} on {self.device}" + (", which this machine has not" if self.absent else "")
        beside = f"; beside it pictures {human(self.cost.pictures)}B"
        if self.device == "cpu":
            beside += f", the program {human(PROCESS_BYTES)}B"
        lines = [
            f"align needs {human(self.cost.memory.total)}B: {parts} ({where}, layout {settings.layout}, "
            f"{self.cost.passes} passes a step, the largest {one.rows} × {one.length} tokens){beside}"
        ]
        if settings.objective.needs_reference:
            size = human(self.cost.scored * 4)
            lines.append(f"align's reference: one pass over {self.ladders} ladders, {size}B kept for other runs")
        return lines


def alignment(job: Run, records: int, keep: bool = False) -> Training | None:
    """What aligning would cost, by the ladders that are there (`keep`: checked ones are), else by the standard
    responses; None where the model's shape is not known."""
    recipe, settings, model = job.recipe, job.recipe.align, job.names.ancestor(job.recipe.align.model)
    if not keep:
        levels = recipe.generate.max_levels + (recipe.feedback.rounds - 1 if recipe.feedback is not None else 0)
        return training(settings, model.path, first_ladders(recipe.data, SAMPLE), records, levels, recipe.seed)
    ladders = read_ladders(job.out / recipe.before("align"), job.out)
    ladders = [ladder for ladder in ladders if settings.objective.has_signal(ladder.levels)]
    return training(settings, model.path, ladders[:SAMPLE], len(ladders), 0, job.recipe.seed)


def training(
    settings: TrainSettings, model: str, sample: Sequence[Ladder], count: int, levels: int, seed: int
) -> Training | None:
    """What training a model on `count` ladders like the sample's would cost; None where its shape is not known."""
    shape, adapter = shape_of(model), adapter_of(model)
    ladders = map(settings.objective.select_responses, sample)
    if settings.objective.best_only:
        levels = min(levels, 1)
    measured = [] if shape is None else lengths(ladders, token_counter(model), shape.image_tokens, levels)
    if shape is None or not measured:
        return None
    used = settings if adapter is None else settings.model_copy(update={"lora": adapter})
    gpu = Path("/proc/driver/nvidia").exists()
    device = settings.device if settings.device != "auto" else "cuda" if gpu or shape.weights > LARGE else "cpu"
    dtype, mixed = precision(used, device)
    cost = training_cost(shape, used, measured, count, device.partition(":")[0], dtype, mixed, seed)
    return Training(cost, count, device, device.startswith("cuda") and not gpu, dtype)


def _generation(
    prompts: int, answer: float, limit: int, size: ModelSize | None, flops: float
) -> tuple[float, float, float]:
    """Tokens, seconds and bytes of answering `prompts`; of a large model on a GPU, that reads its weights each step."""
    parameters = size.parameters if size else 7e9
    image_tokens = size.image_tokens if size else 600
    tokens = prompts * (40 + image_tokens + answer)
    if parameters > LARGE:
        steps = math.ceil(prompts / LARGE_BATCH) * limit
        return tokens, 2 * parameters * tokens / GPU_FLOPS + steps * 2 * parameters / GPU_BYTES, 2.4 * parameters
    steps = math.ceil(prompts / GENERATION_BATCH) * limit
    return tokens, 2 * parameters * tokens / flops + steps * STEP_SECONDS, PROCESS_BYTES + parameters * 4


def _minutes(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.0f} h"


def doctor() -> str:
    """What this machine has and whether what seelevel needs is there."""
    lines = [
        f"seelevel {version('seelevel')}, Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        f"processor: {os.cpu_count()} cores; memory {human(_memory())}B",
        f"disk free here: {human(free_bytes(Path.cwd()))}B",
    ]
    for package in ("torch", "transformers", "peft", "accelerate", "datasets", "spacy"):
        lines.append(f"{package}: {_version_or_missing(package)}")
    import torch

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties: Any = torch.cuda.get_device_properties(index)
            lines.append(f"GPU {index}: {properties.name}, {human(properties.total_memory)}B")
    else:
        lines.append(f"GPU: none; models run on the processor with {torch.get_num_threads()} threads")
    from seelevel.language.parse import load_parser

    lines.append(f"parser: builtin, {len(load_parser('builtin').pipe_names)} components")
    for model in world_models():
        lines.append(described(model.name, model_size(Path(model.path))))
    kept = cache_folder()
    size = sum(file.stat().st_size for file in kept.rglob("*") if file.is_file())
    lines.append(f"cache: {human(size)}B in {kept}")
    if shutil.which("git") is None:
        lines.append("git: not found; only needed to contribute")
    return "\n".join(lines)


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _version_or_missing(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing; run make setup"

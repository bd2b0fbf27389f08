"""What a run would do and cost, before it runs: records, models, tokens, memory, time."""

from __future__ import annotations

import itertools
import math
import os
import platform
import shutil
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seelevel.errors import free_bytes
from seelevel.models.base import ModelRef, is_server
from seelevel.models.files import ModelSize, model_size
from seelevel.pipeline import WORLD, Run

if TYPE_CHECKING:
    from seelevel.generate.settings import FinetuneSettings
    from seelevel.recipe import DataSettings

# Measured on the embedded world: a decoding step of a small model costs this much before any arithmetic, and
# arithmetic reaches about this share of a large matrix product's speed.
STEP_SECONDS, EFFICIENCY = 0.010, 0.3
GENERATION_BATCH = 64
RESPONSE_SHARE = 0.5  # answers end by themselves: about half the permitted tokens
STANDARD_TOKENS = 192  # permitted, as it were, where all responses are made of the standard one


def local_size(model: ModelRef) -> ModelSize | None:
    """Size of a model in a folder, or None for one that is not on this disk."""
    folder = Path(model.path)
    return model_size(folder) if folder.is_dir() else None


def described(name: str, size: ModelSize | None) -> str:
    """`world:s (401.2k parameters, stored F16)`."""
    if size is None:
        return f"{name} ({'on a server' if is_server(name) else 'not on this disk'})"
    return f"{name} ({human(size.parameters)} parameters, stored {size.dtype})"


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

    Times are rough (half to double) and hold for the processor; a GPU is not timed beforehand.
    """
    recipe, states = job.recipe, job.plan()
    records = _count_records(recipe.data)
    flops = matmul_flops() * EFFICIENCY
    base = job.model(recipe.align.model)
    sizes = {name: local_size(job.answering(name)) for name in {*recipe.generate.models, recipe.align.model}}
    lines = [
        f"recipe {recipe.name} → {job.out}",
        f"{records} records; times assume {flops / 1e9:.0f} GFLOP/s and are rough",
    ]
    lines.append(f"{'stage':10}{'would':8}{'records':>9}{'tokens':>9}{'memory':>9}{'time':>8}  models")

    def add(stage: str, count: int, tokens: float, memory: float, seconds: float, models: str) -> None:
        would = "run" if states.get(stage, True) else "keep"
        lines.append(
            f"{stage:10}{would:8}{count:>9}{human(tokens):>9}{human(memory) + 'B':>9}{_minutes(seconds):>8}  {models}"
        )

    limit = recipe.generate.longest_answer or STANDARD_TOKENS
    answer = limit * RESPONSE_SHARE
    add("data", records, 0, 3e8, records / 500, "")
    if (tuning := recipe.generate.training_data) is not None:
        name, count = recipe.generate.models[0], _count_records(tuning)
        size, passes = sizes[name], count * tuning.epochs * (recipe.generate.levels_at_most - 1) / 2
        tokens = passes * (40 + (size.image_tokens if size else 600) + answer)
        weights = size.parameters if size else 7e9
        seconds = 6 * weights * tokens / flops + passes / tuning.ladders_per_step * 0.15
        states["fine-tune"] = states.get("generate", True)
        add("fine-tune", count, tokens, 6e8 + weights * 16, seconds, described(name, size))
    tokens = seconds = memory = 0.0
    for name in recipe.generate.answering:
        part = _generation(records, answer, limit, sizes[name], flops)
        tokens += part[0]
        if not is_server(name):  # whose time and memory are its own
            seconds, memory = seconds + part[1], max(memory, part[2])
    used = [described(name, sizes[name]) for name in recipe.generate.models]
    models = "; ".join(used + [f"parser {name}" for name in recipe.generate.parsers])
    add("generate", records, tokens, memory, seconds, models)
    levels = recipe.generate.levels_at_most
    add(
        "check",
        records,
        records * levels * answer,
        8e8,
        records * levels / 60,
        "; ".join([f"parser {recipe.check.parser}", *filter(None, (recipe.check.encoder, recipe.check.judge))]),
    )
    size = sizes[base.name]
    prefix = 40 + (size.image_tokens if size else 600)
    ladder_tokens = prefix + levels * answer
    tokens = records * ladder_tokens * recipe.align.epochs
    parameters = size.parameters if size else 7e9
    steps = math.ceil(records / recipe.align.ladders_per_step) * recipe.align.epochs
    add(
        "align",
        records,
        tokens,
        6e8 + parameters * 16,
        6 * parameters * tokens / flops + steps * 0.15,
        described(base.name, size),
    )
    questions = _count_questions(job)
    tokens, seconds, memory = _generation(2 * questions, 15, 40, size, flops)
    add(
        "evaluate",
        questions,
        tokens,
        memory,
        seconds,
        f"{base.name} and the aligned one; judge {recipe.evaluate.judge}",
    )
    lines.append(f"disk free at {job.out}: {human(free_bytes(job.out))}B")
    return "\n".join(lines)


def _generation(
    prompts: int, answer: float, limit: int, size: ModelSize | None, flops: float
) -> tuple[float, float, float]:
    """Tokens, seconds and bytes of answering `prompts`."""
    parameters = size.parameters if size else 7e9
    image_tokens = size.image_tokens if size else 600
    tokens = prompts * (40 + image_tokens + answer)
    steps = math.ceil(prompts / GENERATION_BATCH) * limit
    return tokens, 2 * parameters * tokens / flops + steps * STEP_SECONDS, 6e8 + parameters * 4


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _count_records(settings: DataSettings | FinetuneSettings) -> int:
    if settings.prompts.startswith(WORLD):
        from seelevel.world.datasets import PROMPTS

        return settings.limit or PROMPTS
    from seelevel.formats import parse

    images = None if settings.images is None else Path(settings.images)
    return sum(1 for _ in itertools.islice(parse(Path(settings.prompts), images), settings.limit))


def _count_questions(job: Run) -> int:
    """Questions of the evaluation folder, or the world's own number of them a scene."""
    settings = job.recipe.evaluate
    if settings.data.startswith(WORLD):
        return (settings.limit or 500) * 8
    folder = Path(settings.data)
    files = [*folder.glob("chair/questions.jsonl"), *folder.glob("pope/*.json"), *folder.glob("capability/*.jsonl")]
    return sum(file.read_bytes().count(b"\n") for file in files)


def examine() -> str:
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
    from seelevel.world import MODELS, model_path

    lines.append(f"parser: builtin, {len(load_parser('builtin').pipe_names)} components")
    for name in MODELS:
        lines.append(described(WORLD + name, model_size(model_path(name))))
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

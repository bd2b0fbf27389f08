"""Estimate a run before it runs: records, models, tokens, memory, time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from seelevel.check.settings import CheckSettings
from seelevel.errors import free_bytes
from seelevel.feedback.settings import FeedbackSettings
from seelevel.forecast.aligning import GPU_FLOPS, LARGE, PROCESS_BYTES, SAMPLE, Training, human, training
from seelevel.forecast.shapes import config_of, shape_of
from seelevel.formats.parquet import read_ladders
from seelevel.generate.method import FinetuneSettings
from seelevel.models.base import ModelRef, is_server
from seelevel.models.files import ModelSize, model_size
from seelevel.models.folders import adapter_base
from seelevel.naming import Names, count_questions, count_records, first_ladders
from seelevel.store import CONTROL, ROUNDS
from seelevel.training.settings import TrainSettings

# Measured on the embedded world: the fixed time of a small model's decoding step, and the share of a large matrix
# product's speed that generation reaches.
STEP_SECONDS, EFFICIENCY = 0.010, 0.3
GENERATION_BATCH = 64
RESPONSE_SHARE = 0.5  # of the permitted tokens: answers end by themselves
GPU_BYTES = 1.5e12  # per second, of a large GPU's memory
LARGE_BATCH = 16
STANDARD_TOKENS = 192  # assumed limit if all responses are made from the standard one


class Planned(Protocol):
    """A run, as far as a forecast knows it (`seelevel.pipeline.Run`)."""

    names: Names
    out: Path

    def plan(self) -> dict[str, bool]:
        """Each stage, and whether it would run."""
        ...


def local_size(model: ModelRef) -> ModelSize | None:
    """Size of a model in a folder, or of a well-known model; else None."""
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


def matmul_flops() -> float:
    """Floating-point operations per second of a float32 matrix product on this processor."""
    import numpy as np

    a = np.ones((768, 768), dtype=np.float32)
    a @ a
    start = time.perf_counter()
    for _ in range(8):
        a @ a
    return 8 * 2 * 768**3 / (time.perf_counter() - start)


@dataclass(frozen=True)
class Row:
    """One stage of a forecast. `would`: 'run' or 'keep'; `tokens`, `memory` (bytes) and `seconds` are estimates."""

    stage: str
    would: str
    records: int
    tokens: float
    memory: float
    seconds: float
    models: str


@dataclass(frozen=True)
class Forecast:
    """What a recipe would cost. `flops`: operations per second of this processor; `notes`: lines about `align`."""

    recipe: str
    out: str
    records: int
    flops: float
    rows: list[Row]
    notes: list[str]
    disk_free: int


def forecast(job: Planned) -> str:
    """`estimate` as a table."""
    cost = estimate(job)
    width = max(10, *(len(row.stage) + 1 for row in cost.rows))
    return "\n".join(
        [
            f"recipe {cost.recipe} → {cost.out}",
            f"{cost.records} records; times assume {cost.flops / 1e9:.0f} GFLOP/s and are rough",
            f"{'stage':{width}}{'would':8}{'records':>9}{'tokens':>9}{'memory':>9}{'time':>9}  models",
            *(
                f"{row.stage:{width}}{row.would:8}{row.records:>9}{human(row.tokens):>9}{human(row.memory) + 'B':>9}"
                f"{_minutes(row.seconds):>9}  {row.models}"
                for row in cost.rows
            ),
            *cost.notes,
            f"disk free at {cost.out}: {human(cost.disk_free)}B",
        ]
    )


def estimate(job: Planned) -> Forecast:
    """Which stages would run, on how many records, with which models, tokens, memory and time.

    Times are rough (half to double): small models are assumed to run on this processor, large ones on a large GPU. The
    memory of training is computed from the model's shape and the lengths of the ladders. Before there are ladders, each
    is assumed to have all levels, all as long as the standard response.
    """
    return _Estimator(job).estimate()


class _Estimator:
    """Estimates the stages of one run, each in a method of its own."""

    def __init__(self, job: Planned) -> None:
        self.job, self.recipe, self.states = job, job.names.recipe, job.plan()
        self.records = count_records(self.recipe.data)
        self.flops = matmul_flops() * EFFICIENCY
        self.sizes = {name: local_size(job.names.ancestor(name)) for _, name in self.recipe.answering}

    def estimate(self) -> Forecast:
        recipe = self.recipe
        aligned = alignment(self.job, self.records, self._has_ladders)
        first = [self._row("data", self.records, 0, 3e8, self.records / 500, ""), *self._fine_tuning()]
        rows = [self._generate()]
        if recipe.check is not None:
            rows.append(self._check(recipe.check))
        if recipe.feedback is not None:
            rows.append(self._feedback(recipe.feedback))
        rows.append(self._training("align", recipe.align, recipe.align.model, aligned))
        control = [self._control()] if recipe.align.control else []
        rows = [*first, *self._earlier_rounds(rows), *rows, *control, self._evaluate()]
        notes = [] if aligned is None else aligned.lines(recipe.align)
        out = self.job.out
        return Forecast(recipe.name, str(out), self.records, self.flops, rows, notes, free_bytes(out))

    @property
    def _has_ladders(self) -> bool:
        return not self.states.get(self.recipe.before("align"), True)

    def _control(self) -> Row:
        settings = self.recipe.align.of_control
        cost = alignment(self.job, self.records, self._has_ladders, settings)
        return self._training(CONTROL, settings, self.recipe.align.model, cost)

    def _row(self, stage: str, records: int, tokens: float, memory: float, seconds: float, models: str) -> Row:
        # Models are fine-tuned inside the stage `generate`.
        would_run = self.states.get("generate" if stage == "fine-tune" else stage, True)
        return Row(stage, "run" if would_run else "keep", records, tokens, memory, seconds, models)

    def _earlier_rounds(self, rows: Sequence[Row]) -> Iterator[Row]:
        """The rows of the rounds before the last, each of which costs as much as the last."""
        for number in range(1, self.recipe.rounds):
            for row in rows:
                stage = f"{ROUNDS}/{number}/{row.stage}"
                yield replace(row, stage=stage, would="run" if self.states.get(stage, True) else "keep")

    def _training(
        self, stage: str, settings: TrainSettings, model: str, cost: Training | None, times: float = 1
    ) -> Row:
        if cost is None:
            return self._row(
                stage, self.records, 0, 0, 0, f"{model}, {_why_unknown(self.job.names.ancestor(model).path)}"
            )
        tokens, seconds = cost.cost.tokens * settings.epochs * times, cost.seconds(self.flops) * times
        return self._row(stage, cost.ladders, tokens, cost.memory, seconds, described(model, self.sizes[model]))

    def _answers(self, stage: str, names: Sequence[str], more: Sequence[str], limit: int) -> Row:
        tokens = seconds = memory = 0.0
        for name in names:
            answering = _generation(self.records, limit * RESPONSE_SHARE, limit, self.sizes[name], self.flops)
            tokens += answering[0]
            if not is_server(name):  # a server's time and memory are not this machine's
                seconds, memory = seconds + answering[1], max(memory, answering[2])
        models = "; ".join([*(described(name, self.sizes[name]) for name in dict.fromkeys(names)), *more])
        return self._row(stage, self.records, tokens, memory, seconds, models)

    def _fine_tuning(self) -> Iterator[Row]:
        """The model that the recipe makes first, and the models that `generate` fine-tunes."""
        for key, settings, name in self.recipe.training:
            if not isinstance(settings, FinetuneSettings):
                continue
            path, count = self.job.names.ancestor(name).path, count_records(settings)
            cost = training(settings, path, first_ladders(settings, SAMPLE), count, 1, self.recipe.seed)
            if key == "base":
                yield self._training("base", settings, name, cost)
            else:  # models on 1/n, 2/n, … n/n of the records: together as many as (n + 1) / 2 models on all
                yield self._training("fine-tune", settings, name, cost, (self.recipe.generate.max_levels - 1) / 2)

    @property
    def _answer_limit(self) -> int:
        return self.recipe.generate.max_answer_tokens or STANDARD_TOKENS

    def _generate(self) -> Row:
        method = self.recipe.generate
        return self._answers("generate", method.answering, [f"parser {p}" for p in method.parsers], self._answer_limit)

    def _check(self, check: CheckSettings) -> Row:
        parsed = not check.needs or check.checker == "autocheck"  # a checker from outside may parse too
        models = [
            *([f"parser {check.parser}"] if parsed else []),
            *filter(None, (check.encoder, check.annotations, check.judge)),
        ]
        responses = self.records * self.recipe.generate.max_levels
        tokens = responses * self._answer_limit * RESPONSE_SHARE
        return self._row("check", self.records, tokens, 8e8, responses / 60, "; ".join(models))

    def _feedback(self, feedback: FeedbackSettings) -> Row:
        again = [] if feedback.model is None else [feedback.model] * (feedback.rounds - 1)
        return self._answers("feedback", again, [f"judge {feedback.judge}"], feedback.sampling.max_new_tokens)

    def _evaluate(self) -> Row:
        model, judge = self.recipe.align.model, self.recipe.evaluate.judge
        questions = count_questions(self.recipe.evaluate)
        snapshots = self.recipe.align.snapshots if self.recipe.evaluate.snapshots else 0
        models = 1 + self.recipe.rounds + snapshots + self.recipe.align.control
        tokens, seconds, memory = _generation(models * questions, 15, 40, self.sizes[model], self.flops)
        aligned = "the aligned one" if self.recipe.rounds == 1 else "the aligned one of each round"
        aligned += f", its {snapshots} snapshots" if snapshots else ""
        repeats = f", {n} times per answer" if (n := self.recipe.evaluate.judge_repeats) > 1 else ""
        asked = f"{model}, {aligned} and the control" if self.recipe.align.control else f"{model} and {aligned}"
        return self._row("evaluate", questions, tokens, memory, seconds, f"{asked}; judge {judge}{repeats}")


def alignment(job: Planned, records: int, keep: bool = False, settings: TrainSettings | None = None) -> Training | None:
    """The cost of aligning, or of other `settings` on the same ladders; None if the model's shape is unknown.

    `keep`: estimate it from the run's own ladders, which are already there; else from the standard responses.
    """
    recipe = job.names.recipe
    settings, model = settings or recipe.align, job.names.ancestor(recipe.align.model)
    if not keep:
        levels = recipe.generate.max_levels + (recipe.feedback.rounds - 1 if recipe.feedback is not None else 0)
        return training(settings, model.path, first_ladders(recipe.data, SAMPLE), records, levels, recipe.seed)
    ladders = read_ladders(job.out / recipe.before("align"), job.out)
    ladders = [ladder for ladder in ladders if settings.objective.has_signal(ladder.levels)]
    return training(settings, model.path, ladders[:SAMPLE], len(ladders), 0, recipe.seed)


def _generation(
    prompts: int, answer: float, limit: int, size: ModelSize | None, flops: float
) -> tuple[float, float, float]:
    """Tokens, seconds and bytes of answering `prompts`. A large model on a GPU reads all its weights in each step."""
    parameters = size.parameters if size else 7e9
    image_tokens = (size.image_tokens if size else 0) or 600
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


def _why_unknown(model: str) -> str:
    config = config_of(model)
    if config is None:
        return "whose size is unknown until it is downloaded"
    kind = config.get("model_type", "unknown")
    return f"no forecast: the sizes of models of kind {kind} are not known"

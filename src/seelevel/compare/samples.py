"""Samples of lmms-eval as a side of a comparison: by the task's own metrics, or scored again as a run's answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from seelevel.compare.metrics import task_items, task_scorer
from seelevel.compare.sides import Item, Key, RunSide, keyed
from seelevel.errors import InputError
from seelevel.harness.matching import benchmark_of
from seelevel.harness.samples import Sample, Samples, read_samples
from seelevel.naming import world_split
from seelevel.scorers.questions import Answer, Context
from seelevel.scorers.scorer import Scorer
from seelevel.scorers.settings import EvaluateSettings

NO_ANSWER = "no sample"


@dataclass(frozen=True)
class SamplesSide:
    """A samples file, or a folder of them with one file per task.

    beside: a run in the same comparison. Then the answers to its questions are scored as the run's are, and the task's
    metrics are not used.
    """

    label: str
    path: Path
    tasks: Mapping[str, Samples]
    beside: RunSide | None = None
    side: str = "samples"
    model: str = ""

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def root(self) -> Path:
        return self.path

    @property
    def settings(self) -> Mapping[str, Any]:
        return {}

    @cached_property
    def scorers(self) -> list[Scorer]:
        return [] if self.beside is not None else [task_scorer(samples) for samples in self.tasks.values()]

    def file(self, benchmark: str) -> Path:
        return self.tasks[benchmark].path if benchmark in self.tasks else self.path

    def items(self, benchmark: str) -> dict[Key, Item]:
        """The task's documents, or the run's items that they answer."""
        if self.beside is None:
            return keyed(task_items(self.tasks[benchmark]), self.path) if benchmark in self.tasks else {}
        joined = self._joined.get(benchmark)
        return {} if joined is None else keyed(scored_again(self.beside, benchmark, joined), self.path)

    @cached_property
    def _joined(self) -> Mapping[str, list[Sample | None]]:
        """The sample of each of the run's records, by benchmark. Several tasks may answer one: POPE's sets.

        Raises InputError for a task that answers none of the run's benchmarks, and for two that answer one question.
        """
        assert self.beside is not None
        joined: dict[str, list[Sample | None]] = {}
        for samples in self.tasks.values():
            name, answered = benchmark_of(self.beside.run, self.beside.side, samples)
            before = joined.setdefault(name, [None] * len(answered))
            for first, second in zip(before, answered, strict=True):
                if first is not None and second is not None:
                    raise InputError(f"{second.where}: {first.where} answers the same question; name one of the files")
            joined[name] = [first or second for first, second in zip(before, answered, strict=True)]
        return joined


def is_samples(name: str) -> bool:
    """Whether a side's name is a samples file, or a folder of them."""
    path = Path(name)
    return path.is_file() or (path.is_dir() and any(path.glob("*samples_*.jsonl")))


def open_samples(label: str, name: str) -> SamplesSide:
    """Raises InputError for files that are not samples, and for a task with two files in a folder."""
    path = Path(name)
    tasks: dict[str, Samples] = {}
    for file in [path] if path.is_file() else sorted(path.glob("*samples_*.jsonl")):
        samples = read_samples(file)
        if samples.task in tasks:
            both = f"{tasks[samples.task].path.name} and {file.name}"
            raise InputError(f"{path}: two files of task {samples.task}, {both}; name one of them")
        tasks[samples.task] = samples
    return SamplesSide(label, path, tasks)


def scored_again(side: RunSide, benchmark: str, joined: Sequence[Sample | None]) -> list[Item]:
    """The answers of samples, one per record of the run, as items that its own scorer and settings have scored.

    Raises InputError if the run's evaluation data are missing.
    """
    records = side.run.answers(side.side, benchmark)
    scorer = next(scorer for scorer in side.scorers if scorer.name == benchmark)
    settings = {k: v for k, v in side.settings.items() if k in EvaluateSettings.model_fields}
    evaluate = EvaluateSettings.model_validate(settings)
    split = world_split(evaluate.data)
    data = Path(evaluate.data) if split is None else side.root / "inputs" / f"world-{split}"
    if not data.is_dir():
        raise InputError(
            f"{side.name}: its evaluation data, {data}, are needed to score samples of {benchmark}; put them back"
        )
    asked = scorer.benchmark(data, evaluate)
    if [question.id for question in asked.questions] != [str(record["id"]) for record in records]:
        raise InputError(f"{data}: {benchmark} has changed since {side.name} was evaluated; evaluate it again")
    answers = [Answer(("",), NO_ANSWER) if s is None else Answer((_text(s),)) for s in joined]
    with TemporaryDirectory(prefix="seelevel-compare-") as folder:
        rows = asked.items(answers, Context(None, Path(folder)))
    return [
        {**{key: record[key] for key in ("id", "image", "question", "reference")}, **row, "answer": answer.texts[0]}
        for record, row, answer in zip(records, rows, answers, strict=True)
        if answer.note != NO_ANSWER
    ]


def _text(sample: Sample) -> str:
    if len(sample.texts) != 1:
        raise InputError(f"{sample.where}: {len(sample.texts)} answers; a run has one per question")
    return sample.texts[0]

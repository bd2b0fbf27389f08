"""A scorer: everything that the stage `evaluate` and the report know about one benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seelevel.errors import InputError
from seelevel.scorers.intervals import Item, Measure
from seelevel.scorers.questions import Benchmark
from seelevel.scorers.settings import EvaluateSettings
from seelevel.scorers.views import BenchmarkView
from seelevel.scorers.words import Metric


def _no_pattern(name: str) -> Metric | None:
    return None


@dataclass(frozen=True)
class Scorer:
    """One benchmark. A file of `seelevel.scorers` ends with `SCORER = Scorer(...)`.

    name: the benchmark's name, and its files': `evaluate/base/<name>.jsonl` and `evaluate/aligned/<name>.jsonl`.
    benchmark: reads the evaluation folder and returns questions and measures. It raises `InputError` for bad files.
    metrics: the words of its figures by name, in the report's order.
    pattern: the words of a figure whose name follows a pattern, such as `pope_random_f1`; None for other names.
    views: how the report compares the answers of both models. Without a view it shows no examples.
    measures: the figures of items that were read from the benchmark's files of a run. Without them `seelevel compare`
    leaves the benchmark out.
    scored_by: keys of `evaluate` that the items' scores depend on, such as `rule`: two runs must agree in them.
    rules: the values of `evaluate.rule` that it has, if its scores depend on it.
    needs_judge: whether a run without a judge is refused, because no item would be scored.
    public_files: whether it reads files that others publish, which the embedded world does not write.
    """

    name: str
    benchmark: Callable[[Path, EvaluateSettings], Benchmark]
    metrics: Mapping[str, Metric]
    pattern: Callable[[str], Metric | None] = _no_pattern
    views: tuple[BenchmarkView, ...] = ()
    measures: Callable[[Sequence[Item]], Sequence[Measure]] | None = None
    scored_by: tuple[str, ...] = ()
    rules: tuple[str, ...] = ("published", "strict")
    needs_judge: bool = False
    public_files: bool = False

    def words(self, figure: str) -> Metric | None:
        """The words of a figure; None for a figure of another scorer."""
        return self.metrics.get(figure) or self.pattern(figure)

    def check_rule(self, rule: str) -> None:
        """Raise `InputError` for a rule that the benchmark does not have."""
        if "rule" in self.scored_by and rule not in self.rules:
            raise InputError(
                f"evaluate.rule: {self.name} has no rule {rule}, only {' and '.join(self.rules)}; take one of them, or "
                f"evaluate {self.name} in another run"
            )

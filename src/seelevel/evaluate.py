"""Evaluate: ask each model the same questions; write figures, intervals and paired differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from seelevel.facts import EvaluateFacts
from seelevel.fingerprints import digest
from seelevel.models.base import Generator, ModelRef
from seelevel.progress import say
from seelevel.scorers import find_scorers
from seelevel.scorers.intervals import RESAMPLES, Measure, differences, figures
from seelevel.scorers.judging import dates_of, spread, unread_replies
from seelevel.scorers.overlap import overlap_of
from seelevel.scorers.questions import Answer, Benchmark, Context, Items, answer_questions
from seelevel.scorers.settings import EvaluateSettings
from seelevel.store import SNAPSHOT, StageFolder, write_atomically, write_json
from seelevel.templates import quoted

DIFFERENCES = {"base": "differences", "control": "differences_from_control"}
"""Keys of `metrics.json` with paired differences, aligned minus the model named here."""
BY_ROUND = "differences_by_round"
"""In `metrics.json`: paired differences of each round's model from the round before, or the base."""
BY_STEP = "differences_by_step"
"""The same of each snapshot, and of the aligned model, from the snapshot before, or the model trained on."""

NAMED = 8
"""Unscored items that a line names."""


def run(
    stage: StageFolder,
    settings: EvaluateSettings,
    data: Path,
    models: Mapping[str, ModelRef],
    judge: Generator | None,
    root: Path,
    seed: int,
    training: Sequence[Path] = (),
) -> EvaluateFacts:
    """Answer and score every benchmark with each of the models, by name.

    models: `base`; the models of earlier rounds, if any, under any names; snapshots of the last training, `step-<n>`;
    `aligned`; `control`, if there is one.
    training: folders of the ladders that they were trained on, whose pictures are looked for among the benchmarks'.

    Writes `<model>/<benchmark>.jsonl`, one record per question, and the run's `metrics.json`. Answers are kept in
    shards, so a stopped run continues, and ends with the same bytes as an unbroken one.
    """
    benchmarks = chosen_benchmarks(settings, data)
    overlap = {"overlap": overlap_of(benchmarks, training, root)} if training else {}
    records = {
        side: score_model(stage.path / side, side, reference, benchmarks, settings, judge, root)
        for side, reference in models.items()
    }
    _write_figures(settings, benchmarks, records, models, judge, root, seed, overlap)
    return EvaluateFacts(questions={benchmark.name: len(benchmark.questions) for benchmark in benchmarks})


def chosen_benchmarks(settings: EvaluateSettings, data: Path) -> list[Benchmark]:
    """The benchmarks that the settings name, read from an evaluation folder. Raises `InputError` for bad files."""
    scorers = find_scorers(settings.benchmarks)
    for scorer in scorers:
        scorer.check_rule(settings.rule)
    return [replace(scorer.benchmark(data, settings), name=scorer.name) for scorer in scorers]


def score_model(
    folder: Path,
    label: str,
    reference: ModelRef,
    benchmarks: Sequence[Benchmark],
    settings: EvaluateSettings,
    judge: Generator | None,
    root: Path,
) -> dict[str, Items]:
    """One model's items of every benchmark. Writes `<benchmark>.jsonl` into the folder and keeps answers in shards."""
    model = _lazy(reference)
    records: dict[str, Items] = {}
    for benchmark in benchmarks:
        name = f"{label} {benchmark.name}"
        answers = answer_questions(benchmark, model, settings.sampling, folder / "answers", name)
        sampling, repeats = settings.judge_sampling, settings.judge_repeats
        items = benchmark.items(answers, Context(judge, folder / "answers", model, sampling, repeats))
        rows = [
            {"id": question.id, **item, **({"note": answer.note} if answer.note else {})}
            for question, answer, item in zip(benchmark.questions, answers, items, strict=True)
        ]
        records[benchmark.name] = rows
        _say_unscored(name, rows, benchmark.measures)
        write_atomically(folder / f"{benchmark.name}.jsonl", _lines(benchmark, answers, rows, root))
    return records


def _unscored(rows: Items, measures: Sequence[Measure]) -> int:
    """How many items no measure scores."""
    return len(_left_out(rows, measures))


def _left_out(rows: Items, measures: Sequence[Measure]) -> Items:
    """Items that no measure scores. Some items count in one measure only: a refusal is rated for harmlessness."""
    return [row for row in rows if all(measure.scored(row) is None for measure in measures)]


def _say_unscored(label: str, rows: Items, measures: Sequence[Measure]) -> None:
    """Print a line each for unanswered questions, for answers without a score, and for rounds without a rating."""
    notes = [row["note"] for row in rows if row.get("note")]
    if notes:
        say(f"{label}: {len(notes)} of {len(rows)} questions not answered, so unscored: {notes[0]:.200}")
    if unread := [str(row["id"]) for row in _left_out(rows, measures) if not row.get("note")]:
        named = ", ".join(unread[:NAMED]) + (", …" if len(unread) > NAMED else "")
        say(f"{label}: {len(unread)} of {len(rows)} answers unscored: they could not be parsed or judged ({named})")
    rounds = sum(len(row.get("ratings", ())) for row in rows)
    left = sum(row.get("unscored_rounds", 0) for row in rows)
    if left:
        say(f"{label}: {left} of {rounds} rounds unscored ({left / rounds:.1%})")


def _lazy(reference: ModelRef) -> Callable[[], Generator]:
    @cache
    def load() -> Generator:
        from seelevel.models import load_generator

        return load_generator(reference)

    return load


def _lines(benchmark: Benchmark, answers: list[Answer], rows: Items, root: Path) -> str:
    """JSON lines: id, image, question, answer, reference, then the figures. Dialogues have lists of questions and
    answers."""
    lines = []
    for question, answer, row in zip(benchmark.questions, answers, rows, strict=True):
        record = {
            "id": question.id,
            "image": _place(question.image, root),
            "question": list(question.turns) if benchmark.dialogues else question.turns[0],
            "answer": list(answer.texts) if benchmark.dialogues else answer.texts[0],
            "reference": dict(question.reference),
            **{key: value for key, value in row.items() if key not in ("id", "cluster")},
        }
        lines.append(quoted(record) + "\n")
    return "".join(lines)


def _place(image: str, root: Path) -> str | None:
    """A picture's path: relative to the run folder if it is inside, else absolute. None for a question without one."""
    if not image:
        return None
    path, top = Path(image).absolute(), root.absolute()
    return path.relative_to(top).as_posix() if path.is_relative_to(top) else str(path)


def _write_figures(
    settings: EvaluateSettings,
    benchmarks: list[Benchmark],
    records: dict[str, dict[str, Items]],
    models: Mapping[str, ModelRef],
    judge: Generator | None,
    root: Path,
    seed: int,
    overlap: Mapping[str, Any],
) -> None:
    before = {side: key for side, key in DIFFERENCES.items() if side in models}
    chains = _chains(list(models))
    metrics: dict[str, Any] = {**{key: {} for key in (*models, *before.values())}, **overlap}
    metrics |= {key: {side: {} for side in chain} for key, chain in chains.items()}
    unscored: dict[str, dict[str, int]] = {side: {} for side in models}
    left = {side: sum(r.get("unscored_rounds", 0) for rows in records[side].values() for r in rows) for side in models}
    groups = {b.name: len({item["cluster"] for item in records["base"][b.name]}) for b in benchmarks}
    for benchmark in benchmarks:
        if groups[benchmark.name] == 1:
            say(f"{benchmark.name}: all questions are about one picture, so there are no intervals")
        for side in models:
            items = records[side][benchmark.name]
            metrics[side] |= _figures(benchmark, items, settings, seed)
            unscored[side][benchmark.name] = _unscored(items, benchmark.measures)
        after = records["aligned"][benchmark.name]
        for side, key in before.items():
            metrics[key] |= differences(benchmark.measures, records[side][benchmark.name], after, seed)
        for key, chain in chains.items():
            for side, earlier in chain.items():
                items, earlier_items = records[side][benchmark.name], records[earlier][benchmark.name]
                metrics[key][side] |= differences(benchmark.measures, earlier_items, items, seed)
    metrics["settings"] = {
        **settings.model_dump(mode="json"),
        **{side: reference.name for side, reference in models.items()},
        "judge": judge.name if judge is not None else None,
        "seed": seed,
        "resamples": RESAMPLES,
        "groups": groups,
        "unscored": unscored,
        "unscored_rounds": left,
        **_judging([benchmark for benchmark in benchmarks if benchmark.judge_template], records),
    }
    write_json(root / "metrics.json", metrics)


def _chains(models: Sequence[str]) -> dict[str, dict[str, str]]:
    """By key of `metrics.json`: models, each with the one before it that it is compared with."""
    snapshots = [side for side in models if side.startswith(SNAPSHOT)]
    rounds = [side for side in models if side not in snapshots and side != "control"]
    chains = {BY_ROUND: rounds, BY_STEP: [rounds[-2], *snapshots, rounds[-1]]}
    # Of two models, `differences` is the only step.
    return {
        key: {later: earlier for earlier, later in pairwise(chain)} for key, chain in chains.items() if len(chain) > 2
    }


def _figures(benchmark: Benchmark, items: Items, settings: EvaluateSettings, seed: int) -> dict[str, Any]:
    """Figures with intervals; with `sd` and `repeats` too if each answer is judged several times."""
    intervals: dict[str, Any] = {**figures(benchmark.measures, items, seed)}
    if settings.judge_repeats == 1 or not benchmark.judge_template:
        return intervals
    spreads = spread(benchmark.measures, items, settings.judge_repeats)
    return {name: {**figure, **spreads[name]} for name, figure in intervals.items()}


def _judging(benchmarks: Sequence[Benchmark], records: Mapping[str, Mapping[str, Items]]) -> dict[str, Any]:
    """What was asked of the judge and when, by benchmark; and the items that it left unscored, by model."""
    everything = {b.name: [item for of_side in records.values() for item in of_side[b.name]] for b in benchmarks}
    return {
        "judge_templates": {b.name: digest(b.judge_template) for b in benchmarks},
        "judged": {b.name: dates_of(everything[b.name]) for b in benchmarks},
        "unread_replies": {
            side: {b.name: unread_replies(of_side[b.name]) for b in benchmarks} for side, of_side in records.items()
        },
        "unscored_ids": {
            side: {b.name: [item["id"] for item in _left_out(of_side[b.name], b.measures)] for b in benchmarks}
            for side, of_side in records.items()
        },
    }

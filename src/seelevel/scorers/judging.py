"""Ask the judge for a verdict on every answer, once or several times, and average over the repeats.

A reply is kept in a shard with the date on which it came, so a stopped run asks for nothing twice. Repeat n samples
with the judge's seed plus n. An item keeps one row per repeat: in itself if there is one repeat, else in `repeats`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import stdev
from typing import Any

from seelevel.judge import Judge, Unscored
from seelevel.judge.replies import Parse
from seelevel.progress import say
from seelevel.scorers.intervals import Item, Measure, ratio
from seelevel.scorers.questions import Answer, Context, Question, keep_shards
from seelevel.scorers.views import BenchmarkView, Reply, Round
from seelevel.scorers.words import Metric, Table

SEEDS = 2**32
Row = dict[str, Any]
Sums = Callable[[Item], Sequence[float] | None]
JudgeRecord = Callable[[Question, Answer], Mapping[str, Any]]


def today() -> str:
    """The date in UTC, '2026-01-31'."""
    return datetime.now(UTC).date().isoformat()


def judge_answers(
    name: str,
    template: str,
    parse: Parse[Any],
    asked: tuple[Sequence[Question], Sequence[Answer]],
    record: JudgeRecord,
    context: Context,
) -> list[list[Row]]:
    """The judgements of each answer, one per repeat: `verdict` (a JSON value; None if it is unscored), `judge_reply`,
    `judged` (a date), and `unscored`, the reason, if there is one.

    Without a judge there are none. An answer with a `note` is not judged. `record` makes the fields of the template.
    """
    if context.judge is None:
        return [[] for _ in asked[0]]
    records = [record(question, answer) for question, answer in zip(*asked, strict=True) if not answer.note]
    repeats = [_judged(name, template, parse, records, context, n) for n in range(context.judge_repeats)]
    by_answer = list(zip(*repeats, strict=True))
    if len(repeats) > 1 and by_answer and all(len({row["judge_reply"] for row in rows}) == 1 for rows in by_answer):
        say(f"{name}: all {len(repeats)} replies to each answer are the same: {context.judge.name} does not sample")
    remaining = iter(by_answer)
    return [[] if answer.note else list(next(remaining)) for answer in asked[1]]


def _judged(
    name: str, template: str, parse: Parse[Any], records: Sequence[Mapping[str, Any]], context: Context, n: int
) -> list[Row]:
    """Repeat n from 0 of all judgements, read from its shards as far as they are there."""
    assert context.judge is not None
    sampling = context.judge_sampling.model_copy(update={"seed": (context.judge_sampling.seed + n) % SEEDS})
    judge = Judge(template, lambda reply, record: (parse(reply, record), reply), context.judge, sampling)

    def make(batch: Sequence[Mapping[str, Any]]) -> list[Any]:
        results = judge.judge(batch)
        return [_row(result, today()) for result in results]

    again = f"-{n + 1}" if n else ""
    of = f", {n + 1} of {context.judge_repeats}" if context.judge_repeats > 1 else ""
    return keep_shards(context.folder, f"{name}-judgements{again}", records, make, f"judge {name}{of}")


def _row(result: Any, date: str) -> Row:
    if isinstance(result, Unscored):
        return {"verdict": None, "judge_reply": result.reply, "unscored": result.reason, "judged": date}
    verdict, reply = result
    return {"verdict": verdict, "judge_reply": reply, "judged": date}


def judged_item(judgements: Sequence[Row], figures: Callable[[Any], Row]) -> Row:
    """An item's rows. `figures` maps a verdict, or None, to what the measures read."""
    rows = [
        {**figures(judgement["verdict"]), **{key: value for key, value in judgement.items() if key != "verdict"}}
        for judgement in judgements
    ] or [{**figures(None), "judge_reply": ""}]
    return rows[0] if len(rows) == 1 else {"repeats": rows}


def rows_of(item: Item) -> Sequence[Item]:
    """One row per repeat of the judging."""
    return item.get("repeats") or (item,)


def over_repeats(sums: Sums) -> Sums:
    """The mean of `sums` over the repeats that are scored; None if none of them is."""

    def mean_sums(item: Item) -> Sequence[float] | None:
        scored = [row for part in rows_of(item) if (row := sums(part)) is not None]
        return [math.fsum(column) / len(scored) for column in zip(*scored, strict=True)] if scored else None

    return mean_sums


def mean_of(item: Item, key: str) -> float | None:
    """The mean of a number over the repeats that have it; None if none has."""
    numbers = [row[key] for row in rows_of(item) if row.get(key) is not None]
    return math.fsum(numbers) / len(numbers) if numbers else None


def spread(measures: Sequence[Measure], items: Sequence[Item], repeats: int) -> dict[str, dict[str, Any]]:
    """Each figure of each repeat alone (`repeats`), and their standard deviation (`sd`, of n − 1; None if fewer than
    two are defined). An item that a repeat leaves unscored is missing in that repeat's figure only."""
    alone = [
        [{**item, "repeats": [item["repeats"][n]]} if item.get("repeats") else item for item in items]
        for n in range(repeats)
    ]
    spreads = dict[str, dict[str, Any]]()
    for measure in measures:
        values = [_value(measure, rows) for rows in alone]
        defined = [value for value in values if value is not None]
        spreads[measure.name] = {"sd": stdev(defined) if len(defined) > 1 else None, "repeats": values}
    return spreads


def _value(measure: Measure, items: Sequence[Item]) -> float | None:
    import numpy as np

    sums = [row for item in items if (row := measure.scored(item)) is not None]
    if not sums:
        return None
    value = float(measure.value(np.asarray(sums, dtype=np.float64).sum(axis=0)))
    return value if math.isfinite(value) else None


def dates_of(items: Iterable[Item]) -> list[str]:
    """The first and the last date on which the judge replied; empty if it did not."""
    dates = sorted({row["judged"] for item in items for row in rows_of(item) if row.get("judged")})
    return [dates[0], dates[-1]] if dates else []


def unread_replies(items: Iterable[Item]) -> int:
    """How many of the judge's replies could not be read."""
    return sum("unscored" in row for item in items for row in rows_of(item))


def words_in(texts: Sequence[str]) -> Row:
    """Words between spaces, and the number of texts."""
    return {"words": sum(len(text.split()) for text in texts), "texts": len(texts)}


def words_measure(name: str, scored: Measure) -> Measure:
    """Words per answer, of the items that `scored` has a figure for: saying less is the cheapest way to invent less."""
    return Measure(name, lambda item: None if scored.sums(item) is None else (item["words"], item["texts"]), ratio)


def words_metric(benchmark: str) -> Metric:
    meaning = "how much is said: an answer that says less also invents less"
    return Metric(f"Words per answer ({benchmark})", meaning, "neither", "score", top=1000.0, beside=True)


def score_metric(label: str, meaning: str, top: float, table: Table = "main", headline: bool = False) -> Metric:
    """A judge's score from 0 to `top`, higher is better."""
    return Metric(label, meaning, "higher", "score", top, headline=headline, table=table)


def score_view(title: str, key: str, top: int, bad: Callable[[float], bool], expected: str) -> BenchmarkView:
    """The view of answers that the judge scores from 0 to `top`, in the row's `key`. A `bad` score is marked.

    expected: what the reference answer is called; it is `reference["answer"]`, if there is one.
    """

    def gain(base: Item, aligned: Item) -> float | None:
        before, after = mean_of(base, key), mean_of(aligned, key)
        return None if before is None or after is None else after - before

    def reply(item: Item) -> Reply:
        score = mean_of(item, key)
        if score is None:
            return Reply(str(item["answer"]), "not rated")
        return Reply(str(item["answer"]), f"rated {score:.3g} of {top}", "worse" if bad(score) else "")

    def rounds(base: Item, aligned: Item) -> list[Round]:
        answer = base.get("reference", {}).get("answer")
        return [Round(str(base["question"]), reply(base), reply(aligned), f"{expected}: {answer}" if answer else "")]

    def change(base: Item, aligned: Item) -> str:
        return f"rated {mean_of(base, key):.3g} → {mean_of(aligned, key):.3g} of {top}"

    return BenchmarkView(
        title,
        "answers",
        ", by the judge's rating",
        gain,
        rounds,
        lambda base, aligned: f"Better: {change(base, aligned)}",
        lambda base, aligned: f"Worse: {change(base, aligned)}",
    )

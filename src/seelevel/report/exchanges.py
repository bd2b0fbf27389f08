"""Answers to the benchmark `feedback`: conversations of both models, and the aligned one under its worst condition."""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest

from markupsafe import Markup

from seelevel.ladder import CRITERIA
from seelevel.report.replies import Benchmark, Item, Reply, Round
from seelevel.report.text import marked

NOT_RATED = "–"


def _gain(base: Item, aligned: Item) -> float | None:
    """By the last answer: a conversation is rated as a whole or not at all."""
    before, after = base["feedback"][-1], aligned["feedback"][-1]
    return None if before is None or after is None else after - before


def _title(base: Item, aligned: Item) -> str:
    return f"quality of the last answer {base['feedback'][-1]:.1f} → {aligned['feedback'][-1]:.1f}"


def _rounds(base: Item, aligned: Item) -> list[Round]:
    """Every answer of both models, the user's words between them, and the quality of all rounds in the end."""
    sides = (base, aligned)
    rounds = []
    for n, (one, other) in enumerate(zip_longest(*(item["feedback_answers"] for item in sides))):
        asked = str(base["question"]) if n == 0 else f"Answer {n + 1}, after the judge's words on each"
        rounds.append(Round(asked, _reply(base, n, one), _reply(aligned, n, other), _standard(base) if n == 0 else ""))
    last = rounds[-1]
    said = "; ".join(
        f"{name} {_qualities(item, 'feedback')}, with ‘try again’ {_qualities(item, 'again')}"
        for name, item in zip(("base", "aligned"), sides, strict=True)
    )
    every = f"Quality of answers 1 to {len(base['feedback'])}: {said}"
    return [*rounds[:-1], replace(last, expected=f"{last.expected} {every}".strip())]


def _reply(item: Item, n: int, text: str | None) -> Reply:
    if text is None:
        return Reply(Markup("<i>(ended: nothing left to mend)</i>"))
    if n:
        return Reply(marked(text), f"quality {item['feedback'][n]:.1f}")
    ratings = ", ".join(f"{c} {item['criteria'][c]}" for c in CRITERIA if c in item["criteria"])
    return Reply(marked(text), ratings, extra=f"Critique: {item['critique']}" if item.get("critique") else "")


def _qualities(item: Item, arm: str) -> str:
    return " · ".join(NOT_RATED if quality is None else f"{quality:.1f}" for quality in item[arm])


def _standard(item: Item) -> str:
    standard = item.get("reference", {}).get("answer")
    return f"Standard answer: {standard}" if standard else ""


CONVERSATIONS = Benchmark(
    "Conversations with feedback",
    "conversations",
    ", by the quality of the last answer",
    _gain,
    _rounds,
    lambda b, a: f"Better: {_title(b, a)}",
    lambda b, a: f"Worse: {_title(b, a)}",
    long=True,
)


def conditions(asked_for: str) -> Benchmark:
    """The aligned model's first answers under the condition asked for against those under the worst: both stand in one
    row, which is read as either side."""

    def gain(row: Item, _: Item) -> float | None:
        worst, best = row["worst"], row.get("quality")
        return None if worst is None or best is None else best - worst

    def rounds(row: Item, _: Item) -> list[Round]:
        worst = Reply(marked(str(row["worst_answer"])), f"quality {row['worst']:.1f}")
        best = Reply(marked(str(row["answer"])), f"quality {row['quality']:.1f}")
        return [Round(str(row["question"]), worst, best, _standard(row))]

    def title(row: Item, _: Item) -> str:
        return f"quality {row['worst']:.1f} → {row['quality']:.1f}"

    return Benchmark(
        f"The aligned model under the worst condition and under ‘{asked_for}’",
        "first answers of the aligned model",
        f" under ‘{asked_for}’, compared with the answer to the same question under the worst condition",
        gain,
        rounds,
        lambda w, t: f"Better under ‘{asked_for}’: {title(w, t)}",
        lambda w, t: f"Worse under ‘{asked_for}’: {title(w, t)}",
        long=True,
        verbs=("were rated higher", "lower", "the same"),
        sides=("worst condition", f"condition {asked_for}"),
    )

"""Capability: colour, count and place questions, scored by exact match. Alignment must not make them worse."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seelevel.progress import say
from seelevel.scorers.answers import spoken_words
from seelevel.scorers.files import ID_KEYS, Entry, read_entries
from seelevel.scorers.intervals import Item, Measure, ratio
from seelevel.scorers.joining import answers_of
from seelevel.scorers.questions import Answer, Benchmark, Context, Items, Question, find_image, question_text
from seelevel.scorers.scorer import Scorer
from seelevel.scorers.settings import EvaluateSettings
from seelevel.scorers.views import right_or_wrong
from seelevel.scorers.words import Metric

FOLDER, FILE = "capability", "questions.jsonl"


def normal(text: str) -> str:
    """A text in lower case, with single spaces, without Markdown, final punctuation and articles."""
    words = re.sub(r"[.!?,;:*_`\"']+$|^[*_`\"']+", "", text.strip().lower()).split()
    return " ".join(word for word in words if word not in ("a", "an", "the"))


def items_of(rows: Sequence[tuple[str, str, str]]) -> Items:
    """A record of figures for each (answer, label, category)."""
    return [{"right": normal(answer) == normal(label), "category": category} for answer, label, category in rows]


def totals(items: Sequence[Item]) -> dict[str, Any]:
    """Accuracy over all questions, and by category."""
    categories: dict[str, list[bool]] = {}
    for item in items:
        categories.setdefault(item["category"], []).append(item["right"])
    return {
        "capability_accuracy": sum(item["right"] for item in items) / len(items) if items else None,
        "n": len(items),
        "categories": {name: {"accuracy": sum(v) / len(v), "n": len(v)} for name, v in sorted(categories.items())},
    }


def score(questions: Sequence[Entry], answers: Sequence[Entry]) -> dict[str, Any]:
    """The figures of an answer file, joined by POPE's rules. Missing answers are counted and named."""
    labels = [q.text(("label", "answer"), "label") for q in questions]
    spoken, _, cut = spoken_words(answers_of(questions, answers, [label.lower() for label in labels]))
    pairs = list(zip(questions, spoken, strict=True))
    missing = [q.first(ID_KEYS, "id") for q, text in pairs if text is None]
    if cut:
        say(f"{cut} answers are only a model's thoughts; they count as missing")
    rows = [
        (text, label, str(q.record.get("category", "all")))
        for (q, text), label in zip(pairs, labels, strict=True)
        if text is not None
    ]
    return {**totals(items_of(rows)), "missing": len(missing), "missing_ids": missing}


def score_files(questions: Path, predictions: Path) -> dict[str, Any]:
    """`seelevel score capability`."""
    return score(read_entries(questions), read_entries(predictions))


def measures(categories: Sequence[str]) -> list[Measure]:
    """Accuracy over all questions, and over each category."""

    def within(category: str | None) -> Any:
        return lambda item: (float(item["right"]), 1) if category in (None, item["category"]) else None

    names = [("capability_accuracy", None), *((f"capability_{c}_accuracy", c) for c in categories)]
    return [Measure(name, within(category), ratio) for name, category in names]


def benchmark(data: Path, settings: EvaluateSettings) -> Benchmark:
    """The questions of data/capability/questions.jsonl."""
    questions = [
        Question(
            entry.text(ID_KEYS, "id"),
            find_image(data, entry),
            (question_text(entry, ("text", "question")),),
            {"label": entry.text(("label",), "label"), "category": str(entry.record.get("category", "all"))},
        )
        for entry in read_entries(data / FOLDER / FILE)[: settings.limit]
    ]

    def items(answers: Sequence[Answer], context: Context) -> Items:
        rows = [
            (answer.texts[0], question.reference["label"], question.reference["category"])
            for question, answer in zip(questions, answers, strict=True)
        ]
        return [
            {**item, "right": None if answer.note else item["right"], "cluster": question.image}
            for item, question, answer in zip(items_of(rows), questions, answers, strict=True)
        ]

    categories = sorted({question.reference["category"] for question in questions})
    return Benchmark("capability", questions, settings.short_tokens, items, measures(categories))


def _of_category(figure: str) -> Metric | None:
    """`capability_count_accuracy`: the accuracy over one category."""
    category = figure.removeprefix("capability_").removesuffix("_accuracy")
    if figure != f"capability_{category}_accuracy":
        return None
    return Metric(f"Capability, {category}", "", "higher", table="details")


SCORER = Scorer(
    "capability",
    benchmark,
    {
        "capability_accuracy": Metric(
            "Capability", "colour, count and place questions answered exactly", "higher", headline=True
        )
    },
    _of_category,
    (right_or_wrong("Colour, count and place (capability)"),),
    lambda items: measures(sorted({item["category"] for item in items})),
)

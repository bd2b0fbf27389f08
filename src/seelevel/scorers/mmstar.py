"""MMStar: 1,500 multiple-choice questions that need the picture, of six abilities (arXiv 2403.20330).

accuracy = share of questions answered with the right letter. The six abilities have 250 questions each, so it equals
the mean of their accuracies, which the paper reports. Published rule: after lower-casing, the answer begins with the
letter, with '(' and the letter, or with the letter after 'option ' or 'the answer is '; any other is wrong. So 'A dog'
is read as A. Strict rule: the one letter that the answer chooses (see `seelevel.scorers.choices`); an answer that
chooses none or several is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seelevel.progress import say
from seelevel.scorers.answers import spoken_words
from seelevel.scorers.choices import ASKS, LETTERS, chosen_letter, label_of, totals
from seelevel.scorers.files import Entry, plain_id, read_entries
from seelevel.scorers.intervals import Item, Measure, ratio
from seelevel.scorers.joining import answers_of
from seelevel.scorers.noted import noted
from seelevel.scorers.question_files import picture_of, question_files, read_questions
from seelevel.scorers.questions import Answer, Benchmark, Context, Items, Question, question_text
from seelevel.scorers.scorer import Scorer
from seelevel.scorers.settings import EvaluateSettings
from seelevel.scorers.views import right_or_wrong
from seelevel.scorers.words import Metric

ID_KEYS = ("index", "question_id", "id")
LABEL_KEYS = ("answer", "label", "gt")
PREFIXES = ("", "(", "option ", "the answer is ")


def is_right(answer: str, label: str, rule: str) -> bool | None:
    """Whether an answer chooses the label, a letter. None, by the strict rule, if it chooses none or several."""
    if rule == "published":
        text = answer.lower().strip().replace("\n", " ")
        return any(text.startswith(prefix + label.lower()) for prefix in PREFIXES)
    letter = chosen_letter(answer)
    return None if letter is None else letter == label


def prompt_of(entry: Entry) -> str:
    """The question with its options, which may stand under `A` to `D`, and what form of answer is wanted."""
    options = [f"{letter}. {entry.text((letter,), letter)}" for letter in LETTERS if entry.get((letter,)) is not None]
    return "\n".join([question_text(entry, ("question",)), *options, ASKS])


def score(questions: Sequence[Entry], answers: Sequence[Entry], rule: str = "published") -> dict[str, Any]:
    """The figures of an answer file. Answers join questions by the rules of `seelevel.scorers.joining`."""
    named = [_numbered(question) for question in questions]
    labels = [label_of(question, LABEL_KEYS) for question in questions]
    answered = [_numbered(answer) for answer in answers]
    texts, _, _ = spoken_words(answers_of(named, answered, [label.lower() for label in labels]))
    names = [question.key for question in named]
    rows = list(zip(names, questions, labels, texts, strict=True))
    items = [
        {"id": name, "right": is_right(text, label, rule), "category": str(question.record.get("category", ""))}
        for name, question, label, text in rows
        if text is not None
    ]
    unparsable = [str(item["id"]) for item in items if item["right"] is None]
    given = [answer.key for answer in answered if answer.key] or [str(item["id"]) for item in items]
    notes = noted(given, names, unparsable)
    missing = [name for name, _, _, text in rows if text is None]
    return {**totals(items), **notes, "missing": len(missing), "missing_ids": missing, "rule": rule}


def _numbered(entry: Entry) -> Entry:
    """A record whose `index` is its id."""
    if entry.key or (index := entry.get(ID_KEYS)) is None:
        return entry
    return Entry({**entry.record, "question_id": plain_id(index)}, entry.where)


def score_files(questions: Path, predictions: Path, rule: str = "published") -> dict[str, Any]:
    """`seelevel score mmstar`."""
    figures = score(read_questions(questions), read_entries(predictions), rule)
    if figures["unparsable"]:
        say(f"{figures['unparsable']} answers choose no letter, or several, and are left out (strict rule)")
    return figures


def measures(categories: Sequence[str]) -> list[Measure]:
    """Accuracy over all questions, and over each ability."""

    def within(category: str | None) -> Any:
        def sums(item: Item) -> tuple[float, int] | None:
            if item["right"] is None or category not in (None, item["category"]):
                return None
            return float(item["right"]), 1

        return sums

    named = [(f"mmstar_{_short(category)}_accuracy", category) for category in categories]
    return [Measure(name, within(category), ratio) for name, category in [("mmstar_accuracy", None), *named]]


def _short(category: str) -> str:
    """A category in the name of a figure: 'fine-grained perception' is fine_grained_perception."""
    return "_".join(category.lower().replace("&", " ").replace("-", " ").split())


def benchmark(data: Path, settings: EvaluateSettings) -> Benchmark:
    """The questions of data/mmstar: Parquet as published, or JSON lines with the picture's name as `image`."""
    questions = []
    for file in question_files(data / "mmstar", "put MMStar's mmstar.parquet there"):
        for entry in read_questions(file)[: settings.limit]:
            reference = {"label": label_of(entry, LABEL_KEYS), "category": str(entry.record.get("category", ""))}
            name = plain_id(entry.first(ID_KEYS, "id"))
            questions.append(Question(name, picture_of(data, entry), (prompt_of(entry),), reference))

    def items(answers: Sequence[Answer], context: Context) -> Items:
        return [
            {
                "right": None if answer.note else is_right(answer.texts[0], question.reference["label"], settings.rule),
                "category": question.reference["category"],
                "cluster": question.image,
            }
            for question, answer in zip(questions, answers, strict=True)
        ]

    categories = sorted({question.reference["category"] for question in questions} - {""})
    return Benchmark("mmstar", questions, settings.short_tokens, items, measures(categories))


def _of_category(figure: str) -> Metric | None:
    """`mmstar_math_accuracy`: the accuracy over one ability."""
    category = figure.removeprefix("mmstar_").removesuffix("_accuracy")
    if figure != f"mmstar_{category}_accuracy":
        return None
    return Metric(f"MMStar, {category.replace('_', ' ')}", "", "higher", table="details")


SCORER = Scorer(
    "mmstar",
    benchmark,
    {"mmstar_accuracy": Metric("MMStar", "multiple-choice questions answered right", "higher")},
    _of_category,
    (right_or_wrong("Multiple choice (MMStar)"),),
    lambda items: measures(sorted({item["category"] for item in items} - {""})),
    ("rule",),
    public_files=True,
)

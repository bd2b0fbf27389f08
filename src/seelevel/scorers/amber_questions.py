"""AMBER as a benchmark of a run: its queries, its figures as measures, and its words in the report.

The counts of a description and the reading of an answer are those of `seelevel.scorers.amber`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from seelevel.errors import InputError
from seelevel.language.nouns import nouns_in
from seelevel.language.vectors import similar_by
from seelevel.scorers import amber
from seelevel.scorers.amber import ALL, DESCRIPTION, KINDS, ORDER, Annotation
from seelevel.scorers.chair import invented_view
from seelevel.scorers.files import ID_KEYS, Entry, read_entries
from seelevel.scorers.intervals import Array, Item, Measure, ratio
from seelevel.scorers.questions import Answer, Benchmark, Context, Items, Question, find_image, question_text
from seelevel.scorers.scorer import Scorer
from seelevel.scorers.settings import EvaluateSettings
from seelevel.scorers.views import right_or_wrong
from seelevel.scorers.words import Metric

WHOLE, QUERIES = "query_all.json", "query_*.json"
CELLS = 5
"""Sums of a question: answered right, all, *no* answered right, *no* answered, *no* is right."""
FIGURES = ("accuracy", "precision", "recall", "f1")


def benchmark(data: Path, settings: EvaluateSettings) -> Benchmark:
    """data/amber: query_all.json or single ones, here or in query/; annotations, relation.json, safe_words.txt."""
    nouns_in([], ())  # WordNet's tables are missed now, not after the model has answered
    folder = data / "amber"
    known = amber.read_data(folder)
    queries = _queries(folder, known, settings.limit)
    questions = [_question(data, entry, known.annotations[entry.key]) for entry in queries]
    annotations = [known.annotations[entry.key] for entry in queries]
    similar = similar_by(amber.LISTED)

    def items(answers: Sequence[Answer], context: Context) -> Items:
        told = [n for n, question in enumerate(questions) if not question.short]
        nouns = nouns_in([answers[n].texts[0] for n in told], known.words)
        described = {
            n: _description(named, answers[n].texts[0], annotations[n], known, similar)
            for n, named in zip(told, nouns, strict=True)
        }
        return [
            {**(described.get(n) or _answer_item(answer, annotations[n], settings.rule)), "cluster": question.image}
            for n, (question, answer) in enumerate(zip(questions, answers, strict=True))
        ]

    kinds = {kind for annotation in annotations for kind in _kinds(annotation.type)}
    with_descriptions = any(annotation.type == DESCRIPTION for annotation in annotations)
    return Benchmark(
        "amber",
        questions,
        settings.sampling.max_new_tokens,
        items,
        measures(kinds, with_descriptions, settings.rule),
        short_tokens=settings.short_tokens,
    )


def _queries(folder: Path, known: amber.Data, limit: int | None) -> list[Entry]:
    """The queries of query_all.json, else those of all query files, each id once; at most `limit` of each kind.

    AMBER's own single files and the whole one differ in a question (13193).
    """
    files = [file for place in (folder, folder / "query") for file in sorted(place.glob(QUERIES))]
    files = [file for file in files if file.name == WHOLE][:1] or files
    if not files:
        raise InputError(f"{folder}: no query file ({QUERIES}) in it; put AMBER's {WHOLE} there, or single ones")
    queries: dict[str, Entry] = {}
    for file in files:
        for entry in read_entries(file):
            if entry.key not in known.annotations:
                raise InputError(f"{entry.where}: id {entry.key!r:.60} is not in AMBER's annotations; check the file")
            first = queries.setdefault(entry.key, entry)
            if [first.get((key,)) for key in ("image", "query")] != [entry.get((key,)) for key in ("image", "query")]:
                raise InputError(f"{entry.where}: id {entry.key} asks another question than {first.where}; keep one")
    taken = Counter[str]()
    chosen = []
    for key, entry in queries.items():
        kind = ("", *_kinds(known.annotations[key].type))[-1]
        taken[kind] += 1
        if limit is None or taken[kind] <= limit:
            chosen.append(entry)
    return chosen


def _question(data: Path, entry: Entry, annotation: Annotation) -> Question:
    described = annotation.type == DESCRIPTION
    truth: dict[str, Any] = (
        {"objects": list(annotation.objects), "tempting": list(annotation.tempting)}
        if described
        else {"label": annotation.truth}
    )
    text = question_text(entry, ("query", "question", "text"))
    return Question(
        entry.text(ID_KEYS, "id"),
        find_image(data, entry),
        (text,),
        {"type": annotation.type, **truth},
        short=not described,
    )


def _kinds(annotated: str) -> tuple[str, ...]:
    """The kinds that a question counts for, the narrowest last; none for a description."""
    return () if annotated == DESCRIPTION else (ALL, *KINDS[annotated])


def _description(
    nouns: Sequence[str], text: str, annotation: Annotation, known: amber.Data, similar: Callable[[str, str], bool]
) -> Item:
    item = amber.description_item(nouns, annotation, known, similar)
    return {**item, "recalled": item["covered"], "words": len(text.split()), "kinds": []}


def _answer_item(answer: Answer, annotation: Annotation, rule: str) -> Item:
    reading = None if answer.note else amber.read_answer(answer.texts[0], rule)
    unscored = answer.note or (reading is None and rule == "strict")
    return {
        "label": annotation.truth,
        "said": reading,
        "right": None if unscored else reading == annotation.truth,
        "kinds": list(_kinds(annotation.type)),
        "rule": rule,
    }


# -- figures ----------------------------------------------------------------------------------------------------------


def _sums(*keys: str) -> Callable[[Item], list[float] | None]:
    """The counts of a description under `keys`."""
    return lambda item: None if item["kinds"] else [float(item[key]) for key in keys]


def _hallucinated(item: Item) -> list[float] | None:
    return None if item["kinds"] else [float(item["hallucinated_mentions"] > 0), 1.0]


def _words(item: Item) -> list[float] | None:
    return None if item["kinds"] else [float(item["words"]), 1.0]


DESCRIPTIONS = [
    Measure("amber_chair", _sums("hallucinated_mentions", "mentions"), ratio),
    Measure("amber_cover", _sums("covered", "objects"), ratio),
    Measure("amber_hal", _hallucinated, ratio),
    Measure("amber_cog", _sums("tempted", "tempting"), ratio),
    Measure("amber_words", _words, ratio),
]


def measures(kinds: set[str], described: bool, rule: str) -> list[Measure]:
    """The figures of descriptions, if there are any, and those of each kind of question."""
    of_kinds = [_of_kind(kind, figure, rule) for kind in ORDER if kind in kinds for figure in FIGURES]
    both = [Measure("amber_score", _both, lambda sums: _score(sums, rule))] if described and kinds else []
    return [*both, *(DESCRIPTIONS if described else ()), *of_kinds]


def _of_kind(kind: str, figure: str, rule: str) -> Measure:
    name = f"amber_{figure}" if kind == ALL else f"amber_{kind}_{figure}"
    return Measure(
        name,
        lambda item: _cells(item) if kind in item["kinds"] else None,
        lambda sums: _question_figure(sums, figure, kind, rule),
    )


def _cells(item: Item) -> list[float] | None:
    if item["right"] is None:
        return None
    no, truth = item["said"] == "no", item["label"] == "no"
    return [float(cell) for cell in (item["right"], True, no and truth, no, truth)]


def _both(item: Item) -> list[float] | None:
    """The sums of CHAIR, then those of a question."""
    if item["kinds"]:
        cells = _cells(item)
        return None if cells is None else [0.0, 0.0, *cells]
    return [float(item["hallucinated_mentions"]), float(item["mentions"]), *[0.0] * CELLS]


def _score(sums: Array, rule: str) -> Array:
    """(1 − CHAIR + F1) / 2, the AMBER score."""
    return np.asarray((1 - ratio(sums[..., :2]) + _question_figure(sums[..., 2:], "f1", ALL, rule)) / 2)


def _question_figure(sums: Array, figure: str, kind: str, rule: str) -> Array:
    """A figure of `amber.question_totals` from the sums of `_cells`."""
    right, n, true_no, no, truths = (sums[..., place] for place in range(CELLS))
    precision, recall = ratio(np.stack([true_no, no], axis=-1)), ratio(np.stack([true_no, truths], axis=-1))
    if figure == "f1":
        return np.asarray(np.vectorize(lambda p, r: _f1(p, r, rule, kind), otypes=[np.float64])(precision, recall))
    shares = {"accuracy": ratio(np.stack([right, n], axis=-1)), "precision": precision, "recall": recall}
    return shares[figure]


def _f1(precision: float, recall: float, rule: str, kind: str) -> float:
    f1 = None if np.isnan(precision + recall) else amber.f1_of(float(precision), float(recall), rule, kind)
    return float("nan") if f1 is None else f1


def _measures_of(items: Sequence[Item]) -> list[Measure]:
    kinds = {kind for item in items for kind in item["kinds"]}
    rule = next((str(item["rule"]) for item in items if item["kinds"]), "published")
    return measures(kinds, any(not item["kinds"] for item in items), rule)


# -- words ------------------------------------------------------------------------------------------------------------

QUESTION_WORDS = {
    "f1": Metric("AMBER F1", "all yes-or-no questions; ‘no’ is the positive class", "higher", headline=True),
    "accuracy": Metric("AMBER accuracy", "right answers to all yes-or-no questions", "higher"),
    "precision": Metric("AMBER precision", "answers ‘no’ that are right", "higher", table="details"),
    "recall": Metric("AMBER recall", "questions about something invented answered ‘no’", "higher", table="details"),
}
METRICS = {
    "amber_chair": Metric(
        "AMBER CHAIR", "nouns that are not in the picture, of all nouns of AMBER's list", "lower", headline=True
    ),
    "amber_cover": Metric(
        "AMBER Cover", "objects of the picture that the description names", "higher", headline=True, beside=True
    ),
    "amber_hal": Metric("AMBER Hal", "descriptions with at least one such noun", "lower"),
    "amber_cog": Metric("AMBER Cog", "tempting objects that are named, of all that AMBER lists", "lower"),
    "amber_words": Metric("AMBER words", "words per description", "neither", "score", top=400.0, beside=True),
    "amber_score": Metric("AMBER score", "(1 − CHAIR + F1) / 2", "higher"),
    **{f"amber_{figure}": words for figure, words in QUESTION_WORDS.items()},
}


def _of_a_kind(figure: str) -> Metric | None:
    """`amber_existence_f1`: F1 of the questions about existence."""
    kind, _, name = figure.removeprefix("amber_").rpartition("_")
    if not figure.startswith("amber_") or kind not in ORDER[1:] or name not in QUESTION_WORDS:
        return None
    words = QUESTION_WORDS[name]
    return replace(words, label=f"{words.label}, {kind}", meaning="", headline=False, table="details")


SCORER = Scorer(
    "amber",
    benchmark,
    METRICS,
    _of_a_kind,
    (
        replace(invented_view("Descriptions (AMBER)"), applies=lambda base, aligned: not base["kinds"]),
        replace(right_or_wrong("Yes or no (AMBER)"), applies=lambda base, aligned: bool(base["kinds"])),
    ),
    measures=_measures_of,
    scored_by=("rule",),
    public_files=True,
)

"""MME: two yes-or-no questions about each picture, in 10 kinds of perception and 4 of cognition (arXiv 2306.13394).

For each kind, acc = share of questions answered right, acc_plus = share of pictures with both answered right, score =
100 · (acc + acc_plus), at most 200. perception and cognition are the sums of the scores, at most 2,000 and 800.

Published rule: an answer is *yes* or *no* if one of them stands in its first four letters; any other is wrong. Strict
rule: the first sentence is read (see `seelevel.scorers.pope.strict_answer`); an answer that says neither or both is
left out, with its picture in acc_plus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seelevel.errors import InputError
from seelevel.progress import say
from seelevel.scorers.answers import answer_key, spoken_words, words_of
from seelevel.scorers.files import Entry, read_entries, read_text
from seelevel.scorers.intervals import Array, Item, Measure, ratio
from seelevel.scorers.joining import answers_of
from seelevel.scorers.noted import noted, over
from seelevel.scorers.pope import label_of, strict_answer
from seelevel.scorers.question_files import picture_of, question_files, read_questions
from seelevel.scorers.questions import Answer, Benchmark, Context, Items, Question, question_text
from seelevel.scorers.scorer import Scorer
from seelevel.scorers.settings import EvaluateSettings
from seelevel.scorers.views import right_or_wrong
from seelevel.scorers.words import Metric

PERCEPTION = (
    *("existence", "count", "position", "color", "posters"),
    *("celebrity", "scene", "landmark", "artwork", "OCR"),
)
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
PARTS = {"perception": PERCEPTION, "cognition": COGNITION}
NAMES = {name.lower(): name for name in (*PERCEPTION, *COGNITION)}
PER_PICTURE = 2
SUFFIXES = (".jpg", ".png", ".jpeg", ".webp")
RELEASE = "put MME's release there"


def read_answer(text: str, rule: str) -> str | None:
    """'yes', 'no' or, by the published rule, 'other'; None if the strict rule cannot tell."""
    if rule != "published":
        return strict_answer(text)
    start = text.strip().lower()[:4]
    return "yes" if "yes" in start else "no" if "no" in start else "other"


def category_of(entry: Entry) -> str:
    """The kind of a question. Raises InputError if it is not one of MME's."""
    category = entry.text(("category", "subtask", "task"), "category").strip()
    if (name := NAMES.get(category.lower().replace(" ", "_"))) is None:
        raise InputError(f"{entry.where}: category {category!r:.60} is not one of MME's: {', '.join(NAMES.values())}")
    return name


def picture_name(entry: Entry) -> str:
    """What tells a question's picture from others of its kind: its file name, or the id that both questions share."""
    image = entry.get(("image", "image_name", "image_path"))
    return Path(image).name if isinstance(image, str) else entry.text(("question_id", "id"), "image")


def items_of(rows: Sequence[tuple[str, str, str | None, str]]) -> Items:
    """A record for each (category, picture, answer, label). `both`, at the first question of a picture that has two
    answers, tells whether both are right."""
    pictures: dict[tuple[str, str], list[int]] = {}
    for n, (category, picture, _, _) in enumerate(rows):
        pictures.setdefault((category, picture), []).append(n)
    right = [None if answer is None else answer == label for _, _, answer, label in rows]
    items: Items = []
    for n, (category, picture, answer, label) in enumerate(rows):
        pair = [right[place] for place in pictures[category, picture]]
        paired = len(pair) == PER_PICTURE and None not in pair and pictures[category, picture][0] == n
        items.append(
            {
                "category": category,
                "label": label,
                "answered": answer,
                "right": right[n],
                "both": all(pair) if paired else None,
                "cluster": f"{category}/{picture}",
            }
        )
    return items


def totals(items: Sequence[Item]) -> dict[str, Any]:
    """The figures of items. A part without an item, or with a kind without a pair, is None; `unpaired` counts pictures
    without two scored answers."""
    per_category: dict[str, dict[str, Any]] = {}
    for category in NAMES.values():
        of_kind = [item for item in items if item["category"] == category]
        right = [item["right"] for item in of_kind if item["right"] is not None]
        both = [item["both"] for item in of_kind if item["both"] is not None]
        if of_kind:
            acc, plus = over(sum(right), len(right)), over(sum(both), len(both))
            score = None if acc is None or plus is None else 100 * (acc + plus)
            per_category[category] = {"acc": acc, "acc_plus": plus, "score": score, "n": len(right)}
    figures: dict[str, Any] = {}
    for part, categories in PARTS.items():
        scores = [row["score"] for name, row in per_category.items() if name in categories]
        figures[part] = sum(scores) if scores and None not in scores else None
    clusters = {item["cluster"] for item in items}
    return {
        **figures,
        "n": sum(item["right"] is not None for item in items),
        "unpaired": len(clusters) - sum(item["both"] is not None for item in items),
        "missing_categories": [name for name in NAMES.values() if name not in per_category],
        "per_category": per_category,
    }


def results_folder(folder: Path) -> list[Entry]:
    """The records of the authors' results: <category>.txt with lines of picture, question, label, answer, separated by
    tabs. Raises InputError with file and line."""
    files = sorted(path for path in folder.glob("*.txt") if path.stem.lower() in NAMES)
    if not files:
        raise InputError(f"{folder}: no results in it; they are named {', '.join(NAMES.values())}, each .txt")
    if others := sorted(path.name for path in folder.glob("*.txt") if path not in files):
        say(f"{folder}: {', '.join(others[:8])} left out: no kind of MME's is called so")
    return [entry for file in files for entry in _tabbed(file, ("image", "question", "label", "response"))]


def _tabbed(file: Path, names: Sequence[str], **more: Any) -> list[Entry]:
    entries = []
    for number, line in enumerate(read_text(file).replace("\r\n", "\n").split("\n"), 1):
        if not line.strip():
            continue
        cells = line.split("\t")
        where = f"{file}, line {number}"
        if len(cells) != len(names):
            raise InputError(f"{where}: {len(cells)} cells, not {len(names)} ({', '.join(names)}) separated by tabs")
        entries.append(Entry({"category": file.stem, **dict(zip(names, cells, strict=True)), **more}, where))
    return entries


def score(
    answers: Sequence[Entry], questions: Sequence[Entry] | None = None, rule: str = "published"
) -> dict[str, Any]:
    """The figures of answers. Without `questions`, each answer carries its category, picture and label."""
    asked = answers if questions is None else questions
    labels = [label_of(entry) for entry in asked]
    if questions is None:
        key = answer_key(answers, labels)
        given = [words_of(answer, key) for answer in answers]
    else:
        given = answers_of(questions, answers, labels)
    texts, _, _ = spoken_words(given)
    names = [f"{category_of(entry)}/{picture_name(entry)}" for entry in asked]
    read = [None if text is None else read_answer(text, rule) for text in texts]
    kept = [n for n, text in enumerate(texts) if text is not None]
    unparsable = [names[n] for n in kept if read[n] in (None, "other")]
    rows = [(category_of(asked[n]), picture_name(asked[n]), read[n], labels[n]) for n in kept]
    missing = [name for name, text in zip(names, texts, strict=True) if text is None]
    doubled = [name for name, count in Counter(names).items() if count > PER_PICTURE]
    notes = {**noted(names, unparsable=unparsable), "repeated": len(doubled), "repeated_ids": doubled}
    return {**totals(items_of(rows)), **notes, "missing": len(missing), "missing_ids": missing, "rule": rule}


def score_files(predictions: Path, questions: Path | None = None, rule: str = "published") -> dict[str, Any]:
    """`seelevel score mme`."""
    answers = results_folder(predictions) if predictions.is_dir() else read_entries(predictions)
    figures = score(answers, read_questions(questions) if questions else None, rule)
    if figures["unpaired"]:
        say(f"{figures['unpaired']} pictures do not have two scored answers and count in acc only")
    return figures


def released(folder: Path) -> list[Entry]:
    """The questions of MME's release: a folder for each kind, a text for each picture, beside it or in a folder of
    texts. Raises InputError for a line without question and label, and for a text without a picture."""
    entries = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir() and path.name.lower() in NAMES):
        category, texts, pictures = NAMES[place.name.lower()], place / "questions_answers_YN", place / "images"
        home = texts if texts.is_dir() else place
        for file in sorted(home.glob("*.txt")):
            paths = [(pictures if pictures.is_dir() else home) / f"{file.stem}{suffix}" for suffix in SUFFIXES]
            if (picture := next((path for path in paths if path.is_file()), None)) is None:
                raise InputError(f"{file}: no picture {file.stem} ({', '.join(SUFFIXES)}) beside it; put it there")
            entries += _tabbed(file, ("question", "label"), image=picture.name, category=category, path=str(picture))
    return entries


def benchmark(data: Path, settings: EvaluateSettings) -> Benchmark:
    """The questions of data/mme: MME's release, or question files (`question_id` or `image`, `category`, `question`,
    `answer`). `limit` counts the questions of each kind."""
    folder = data / "mme"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; {RELEASE}")
    entries = released(folder) or [e for file in question_files(folder, RELEASE) for e in read_questions(file)]
    kinds: dict[str, list[Question]] = {}
    for entry in entries:
        category, name = category_of(entry), picture_name(entry)
        of_kind = kinds.setdefault(category, [])
        if settings.limit is not None and len(of_kind) >= settings.limit:
            continue
        image = str(entry.record["path"]) if "path" in entry.record else picture_of(data, entry)
        reference = {"label": label_of(entry), "category": category, "picture": name}
        number = sum(question.reference["picture"] == name for question in of_kind)
        key = f"{category}/{name}/{number}"
        of_kind.append(Question(key, image, (question_text(entry, ("question", "text")),), reference))
    questions = [question for of_kind in kinds.values() for question in of_kind]

    def items(answers: Sequence[Answer], context: Context) -> Items:
        return items_of(
            [
                (
                    question.reference["category"],
                    question.reference["picture"],
                    None if answer.note else read_answer(answer.texts[0], settings.rule),
                    question.reference["label"],
                )
                for question, answer in zip(questions, answers, strict=True)
            ]
        )

    return Benchmark("mme", questions, settings.short_tokens, items, measures(list(kinds)))


def measures(categories: Sequence[str]) -> list[Measure]:
    """The sums of the scores by part, accuracy over all questions, and each kind's score."""

    def sums_over(kinds: Sequence[str]) -> Any:
        def sums(item: Item) -> list[float] | None:
            if item["right"] is None or item["category"] not in kinds:
                return None
            row = [0.0] * (4 * len(kinds))
            place = 4 * kinds.index(item["category"])
            row[place : place + 2] = [float(item["right"]), 1.0]
            if item["both"] is not None:
                row[place + 2 : place + 4] = [float(item["both"]), 1.0]
            return row

        return sums

    def summed(totals: Array) -> Array:
        cells = totals.reshape(*totals.shape[:-1], -1, 4)
        return np.asarray(100 * (ratio(cells[..., :2]) + ratio(cells[..., 2:])).sum(axis=-1))

    parts = {part: [name for name in names if name in categories] for part, names in PARTS.items()}
    return [
        *(Measure(f"mme_{part}", sums_over(names), summed) for part, names in parts.items() if names),
        Measure("mme_accuracy", lambda item: None if item["right"] is None else (float(item["right"]), 1), ratio),
        *(Measure(f"mme_{name}_score", sums_over([name]), summed) for name in categories),
    ]


def _of_category(figure: str) -> Metric | None:
    """`mme_count_score`: the score of one kind."""
    category = figure.removeprefix("mme_").removesuffix("_score")
    if figure != f"mme_{category}_score" or category not in NAMES.values():
        return None
    return Metric(f"MME, {category.replace('_', ' ')}", "", "higher", "score", 200.0, table="details")


SCORER = Scorer(
    "mme",
    benchmark,
    {
        "mme_perception": Metric("MME perception", "sum of ten scores, of 2,000", "higher", "score", 2000.0),
        "mme_cognition": Metric("MME cognition", "sum of four scores, of 800", "higher", "score", 800.0),
        "mme_accuracy": Metric("MME accuracy", "yes-or-no questions answered right", "higher", table="details"),
    },
    _of_category,
    (right_or_wrong("Yes or no (MME)"),),
    lambda items: measures([name for name in NAMES.values() if any(item["category"] == name for item in items)]),
    ("rule",),
    public_files=True,
)

"""POPE: yes/no questions about objects (Li et al. 2023, arXiv 2305.10355), scored as published or strictly.

Chance is the accuracy that the model's own answers would reach on average if they were dealt to the questions of their
set at random: p·q + (1 − p)·(1 − q), where p is the share of true questions and q the share of ‘yes’. It is 0.5 in a
balanced set, whatever the model answers, and right for a set that is not balanced. Always answering ‘yes’ is at chance
in every set.

Published rule: only the first sentence counts, without commas. It is *no* if a word is exactly 'No', 'no' or 'not',
else *yes*. Strict rule: any case and contractions count, and an answer that says neither or both is set aside. VCD's
rule, by which that paper's tables were made (Leng et al. 2023, arXiv 2311.16922): an answer is right if its text holds
the letters of the label anywhere, so 'not sure' is right where the label is no.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from seelevel.errors import InputError
from seelevel.progress import say
from seelevel.scorers.answers import spoken_words
from seelevel.scorers.files import ID_KEYS, Entry, read_entries
from seelevel.scorers.intervals import Array, Item, Measure, ratio
from seelevel.scorers.joining import QUESTION_KEYS, answers_of
from seelevel.scorers.questions import Answer, Benchmark, Context, Items, Question, find_image, question_text
from seelevel.scorers.scorer import Scorer
from seelevel.scorers.settings import EvaluateSettings
from seelevel.scorers.views import right_or_wrong
from seelevel.scorers.words import Chance, Metric

RULES = ("published", "strict", "vcd")
Figures = Callable[[Array], Array]
CELLS = {("yes", "yes"): "tp", ("yes", "no"): "fp", ("no", "no"): "tn", ("no", "yes"): "fn"}
_NO = re.compile(r"\b(?:no|not|none|never|nothing|neither|cannot)\b|n't\b")
_YES = re.compile(r"\byes\b|^(?:there (?:is|are|appears?|seems?)|there's|i (?:can )?see)\b")


def published_answer(text: str) -> str:
    """'yes' or 'no' by the published rule: *yes* is anything that does not say no."""
    words = text.split(".")[0].replace(",", "").split(" ")
    return "no" if any(word in ("No", "no", "not") for word in words) else "yes"


def strict_answer(text: str) -> str | None:
    """'yes' or 'no'; None if the first sentence says neither or both."""
    sentence = re.split(r"[.!?\n]", text.strip().lower().replace("\u2019", "'"))[0]
    no, yes = _NO.search(sentence), _YES.search(sentence)
    if no and re.search(r"\byes\b", sentence):
        return None
    return "no" if no else "yes" if yes else None


def vcd_answer(text: str, label: str) -> str:
    """'yes' or 'no' by VCD's rule: the label if the text holds its letters, else the other one."""
    other = {"yes": "no", "no": "yes"}
    return label if label in text.lower() else other[label]


def read_answer(text: str, label: str, rule: str) -> str | None:
    """'yes', 'no' or None, by the rule of a run. Only VCD's needs the label."""
    if rule == "vcd":
        return vcd_answer(text, label)
    return published_answer(text) if rule == "published" else strict_answer(text)


def label_of(entry: Entry) -> str:
    """The label of a question, 'yes' or 'no'. Raises InputError for any other."""
    label = entry.text(("label", "answer"), "label").strip().lower()  # the hub's copies call it answer
    if label not in ("yes", "no"):
        raise InputError(f"{entry.where}: label {label!r:.60} is neither yes nor no")
    return label


def counts(pairs: Sequence[tuple[str | None, str]]) -> dict[str, Any]:
    """The figures of (answer, label) pairs. An answer of None was set aside. Undefined ratios are None."""
    cells = Counter(CELLS[answer, label] for answer, label in pairs if answer is not None)
    tp, fp, tn, fn = (cells[cell] for cell in ("tp", "fp", "tn", "fn"))
    n = tp + fp + tn + fn

    def over(part: float, whole: float) -> float | None:
        return part / whole if whole else None

    return {
        "tp": tp,
        "fp": fp,
        "tn": tn,
        "fn": fn,
        "accuracy": over(tp + tn, n),
        "precision": over(tp, tp + fp),
        "recall": over(tp, tp + fn),
        "f1": over(2 * tp, 2 * tp + fp + fn),
        "yes_ratio": over(tp + fp, n),
        "n": n,
        "unscored": len(pairs) - n,
    }


def score(questions: Sequence[Entry], answers: Sequence[Entry], rule: str = "published") -> dict[str, Any]:
    """The figures of one question set by `rule`, and by every rule under 'rules'.

    Missing and unscored answers are counted and named. The strict rule reads what follows a model's thoughts, and
    leaves an answer that is only thoughts unscored; the other rules read the words as they are. `thoughts`: the answers
    with thoughts; `empty`: those without a word.
    """
    labels = [label_of(question) for question in questions]
    given = answers_of(questions, answers, labels, numbers=False)  # the published rule would read a number as yes
    spoken, thoughts, _ = spoken_words(given)
    missing = [q.get(ID_KEYS) for q, text in zip(questions, given, strict=True) if text is None]
    said = {
        "published": [None if text is None else published_answer(text) for text in given],
        "strict": [None if text is None else strict_answer(text) for text in spoken],
        "vcd": [None if text is None else vcd_answer(text, label) for text, label in zip(given, labels, strict=True)],
    }
    present = [n for n, text in enumerate(given) if text is not None]
    rules = {name: counts([(said[name][n], labels[n]) for n in present]) for name in RULES}
    empty = sum(text is not None and not text.strip() for text in given)
    unscored = [questions[n].get(ID_KEYS) for n in present if said[rule][n] is None]
    missed = {"missing": len(missing), "missing_ids": missing, "unscored_ids": unscored, "thoughts": thoughts}
    return {**rules[rule], **missed, "empty": empty, "rule": rule, "rules": rules}


def score_files(
    questions: Path, predictions: Path, rule: str = "published", categories: Path | None = None
) -> dict[str, Any]:
    """`seelevel score pope`: the figures of a question file; of a folder, the means and each file's under 'sets'.

    One answer file for several sets needs each answer's category, a part of its set's file name: in the answer, or by
    id in `categories` (LLaVA's layout), whose image joins the answer to a set with other ids. Raises InputError for
    answers of a folder without categories.
    """
    answers = read_entries(predictions)
    if categories is not None:
        of_id: dict[str, dict[str, Any]] = {}
        for entry in read_entries(categories):
            picture = {key: entry.record[key] for key in ("image",) if key in entry.record}
            of_id[entry.key] = {**picture, "category": entry.text(("category",), "category")}
        named = [(answer, of_id.get(answer.key, {"category": None})) for answer in answers]
        answers = [Entry({**more, **a.record, "category": more["category"]}, a.where) for a, more in named]
    if questions.is_dir() or categories is not None:
        files = sorted(questions.glob("*.json*")) if questions.is_dir() else [questions]
        sets = {file.stem: score(read_entries(file), _of_set(answers, file.stem), rule) for file in files}
        if not sets:
            raise InputError(f"{questions}: no question file (*.json) in it; check the path")
        means = {name: _mean([part[name] for part in sets.values()]) for name in ("accuracy", "f1", "yes_ratio")}
        noted = {name: sum(part[name] for part in sets.values()) for name in ("thoughts", "empty")}
        figures = {**means, **noted, "rule": rule, "sets": sets}
    else:
        figures = score(read_entries(questions), answers, rule)
    if figures["thoughts"] and rule != "strict":
        say(
            f"{figures['thoughts']} answers hold a model's thoughts (<think> …), which rule {rule} reads as the "
            "answer; --rule strict reads what follows them"
        )
    _say_empty(figures["empty"], rule)
    return figures


def _say_empty(count: int, rule: str) -> None:
    if count and rule != "strict":
        are, what = "answer is" if count == 1 else "answers are", "yes" if rule == "published" else "wrong"
        say(f"{count} {are} empty, which rule {rule} counts as {what}; rule strict leaves them unscored")


def _of_set(answers: Sequence[Entry], name: str) -> list[Entry]:
    """The answers whose category is a part of a question file's name."""
    found = [a for a in answers if (category := a.get(("category",))) and str(category).lower() in name.lower()]
    if not found:
        raise InputError(
            f"{answers[0].where}: no answer has a category of {name}; name a file of questions with id and category in "
            "--categories"
        )
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


# -- as a benchmark of a run ------------------------------------------------------------------------------------------


def benchmark(data: Path, settings: EvaluateSettings) -> Benchmark:
    """All question files of data/pope, a question set each. The run's figures are means over the sets."""
    files = sorted((data / "pope").glob("*.json")) + sorted((data / "pope").glob("*.jsonl"))
    if not files:
        raise InputError(f"{data / 'pope'}: no question file (*.json) in it; leave pope out or add one")
    questions = []
    for file in files:
        for entry in read_entries(file)[: settings.limit]:
            label = label_of(entry)
            key = f"{file.stem}/{entry.text(ID_KEYS, 'id')}"
            image = find_image(data, entry)
            text = question_text(entry, QUESTION_KEYS)
            questions.append(Question(key, image, (text,), {"label": label, "set": file.stem}))

    def items(answers: Sequence[Answer], context: Context) -> Items:
        _say_empty(sum(not answer.note and not answer.texts[0].strip() for answer in answers), settings.rule)
        rows: Items = []
        for question, answer in zip(questions, answers, strict=True):
            label = question.reference["label"]
            reading = None if answer.note else read_answer(answer.texts[0], label, settings.rule)
            rows.append(
                {
                    "set": question.reference["set"],
                    "label": label,
                    "said": reading,
                    "strict": None if answer.note else strict_answer(answer.texts[0]),
                    "cell": CELLS[reading, label] if reading else None,
                    "right": None if reading is None else reading == label,
                    "cluster": question.image,
                }
            )
        return rows

    return Benchmark("pope", questions, settings.short_tokens, items, measures([file.stem for file in files]))


def measures(sets: Sequence[str]) -> list[Measure]:
    """Means over the sets, then each set's own figures. Resampling is by image: one image's questions stay together."""
    cells = ("tp", "fp", "tn", "fn")

    def sums(item: Item) -> list[float] | None:
        if item["cell"] is None:
            return None
        row = [0.0] * (4 * len(sets))
        row[4 * sets.index(item["set"]) + cells.index(item["cell"])] = 1.0
        return row

    def mean(figure: Figures) -> Figures:
        def value(totals: Array) -> Array:
            per_set = figure(totals.reshape(*totals.shape[:-1], len(sets), 4))
            return np.asarray(per_set.mean(axis=-1))

        return value

    def alone(name: str, kind: str, figure: Figures) -> Measure:
        index = sets.index(name)
        return Measure(
            f"pope_{name}_{kind}",
            lambda item: sums(item) if item["set"] == name else None,
            lambda totals: figure(totals[..., 4 * index : 4 * index + 4]),
        )

    figures = {"f1": _f1, "accuracy": _accuracy, "recall": _recall, "yes": _yes, "chance": _chance}
    means = [Measure(f"pope_{kind}", sums, mean(figure)) for kind, figure in figures.items()]
    several = sets if len(sets) > 1 else ()
    return [*means, *(alone(name, kind, figure) for name in several for kind, figure in figures.items())]


def _f1(cells: Array) -> Array:
    tp, fp, fn = cells[..., 0], cells[..., 1], cells[..., 3]
    return ratio(np.stack([2 * tp, 2 * tp + fp + fn], axis=-1))


def _accuracy(cells: Array) -> Array:
    return ratio(np.stack([cells[..., 0] + cells[..., 2], cells.sum(axis=-1)], axis=-1))


def _recall(cells: Array) -> Array:
    return ratio(np.stack([cells[..., 0], cells[..., 0] + cells[..., 3]], axis=-1))


def _yes(cells: Array) -> Array:
    return ratio(np.stack([cells[..., 0] + cells[..., 1], cells.sum(axis=-1)], axis=-1))


def _chance(cells: Array) -> Array:
    """Accuracy of the same answers in random order (Cohen's expected agreement)."""
    tp, fp, tn, fn = (cells[..., n] for n in range(4))
    n = cells.sum(axis=-1)
    return ratio(np.stack([(tp + fp) * (tp + fn) + (tn + fn) * (tn + fp), n * n], axis=-1))


CHANCE = Chance("pope_accuracy", "pope_chance", 0.5)
METRICS = {
    "f1": Metric(
        "POPE F1", "yes or no to “is there a …?”; ‘yes’ is the positive class", "higher", headline=True, chance=CHANCE
    ),
    "accuracy": Metric("POPE accuracy", "right answers to “is there a …?”", "higher", chance=CHANCE),
    "recall": Metric(
        "POPE recall", "true questions answered ‘yes’", "higher", table="details", chance=CHANCE, beside=True
    ),
    "chance": Metric("POPE chance level", "accuracy of the same answers in random order", "neither", table="details"),
    "yes": Metric("POPE yes-ratio", "share of ‘yes’; half of the questions are true in balanced sets", "neither"),
}


def _set_metric(figure: str) -> Metric | None:
    """`pope_random_f1`: F1 on one question set."""
    benchmark, _, rest = figure.partition("_")
    name, _, kind = rest.rpartition("_")
    if benchmark != "pope" or not name or kind not in METRICS:
        return None
    metric = METRICS[kind]
    chance = None if metric.chance is None else Chance(f"pope_{name}_accuracy", f"pope_{name}_chance", CHANCE.default)
    label = f"{metric.label}, {name}"
    return replace(metric, label=label, meaning="", headline=False, table="details", chance=chance, beside=False)


SCORER = Scorer(
    "pope",
    benchmark,
    {f"pope_{kind}": metric for kind, metric in METRICS.items()},
    _set_metric,
    (right_or_wrong("Is there a …? (POPE)"),),
    lambda items: measures(list(dict.fromkeys(item["set"] for item in items))),
    ("rule",),
    rules=RULES,
)

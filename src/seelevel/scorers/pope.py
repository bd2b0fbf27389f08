"""POPE: yes/no questions about objects (Li et al. 2023, arXiv 2305.10355), scored as published or strictly.

Chance is the accuracy that the model's own answers would reach on average if they were dealt to the questions of their
set at random: p·q + (1 − p)·(1 − q), where p is the share of true questions and q the share of ‘yes’. It is 0.5 in a
balanced set, whatever the model answers, and right for a set that is not balanced. Always answering ‘yes’ is at chance
in every set.

Published rule: only the first sentence counts, without commas. It is *no* if a word is exactly 'No', 'no' or 'not',
else *yes*. Strict rule: any case and contractions count, and an answer that says neither or both is set aside.
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
from seelevel.scorers.files import ID_KEYS, Entry, read_entries, text_or_missing
from seelevel.scorers.intervals import Array, Item, Measure, ratio
from seelevel.scorers.questions import Answer, Benchmark, Context, Items, Question, find_image, question_text
from seelevel.scorers.scorer import Scorer
from seelevel.scorers.settings import EvaluateSettings
from seelevel.scorers.views import right_or_wrong
from seelevel.scorers.words import Chance, Metric

RULES = ("published", "strict")
QUESTION_KEYS = ("text", "question", "prompt")
Figures = Callable[[Array], Array]
PROMPT_KEYS = ("prompt", "question")
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


def read_answer(text: str, rule: str) -> str | None:
    """'yes', 'no' or None, by one of RULES."""
    return published_answer(text) if rule == "published" else strict_answer(text)


def label_of(entry: Entry) -> str:
    """The label of a question, 'yes' or 'no'. Raises InputError for any other."""
    label = entry.text(("label",), "label").strip().lower()
    if label not in ("yes", "no"):
        raise InputError(f"{entry.where}: label {label!r:.60} is neither yes nor no")
    return label


def comparable(text: object) -> str:
    """A question for comparison: its first line, without image marks and extra spaces. Further lines ask for a form of
    answer."""
    lines = [line for line in str(text).replace("<image>", "").split("\n") if line.strip()]
    return " ".join(lines[0].lower().split()) if lines else ""


def join(questions: Sequence[Entry], answers: Sequence[Entry]) -> list[Entry | None]:
    """The answer of each question, or None if it is missing.

    Answers are joined by id if ids are unique and each answer's text agrees with its question. Answers to other
    questions are then ignored, if all answers carry their question's text. Otherwise answers are joined by order: texts
    are compared, and answers without texts are accepted only if no id contradicts the order.
    Raises InputError at the first answer that belongs to no question or answers one a second time.
    """
    ids, keys = [_key(q) for q in questions], [_key(a) for a in answers]
    if "" not in keys and len(set(ids)) == len(ids) and len(set(keys)) == len(keys):
        by_id = dict(zip(keys, answers, strict=True))
        joined = [by_id.get(key) for key in ids]
        pairs = [(q, a) for q, a in zip(questions, joined, strict=True) if a is not None]
        all_known = len(pairs) == len(answers) or all(_get(a, PROMPT_KEYS) is not None for a in answers)
        if pairs and all_known and all(_agree(q, a) for q, a in pairs):
            return joined
    ids_count = len(set(ids)) == len(ids) and any(_get(answer, PROMPT_KEYS) is None for answer in answers)
    if ids_count:
        _refuse_repeats_and_strays(ids, answers)
    if len(answers) > len(questions):
        raise InputError(
            f"{answers[len(questions)].where}: {len(answers)} answers for {len(questions)} questions, and their ids "
            "do not join; give the answers of this question file alone"
        )
    for question, answer in zip(questions, answers, strict=False):
        if ids_count and _key(question) and _key(answer) not in ("", _key(question)):
            raise InputError(
                f"{answer.where}: answers question {_key(answer):.60} in the place of {question.where}, question "
                f"{_key(question):.60}; give every answer its question's id, or its question's text as prompt"
            )
        if not _agree(question, answer):
            raise InputError(
                f"{answer.where}: answers {comparable(_get(answer, PROMPT_KEYS))!r:.120} but {question.where} asks "
                f"{comparable(_get(question, QUESTION_KEYS))!r:.120}; give the answers their questions' ids, or the "
                "questions' order"
            )
    if len(answers) < len(questions) and any(_get(a, PROMPT_KEYS) is None for a in answers):
        raise InputError(
            f"{answers[0].where}: {len(answers)} answers for {len(questions)} questions without ids that join or "
            "questions to compare; add question_id to the answers"
        )
    return [*answers, *[None] * (len(questions) - len(answers))]


def _refuse_repeats_and_strays(ids: Sequence[str], answers: Sequence[Entry]) -> None:
    """Raise InputError if two answers have one id, or an answer's id is not among the questions' unique `ids`."""
    valid = set(ids) - {""}
    first_with: dict[str, Entry] = {}
    for answer in answers:
        key = _key(answer)
        first = first_with.setdefault(key, answer)
        if key in valid and first is not answer:
            raise InputError(f"{answer.where}: question {key:.60} is answered already in {first.where}; keep one")
    for answer in answers:
        if len(valid) == len(ids) and _key(answer) not in valid | {""}:
            raise InputError(
                f"{answer.where}: no question has the id {_key(answer)!r:.60}; give the answers of this question file "
                "alone, or every answer its question's text as prompt"
            )


def _key(entry: Entry) -> str:
    """A record's id as a text, or an empty one."""
    key = _get(entry, ID_KEYS)
    if isinstance(key, float) and key.is_integer():  # some tables write whole numbers so
        key = int(key)
    return "" if key is None else str(key)


def _get(entry: Entry, keys: Sequence[str]) -> Any:
    return next((entry.record[key] for key in keys if entry.record.get(key) is not None), None)


def _agree(question: Entry, answer: Entry) -> bool:
    """Whether the prompt and the image that an answer carries, if any, are the question's."""
    prompt, image = _get(answer, PROMPT_KEYS), answer.record.get("image")
    if prompt is not None and comparable(prompt) != comparable(_get(question, QUESTION_KEYS)):
        return False
    asked_about = question.record.get("image")
    return image is None or asked_about is None or Path(str(image)).name == Path(str(asked_about)).name


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
    """The figures of one question set by `rule`, and by both rules under 'rules'. Missing answers are counted and
    named."""
    joined = join(questions, answers)
    texts = [(text_or_missing(a), label_of(q)) for q, a in zip(questions, joined, strict=True)]
    missing = [_get(q, ID_KEYS) for q, (text, _) in zip(questions, texts, strict=True) if text is None]
    answered = [(text, label) for text, label in texts if text is not None]
    rules = {name: counts([(read_answer(text, name), label) for text, label in answered]) for name in RULES}
    return {**rules[rule], "missing": len(missing), "missing_ids": missing, "rule": rule, "rules": rules}


def score_files(questions: Path, predictions: Path, rule: str = "published") -> dict[str, Any]:
    """`seelevel score pope`."""
    return score(read_entries(questions), read_entries(predictions), rule)


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
        rows: Items = []
        for question, answer in zip(questions, answers, strict=True):
            reading = None if answer.note else read_answer(answer.texts[0], settings.rule)
            label = question.reference["label"]
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

    figures = {"f1": _f1, "accuracy": _accuracy, "yes": _yes, "chance": _chance}
    means = [Measure(f"pope_{kind}", sums, mean(figure)) for kind, figure in figures.items()]
    several = sets if len(sets) > 1 else ()
    return [*means, *(alone(name, kind, figure) for name in several for kind, figure in figures.items())]


def _f1(cells: Array) -> Array:
    tp, fp, fn = cells[..., 0], cells[..., 1], cells[..., 3]
    return ratio(np.stack([2 * tp, 2 * tp + fp + fn], axis=-1))


def _accuracy(cells: Array) -> Array:
    return ratio(np.stack([cells[..., 0] + cells[..., 2], cells.sum(axis=-1)], axis=-1))


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
    "chance": Metric("POPE chance level", "accuracy of the same answers in random order", "neither", table="details"),
    "yes": Metric("POPE yes-ratio", "share of ‘yes’; half of the questions are true in balanced sets", "neither"),
}


def _of_set(figure: str) -> Metric | None:
    """`pope_random_f1`: F1 on one question set."""
    benchmark, _, rest = figure.partition("_")
    name, _, kind = rest.rpartition("_")
    if benchmark != "pope" or not name or kind not in METRICS:
        return None
    metric = METRICS[kind]
    chance = None if metric.chance is None else Chance(f"pope_{name}_accuracy", f"pope_{name}_chance", CHANCE.default)
    return replace(metric, label=f"{metric.label}, {name}", meaning="", headline=False, table="details", chance=chance)


SCORER = Scorer(
    "pope",
    benchmark,
    {f"pope_{kind}": metric for kind, metric in METRICS.items()},
    _of_set,
    (right_or_wrong("Is there a …? (POPE)"),),
)

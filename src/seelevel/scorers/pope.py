"""POPE: yes/no questions about objects (Li et al. 2023, arXiv 2305.10355), scored as published or strictly.

Published rule: of the answer's first sentence, commas dropped, it is *no* if a word is exactly 'No', 'no' or 'not',
else *yes*. Strict: either case counts, contractions count, and an answer that says neither or both is set aside.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seelevel.errors import InputError
from seelevel.scorers.files import ID_KEYS, Entry, read_entries, text_or_missing
from seelevel.scorers.intervals import Array, Item, Measure, ratio
from seelevel.scorers.questions import Answer, Benchmark, Context, Items, Question, find_image, question_text
from seelevel.scorers.settings import EvaluateSettings

RULES = ("published", "strict")
QUESTION_KEYS = ("text", "question", "prompt")
Figures = Callable[[Array], Array]
PROMPT_KEYS = ("prompt", "question")
CELLS = {("yes", "yes"): "tp", ("yes", "no"): "fp", ("no", "no"): "tn", ("no", "yes"): "fn"}
_NO = re.compile(r"\b(?:no|not|none|never|nothing|neither|cannot)\b|n't\b")
_YES = re.compile(r"\byes\b|^(?:there (?:is|are|appears?|seems?)|there's|i (?:can )?see)\b")


def published_answer(text: str) -> str:
    """'yes' or 'no' by the published rule, which guesses yes for whatever does not say no."""
    words = text.split(".")[0].replace(",", "").split(" ")
    return "no" if any(word in ("No", "no", "not") for word in words) else "yes"


def strict_answer(text: str) -> str | None:
    """'yes', 'no', or None where the first sentence says neither or both."""
    sentence = re.split(r"[.!?\n]", text.strip().lower().replace("\u2019", "'"))[0]
    no, yes = _NO.search(sentence), _YES.search(sentence)
    if no and re.search(r"\byes\b", sentence):
        return None
    return "no" if no else "yes" if yes else None


def read_answer(text: str, rule: str) -> str | None:
    """An answer by one of RULES."""
    return published_answer(text) if rule == "published" else strict_answer(text)


def label_of(entry: Entry) -> str:
    label = entry.text(("label",), "label").strip().lower()
    if label not in ("yes", "no"):
        raise InputError(f"{entry.where}: label {label!r:.60} is neither yes nor no; mend it")
    return label


def asked(text: object) -> str:
    """A question for comparison: its first line (what is below asks for a form), without marks and extra spaces."""
    lines = [line for line in str(text).replace("<image>", "").split("\n") if line.strip()]
    return " ".join(lines[0].lower().split()) if lines else ""


def join(questions: Sequence[Entry], answers: Sequence[Entry]) -> list[Entry | None]:
    """The answer of each question, or None where it is missing.

    By id where ids are unique and id and question text agree (answers to other questions are left aside where they
    carry their question's text); else by order, the texts compared, and without texts only where no id says otherwise.
    Raises InputError at the first answer that belongs to no question, or that answers one a second time.
    """
    ids, keys = [_key(q) for q in questions], [_key(a) for a in answers]
    if "" not in keys and len(set(ids)) == len(ids) and len(set(keys)) == len(keys):
        by_id = dict(zip(keys, answers, strict=True))
        joined = [by_id.get(key) for key in ids]
        found = [(q, a) for q, a in zip(questions, joined, strict=True) if a is not None]
        known = len(found) == len(answers) or all(_get(a, PROMPT_KEYS) is not None for a in answers)
        if found and known and all(_agree(q, a) for q, a in found):
            return joined
    named = len(set(ids)) == len(ids) and any(_get(answer, PROMPT_KEYS) is None for answer in answers)
    if named:
        _refuse_twice_and_strays(ids, answers)
    if len(answers) > len(questions):
        raise InputError(
            f"{answers[len(questions)].where}: {len(answers)} answers for {len(questions)} questions, and their ids "
            "do not join; give the answers of this question file alone"
        )
    for question, answer in zip(questions, answers, strict=False):
        if named and _key(question) and _key(answer) not in ("", _key(question)):
            raise InputError(
                f"{answer.where}: answers question {_key(answer):.60} in the place of {question.where}, question "
                f"{_key(question):.60}; give every answer its question's id, or its question's text as prompt"
            )
        if not _agree(question, answer):
            raise InputError(
                f"{answer.where}: answers {asked(_get(answer, PROMPT_KEYS))!r:.120} but {question.where} asks "
                f"{asked(_get(question, QUESTION_KEYS))!r:.120}; answers carry their questions' ids or stand in order"
            )
    if len(answers) < len(questions) and any(_get(a, PROMPT_KEYS) is None for a in answers):
        raise InputError(
            f"{answers[0].where}: {len(answers)} answers for {len(questions)} questions without ids that join or "
            "questions to compare; add question_id to the answers"
        )
    return [*answers, *[None] * (len(questions) - len(answers))]


def _refuse_twice_and_strays(ids: Sequence[str], answers: Sequence[Entry]) -> None:
    """Raise InputError where an answer's id is another answer's too, or is none of the questions' unique `ids`."""
    known = set(ids) - {""}
    seen: dict[str, Entry] = {}
    for answer in answers:
        key = _key(answer)
        first = seen.setdefault(key, answer)
        if key in known and first is not answer:
            raise InputError(f"{answer.where}: question {key:.60} is answered already in {first.where}; keep one")
    for answer in answers:
        if len(known) == len(ids) and _key(answer) not in known | {""}:
            raise InputError(
                f"{answer.where}: no question has the id {_key(answer)!r:.60}; give the answers of this question file "
                "alone, or every answer its question's text as prompt"
            )


def _key(entry: Entry) -> str:
    found = _get(entry, ID_KEYS)
    if isinstance(found, float) and found.is_integer():  # as some tables write whole numbers
        found = int(found)
    return "" if found is None else str(found)


def _get(entry: Entry, keys: Sequence[str]) -> Any:
    return next((entry.record[key] for key in keys if entry.record.get(key) is not None), None)


def _agree(question: Entry, answer: Entry) -> bool:
    """Whether an answer can be this question's: its prompt and image, where it carries them, are the question's."""
    prompt, image = _get(answer, PROMPT_KEYS), answer.record.get("image")
    if prompt is not None and asked(prompt) != asked(_get(question, QUESTION_KEYS)):
        return False
    known = question.record.get("image")
    return image is None or known is None or Path(str(image)).name == Path(str(known)).name


def counts(pairs: Sequence[tuple[str | None, str]]) -> dict[str, Any]:
    """Figures of (answer, label) pairs; answers that are None were set aside. Undefined ratios are None."""
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
    """Figures of one question set by `rule`, and under 'rules' by both; missing answers counted and named."""
    joined = join(questions, answers)
    said = [(text_or_missing(a), label_of(q)) for q, a in zip(questions, joined, strict=True)]
    missing = [_get(q, ID_KEYS) for q, (text, _) in zip(questions, said, strict=True) if text is None]
    there = [(text, label) for text, label in said if text is not None]
    rules = {name: counts([(read_answer(text, name), label) for text, label in there]) for name in RULES}
    return {**rules[rule], "missing": len(missing), "missing_ids": missing, "rule": rule, "rules": rules}


def score_files(questions: Path, predictions: Path, rule: str = "published") -> dict[str, Any]:
    """`seelevel score pope`."""
    return score(read_entries(questions), read_entries(predictions), rule)


# -- as a benchmark of a run ------------------------------------------------------------------------------------------


def benchmark(data: Path, settings: EvaluateSettings) -> Benchmark:
    """Every question file of data/pope; the run's figures are means over the files."""
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
        found: Items = []
        for question, answer in zip(questions, answers, strict=True):
            said = None if answer.note else read_answer(answer.texts[0], settings.rule)
            label = question.reference["label"]
            found.append(
                {
                    "set": question.reference["set"],
                    "label": label,
                    "said": said,
                    "strict": None if answer.note else strict_answer(answer.texts[0]),
                    "cell": CELLS[said, label] if said else None,
                    "right": None if said is None else said == label,
                    "cluster": question.image,
                }
            )
        return found

    return Benchmark("pope", questions, settings.short_tokens, items, measures([file.stem for file in files]))


def measures(sets: Sequence[str]) -> list[Measure]:
    """Means over the sets, and each set alone. Resampling is by image, so a set's questions stay together."""
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

    figures = {"f1": _f1, "accuracy": _accuracy, "yes": _yes}
    found = [Measure(f"pope_{name}", sums, mean(figure)) for name, figure in figures.items()]
    for one in sets if len(sets) > 1 else ():
        found += [alone(one, kind, figure) for kind, figure in figures.items()]
    return found


def _f1(cells: Array) -> Array:
    tp, fp, fn = cells[..., 0], cells[..., 1], cells[..., 3]
    return ratio(np.stack([2 * tp, 2 * tp + fp + fn], axis=-1))


def _accuracy(cells: Array) -> Array:
    return ratio(np.stack([cells[..., 0] + cells[..., 2], cells.sum(axis=-1)], axis=-1))


def _yes(cells: Array) -> Array:
    return ratio(np.stack([cells[..., 0] + cells[..., 1], cells.sum(axis=-1)], axis=-1))

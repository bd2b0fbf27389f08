"""HallusionBench as a benchmark of a run: its questions, its figures as measures, and its words in the report.

The reading of an answer and the pairs and figures are those of `seelevel.scorers.hallusion`. A pair or a figure counts
at its first scored question, and a whole set is resampled together, so each draw has whole pairs and whole figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from seelevel.errors import InputError
from seelevel.scorers.files import Entry, read_entries
from seelevel.scorers.hallusion import (
    PARTS,
    UNCLEAR,
    figure_of,
    is_right,
    name,
    pair_of,
    read_verdict,
    required_parts,
    truth_of,
)
from seelevel.scorers.intervals import Item, Measure, ratio
from seelevel.scorers.questions import Answer, Benchmark, Context, Items, Question, find_image, question_text
from seelevel.scorers.scorer import Scorer
from seelevel.scorers.settings import EvaluateSettings
from seelevel.scorers.views import right_or_wrong
from seelevel.scorers.words import Metric

FILE = "HallusionBench.json"
SHARES = {"a_acc": "right", "q_acc": "pair_right", "f_acc": "figure_right"}
"""The key of an item behind each figure."""


def benchmark(data: Path, settings: EvaluateSettings) -> Benchmark:
    """data/hallusion/HallusionBench.json. A question whose `visual_input` is 0 is asked without a picture."""
    entries = read_entries(data / "hallusion" / FILE)[: settings.limit]
    parts = [required_parts(entry) for entry in entries]
    seen: dict[tuple[str, ...], str] = {}
    for entry, part in zip(entries, parts, strict=True):
        if (first := seen.setdefault(part, entry.where)) != entry.where:
            raise InputError(f"{entry.where}: question {name(part)} is in {first} already; keep one")
    questions = [_question(data, entry, part) for entry, part in zip(entries, parts, strict=True)]

    def items(answers: Sequence[Answer], context: Context) -> Items:
        rights = [
            _right(part, question.reference["label"], answer, settings.rule)
            for part, question, answer in zip(parts, questions, answers, strict=True)
        ]
        pairs, figures = _groups(parts, rights, pair_of), _groups(parts, rights, figure_of)
        return [
            {
                **dict(zip(PARTS, part, strict=True)),
                "gt_answer": question.reference["label"],
                "group": "/".join(part[:3]),
                "right": right,
                "pair_right": pairs.get(n),
                "figure_right": figures.get(n),
                "cluster": "/".join(part[:3]),
            }
            for n, (part, question, right) in enumerate(zip(parts, questions, rights, strict=True))
        ]

    return Benchmark(
        "hallusion", questions, settings.short_tokens, items, measures(sorted({part[0] for part in parts}))
    )


def _question(data: Path, entry: Entry, parts: tuple[str, ...]) -> Question:
    has_picture = {"0": False, "1": True, "2": True}.get(str(entry.first(("visual_input",), "visual_input")))
    if has_picture is None:
        raise InputError(f"{entry.where}: visual_input is {entry.record['visual_input']!r:.60}, not 0, 1 or 2")
    image = ""
    if has_picture:
        image = find_image(data, Entry({"image": entry.text(("filename", "image"), "filename")}, entry.where))
    text = question_text(entry, ("question", "text"))
    return Question(name(parts), image, (text,), {"label": truth_of(entry)})


def _right(parts: tuple[str, ...], truth: str, answer: Answer, rule: str) -> bool | None:
    """Whether an answer is right; None if it is missing, or unreadable and the rule is strict."""
    verdict = None if answer.note else read_verdict(answer.texts[0], truth)
    if answer.note or (verdict is None and rule == "strict"):
        return None
    return is_right(parts, UNCLEAR if verdict is None else verdict)


def _groups(
    parts: Sequence[tuple[str, ...]],
    rights: Sequence[bool | None],
    group_of: Callable[[Sequence[str]], tuple[str, ...] | None],
) -> dict[int, bool]:
    """Whether all scored questions of each group are right, by the place of the first of them."""
    places: dict[tuple[str, ...], int] = {}
    groups: dict[int, bool] = {}
    for n, (part, right) in enumerate(zip(parts, rights, strict=True)):
        group = group_of(part)
        if right is not None and group is not None:
            place = places.setdefault(group, n)
            groups[place] = groups.get(place, True) and right
    return groups


def _share(figure: str, key: str, category: str | None = None) -> Measure:
    def sums(item: Item) -> tuple[float, float] | None:
        if item[key] is None or category not in (None, item["category"]):
            return None
        return float(item[key]), 1.0

    return Measure(f"hallusion_{figure}" if category is None else f"hallusion_{category}_{figure}", sums, ratio)


def measures(categories: Sequence[str]) -> list[Measure]:
    """The accuracies over all questions, then over each category."""
    return [_share(figure, key, of) for of in (None, *categories) for figure, key in SHARES.items()]


METRICS = {
    "a_acc": Metric("HallusionBench aAcc", "questions answered right", "higher", headline=True),
    "q_acc": Metric("HallusionBench qAcc", "question pairs answered right over all their figures", "higher"),
    "f_acc": Metric("HallusionBench fAcc", "figures whose questions are all answered right", "higher"),
}


def _of_category(figure: str) -> Metric | None:
    """`hallusion_VD_a_acc`: the accuracy over one category."""
    for end, words in METRICS.items():
        category = figure.removeprefix("hallusion_").removesuffix(f"_{end}")
        if figure == f"hallusion_{category}_{end}":
            label = f"{words.label}, {category}"
            return replace(words, label=label, meaning="", headline=False, table="details")
    return None


SCORER = Scorer(
    "hallusion",
    benchmark,
    {f"hallusion_{figure}": words for figure, words in METRICS.items()},
    _of_category,
    (right_or_wrong("Yes or no (HallusionBench)"),),
    measures=lambda items: measures(sorted({item["category"] for item in items})),
    scored_by=("rule",),
    public_files=True,
)

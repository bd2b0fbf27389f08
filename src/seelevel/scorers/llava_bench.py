"""LLaVA-Bench, COCO and in the wild: a judge scores a reference answer and the model's, 1 to 10 (arXiv 2304.08485).

overall = 100 · mean of the model's scores / mean of the reference's; the same per category. Published rule: both means
are rounded to three digits first, as in the authors' script, and a review without two scores counts -1 for both. Strict
rule: no rounding, and such a review is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.progress import say
from seelevel.scorers.files import Entry, read_entries
from seelevel.scorers.judgements import names_of, questions_of, read_judgements, reply_of, said
from seelevel.scorers.noted import noted

Pair = tuple[float, float]
PAIR_KEYS = ("tuple", "scores", "score")
UNREAD: Pair = (-1.0, -1.0)
"""The authors' script's pair for a review without two scores."""
TOP = 10
_NUMBER = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)(?:\s*/\s*10)?(?![\w.]*\d)")
_LABEL = re.compile(r"\b(?:assistant|answer|response|model)\s*#?[12]\b", re.IGNORECASE)


def published_pair(review: str) -> Pair | None:
    """The scores of a review's first line, if it is two numbers with one space or comma between them."""
    parts = review.split("\n")[0].replace(",", " ").split(" ")
    try:
        reference, model = map(float, parts)
    except ValueError:
        return None
    return reference, model


def strict_pair(review: str) -> Pair | None:
    """The only two scores of the first line after the judge's thoughts: '8, 9', '8/10 9/10', 'Assistant 1: 8, …'."""
    line = next((line for line in said(review).split("\n") if line.strip()), "")
    scores = [float(score) for score in _NUMBER.findall(_LABEL.sub("", re.sub(r"[*_`]", "", line)))]
    return (scores[0], scores[1]) if len(scores) == 2 and all(0 < score <= TOP for score in scores) else None


def pair_of(review: Entry, rule: str) -> Pair | None:
    """The scores (reference, model) that a review holds as numbers, else those in its text; None if there are none.

    Raises InputError for stored scores that are not two numbers.
    """
    stored = review.get(PAIR_KEYS)
    if stored is None:
        text = reply_of(review) or ""
        return published_pair(text) if rule == "published" else strict_pair(text)
    numbers = stored if isinstance(stored, list) and len(stored) == 2 else [None]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise InputError(f"{review.where}: scores {stored!r:.60} are not two numbers, [reference, model]")
    pair = (float(stored[0]), float(stored[1]))
    return None if pair == UNREAD else pair


def ratio(pairs: Sequence[Pair], rule: str) -> float | None:
    """100 · mean of the model's scores / mean of the reference's; None if there are no scores or the divisor is 0."""
    if not pairs:
        return None
    reference, model = (sum(scores) / len(pairs) for scores in zip(*pairs, strict=True))
    if rule == "published":
        reference, model = round(reference, 3), round(model, 3)
    return 100 * model / reference if reference else None


def score(
    reviews: Sequence[Entry], questions: Sequence[Entry] | None = None, rule: str = "published"
) -> dict[str, Any]:
    """The figures of one review file; `questions` gives categories and tells which are missing."""
    names, called = names_of(reviews), list[str]()
    pairs, asked = [pair_of(review, rule) for review in reviews], list[Entry](reviews)
    if questions is not None:
        places, called = questions_of(reviews, questions), names_of(questions, distinct=True)
        names, asked = [called[place] for place in places], [questions[place] for place in places]
    categories = [str(r.get(("category",)) or q.get(("category",)) or "") for r, q in zip(reviews, asked, strict=True)]
    by_category, every = dict[str, list[Pair]](), list[Pair]()
    for n, (name, pair, category) in enumerate(zip(names, pairs, categories, strict=True)):
        if rule == "strict" and (pair is None or name in names[:n]):
            continue
        every.append(pair or UNREAD)
        by_category.setdefault(category, []).append(pair or UNREAD)
    by_category.pop("", None)
    return {
        "overall": ratio(every, rule),
        "n": len(every),
        **noted(names, called, [name for name, pair in zip(names, pairs, strict=True) if pair is None]),
        "rule": rule,
        "per_category": {category: ratio(by_category[category], rule) for category in sorted(by_category)},
    }


def score_files(files: Sequence[Path], questions: Path | None = None, rule: str = "published") -> dict[str, Any]:
    """`seelevel score llava-bench`: the figures of a review file; of several, means and each file's under 'files'."""
    asked = read_entries(questions) if questions else None
    runs = [score([_unpacked(review) for review in read_judgements(file)], asked, rule) for file in files]
    if rule == "published" and any(run["unparsable"] for run in runs):
        count = sum(run["unparsable"] for run in runs)
        say(f"{count} reviews without two scores count -1 each (published rule); --rule strict leaves them out")
    if len(runs) == 1:
        return runs[0]
    categories = sorted(set[str]().union(*(run["per_category"] for run in runs)))
    return {
        "overall": mean(run["overall"] for run in runs),
        "n": sum(run["n"] for run in runs),
        "rule": rule,
        "per_category": {name: mean(run["per_category"].get(name) for run in runs) for name in categories},
        "files": {str(file): run for file, run in zip(files, runs, strict=True)},
    }


def _unpacked(review: Entry) -> Entry:
    """A review, also from lmms-eval's samples, which hold it under 'gpt_eval_llava_all'."""
    inner = review.record.get("gpt_eval_llava_all")
    return Entry({**review.record, **inner}, review.where) if isinstance(inner, dict) else review


def mean(values: Iterable[float | None]) -> float | None:
    """The mean; None if a value is undefined."""
    listed = list(values)
    given = [value for value in listed if value is not None]
    return sum(given) / len(given) if given and len(given) == len(listed) else None

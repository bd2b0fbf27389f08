"""MMHal-Bench: 96 questions of eight types, each answer rated 0 to 6 by a text judge (arXiv 2309.14525).

score = mean rating. hallucination_rate = share of ratings below 3. Published rule: the authors' script looks for
'rating: 0' to 'rating: 6' in the reply; if it finds none of them or several, the rating is 0. Strict rule: such a reply
is left out, and a rating may be written in other ways.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.progress import say
from seelevel.scorers.files import Entry, read_entries
from seelevel.scorers.judgements import names_of, questions_of, read_judgements, reply_of, said
from seelevel.scorers.noted import noted, over

TYPES = ("attribute", "adversarial", "comparison", "counting", "relation", "environment", "holistic", "other")
"""Types of the questions in the benchmark's order, which repeats them 12 times."""
QUESTIONS, TOP, HALLUCINATES_BELOW = 96, 6, 3
RATING_KEYS = ("rating", "score", "gpt_rating", "gpt_score")
_RATING = re.compile(r"\brating(?:\s+is|\s+of)?\s*[:=]?\s*(\d+(?:\.\d+)?)(?!\.?\d)", re.IGNORECASE)


def published_rating(reply: str) -> int | None:
    """The rating that the authors' script finds; None if it finds none or several."""
    ratings = [rating for rating in range(TOP + 1) if f"rating: {rating}" in reply.lower()]
    return ratings[0] if len(ratings) == 1 else None


def strict_rating(reply: str) -> int | None:
    """The one rating that a reply gives after its thoughts, '**Rating**: 4', '"rating": 4' and 'Rating: 4/6' too."""
    values = {float(value) for value in _RATING.findall(re.sub(r"[*_`\"']", "", said(reply)))}
    value = values.pop() if len(values) == 1 else -1
    return int(value) if value in range(TOP + 1) else None


def rating_of(judgement: Entry, rule: str) -> int | None:
    """The rating that a judgement holds as a number, else that in its reply; None if there is none.

    Raises InputError for a number that is not a whole one from 0 to 6, and if there is no reply.
    """
    stored = judgement.get(RATING_KEYS)
    if stored is not None:
        if isinstance(stored, bool) or not re.fullmatch(r"[0-6](?:\.0)?", str(stored)):
            raise InputError(f"{judgement.where}: rating {stored!r:.60} is not a whole number from 0 to {TOP}")
        return int(float(stored))
    reply = reply_of(judgement)
    return None if reply is None else published_rating(reply) if rule == "published" else strict_rating(reply)


def totals(items: Sequence[tuple[int | None, str]], rule: str) -> dict[str, Any]:
    """The figures of (rating, question type) items. A rating of None counts 0 by the published rule, and is left out
    by the strict one. 'per_type' leaves out items whose type is empty."""
    rated = [(rating or 0, kind) for rating, kind in items if rating is not None or rule == "published"]
    by_type: dict[str, list[int]] = {}
    for rating, kind in rated:
        by_type.setdefault(kind, []).append(rating)
    by_type.pop("", None)
    return {
        "score": over(sum(rating for rating, _ in rated), len(rated)),
        "hallucination_rate": over(sum(rating < HALLUCINATES_BELOW for rating, _ in rated), len(rated)),
        "n": len(rated),
        "per_type": {kind: sum(ratings) / len(ratings) for kind, ratings in by_type.items()},
    }


def score(
    judgements: Sequence[Entry], questions: Sequence[Entry] | None = None, rule: str = "published"
) -> dict[str, Any]:
    """The figures of a judgement file. Without `questions` (the benchmark's template), 96 judgements are taken to be in
    the benchmark's order, as the authors' script does; others have no types unless they carry them."""
    names = names_of(judgements)
    ratings = [rating_of(judgement, rule) for judgement in judgements]
    types, missing, extra = [str(j.record.get("question_type", "")) for j in judgements], list[str](), 0
    if questions is not None:
        places = questions_of(judgements, questions)
        called = names_of(questions, distinct=True)
        names = [called[place] for place in places]
        types = [str(questions[place].record.get("question_type", "")) for place in places]
        missing = called
    elif len(judgements) == QUESTIONS:
        types = [kind or TYPES[n % len(TYPES)] for n, kind in enumerate(types)]
    else:
        extra = max(0, QUESTIONS - len(judgements))
    kept = _first_of_each(names) if rule == "strict" else range(len(names))
    figures = totals([(ratings[n], types[n]) for n in kept], rule)
    notes = noted(names, missing, [name for name, rating in zip(names, ratings, strict=True) if rating is None])
    return {**figures, **notes, "missing": notes["missing"] + extra, "rule": rule}


def _first_of_each(names: Sequence[str]) -> list[int]:
    first: dict[str, int] = {}
    for n, name in enumerate(names):
        first.setdefault(name, n)
    return list(first.values())


def score_files(judgements: Path, questions: Path | None = None, rule: str = "published") -> dict[str, Any]:
    """`seelevel score mmhal`."""
    figures = score(read_judgements(judgements), read_entries(questions) if questions else None, rule)
    if figures["missing"] and questions is None:
        say(f"{figures['missing']} of {QUESTIONS} judgements are missing; --questions tells which, and the types")
    if figures["unparsable"] and rule == "published":
        count = figures["unparsable"]
        say(f"{count} replies without one rating count 0 (published rule); --rule strict leaves them out")
    return figures

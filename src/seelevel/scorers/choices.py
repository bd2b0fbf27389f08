"""Multiple-choice questions: the right letter, the letter that an answer chooses, and accuracy by category."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from seelevel.errors import InputError
from seelevel.scorers.files import Entry
from seelevel.scorers.intervals import Item
from seelevel.scorers.noted import over

LETTERS = ("A", "B", "C", "D")
ASKS = "Answer with the option's letter from the given choices directly."
"""Ends the prompts of multiple-choice questions, as LLaVA's evaluation asks for letters (arXiv 2310.03744)."""
_MARKUP = re.compile(r"[*_`\"'\\${}]|\\?\b(?:text|boxed)\b")
_LETTER = r"\(?(A\b(?!\s+(?!because|since|as\b)[a-z])|[B-Z]\b)"
"""A capital letter as a word. 'A' before another word is an article."""
_ALONE = re.compile(r"\W*([A-Za-z])\W*")
_NAMED = re.compile(rf"(?i:\b(?:answer|option|choice)\b(?:\s+(?:is|would be|should be|must be))?)\s*[:=]?\s*{_LETTER}")
_FIRST = re.compile(r"\(?([A-Z])[).:,](?:\s|$)")
_SEVERAL = re.compile(r"\b[A-Z]\)?\s*(?:,|/|&|\band\b|\bor\b)\s*(?:\band\b|\bor\b)?\s*\(?[A-Z]\b(?!\s+[a-z])")
_BRACKETED = re.compile(r"\(([A-Z])\)")


def chosen_letter(answer: str, letters: Sequence[str] = LETTERS) -> str | None:
    """The one letter that an answer chooses: alone, after 'answer', 'option' or 'choice', before a full stop at the
    beginning, or in round brackets. None if it chooses none of `letters`, or several."""
    text = _MARKUP.sub("", answer).strip()
    alone, first = _ALONE.fullmatch(text), _FIRST.match(text)
    marked = [*([first[1]] if first else []), *_BRACKETED.findall(text)]
    ways = ([alone[1]] if alone else [], _NAMED.findall(text), marked)
    chosen = {letter.upper() for letter in next((way for way in ways if way), [])}
    letter = chosen.pop() if len(chosen) == 1 and not _SEVERAL.search(text) else ""
    return letter if letter in letters else None


def label_of(entry: Entry, keys: Sequence[str]) -> str:
    """The right letter of a question. Raises InputError for anything else."""
    label = entry.text(keys, "right option").strip().upper()
    if label not in LETTERS:
        raise InputError(f"{entry.where}: the right option is {label!r:.60}, not one of {', '.join(LETTERS)}")
    return label


def totals(items: Sequence[Item]) -> dict[str, Any]:
    """Accuracy over the scored items (`right` is not None), and by `category`."""
    by_category: dict[str, list[bool]] = {}
    for item in items:
        if item["right"] is not None:
            by_category.setdefault(item["category"], []).append(item["right"])
    right = [value for values in by_category.values() for value in values]
    return {
        "accuracy": over(sum(right), len(right)),
        "n": len(right),
        "per_category": {name: {"accuracy": sum(v) / len(v), "n": len(v)} for name, v in sorted(by_category.items())},
    }

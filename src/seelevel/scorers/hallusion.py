"""HallusionBench: yes-or-no questions in pairs over original and edited figures (arXiv 2310.14566).

a_acc = questions answered right. q_acc = question pairs (one question over all its figures) answered right throughout.
f_acc = figures whose questions are all answered right. A question without a figure (category VS, figure 0) counts for
no figure, and an unclear answer to it is right: the authors want a model to say that it cannot tell.

An answer is right (1), wrong (0) or unclear (2): by the judge's check in the file, else as read from the answer. The
published rule takes an answer that says neither yes nor no for unclear; the strict rule leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.scorers.answers import answer_key, spoken_words, words_of
from seelevel.scorers.files import Entry, plain_id, read_entries
from seelevel.scorers.noted import noted, over
from seelevel.scorers.pope import strict_answer

PARTS = ("category", "subcategory", "set_id", "figure_id", "question_id")
WRONG, RIGHT, UNCLEAR = 0, 1, 2
CHECKS = ("_gpt_check", "_check", "correctness")
"""Ends of a check's key; the authors' is 'gpt4v_output_gpt_check'."""
_YES_NO = {"0": "no", "1": "yes", "no": "no", "yes": "yes"}


def parts_of(entry: Entry) -> tuple[str, ...] | None:
    """Category, subcategory, set, figure and question of a record; None if it lacks one of them."""
    values = [entry.get((part,)) for part in PARTS]
    return None if None in values else tuple(plain_id(value) for value in values)


def check_key(answers: Sequence[Entry], name: str | None = None) -> str | None:
    """The key of the judge's checks: `name`, or the one of `CHECKS`' that all records have; None if there is none.

    Raises InputError if several may be it.
    """
    common = set[str].intersection(*(set(entry.record) for entry in answers))
    if name is not None:
        if name not in common:
            raise InputError(f"{answers[0].where}: not every record has the check {name!r:.60}")
        return name
    for end in CHECKS:
        checks = sorted(key for key in common if key.lower().endswith(end))
        if len(checks) > 1:
            raise InputError(f"{answers[0].where}: several checks ({', '.join(checks)}); name one in --check")
        if checks:
            return checks[0]
    return None


def verdict_of(entry: Entry, key: str) -> int:
    """The check of a record: 0, 1 or 2. Raises InputError for anything else."""
    value = entry.record[key]
    text = plain_id(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if text not in ("0", "1", "2"):
        raise InputError(f"{entry.where}: '{key}' is {value!r:.60}, not 0 (wrong), 1 (right) or 2 (unclear)")
    return int(text)


def read_verdict(text: str | None, truth: str) -> int | None:
    """Whether an answer agrees with the truth, 'yes' or 'no'; None if it says neither. '0', '1' and '2' are answers
    too: no, yes and unclear."""
    if text is None or (plain := text.strip().lower()) == "2":
        return None if text is None else UNCLEAR
    answer = _YES_NO.get(plain) or strict_answer(text)
    return None if answer is None else RIGHT if answer == truth else WRONG


def pair_of(parts: Sequence[str]) -> tuple[str, ...]:
    """The question pair of an item: one question over all figures of its set."""
    category, subcategory, group, _, question = parts
    return category, subcategory, group, question


def figure_of(parts: Sequence[str]) -> tuple[str, ...] | None:
    """The figure of an item; None for a question without a figure."""
    category, subcategory, group, figure, _ = parts
    return None if category == "VS" and figure == "0" else (category, subcategory, group, figure)


def is_right(parts: Sequence[str], verdict: int) -> bool:
    """Whether a verdict counts as right: an unclear one does for a question without a figure."""
    return verdict == RIGHT or (verdict == UNCLEAR and figure_of(parts) is None)


def totals(items: Iterable[tuple[tuple[str, ...], int]]) -> dict[str, Any]:
    """The figures of (parts, verdict) items, as fractions; `parts` are those of `parts_of`."""
    pairs, figures = dict[tuple[str, ...], bool](), dict[tuple[str, ...], bool]()
    n = right = 0
    for parts, verdict in items:
        good = is_right(parts, verdict)
        n, right = n + 1, right + good
        pair = pair_of(parts)
        pairs[pair] = pairs.get(pair, True) and good
        if (pictured := figure_of(parts)) is not None:
            figures[pictured] = figures.get(pictured, True) and good
    return {
        "a_acc": over(right, n),
        "q_acc": over(sum(pairs.values()), len(pairs)),
        "f_acc": over(sum(figures.values()), len(figures)),
        "n": n,
        "pairs": len(pairs),
        "figures": len(figures),
    }


def score(
    answers: Sequence[Entry],
    questions: Sequence[Entry] | None = None,
    rule: str = "published",
    check: str | None = None,
) -> dict[str, Any]:
    """The figures of an answer file, for all and by category. `questions` gives answers their parts and truth, and
    tells which are missing. An item that is answered twice counts once, by its first answer.

    Raises InputError for a record without parts, truth or answer.
    """
    asked = answers if questions is None else _joined(answers, questions)
    parts = [required_parts(entry) for entry in asked]
    key = check_key(answers, check)
    verdicts = [verdict_of(entry, key) for entry in answers] if key else _read(answers, asked)
    unparsable = [name(part) for part, verdict in zip(parts, verdicts, strict=True) if verdict is None]
    items: dict[tuple[str, ...], int] = {}
    for part, verdict in zip(parts, verdicts, strict=True):
        if verdict is not None or rule == "published":
            items.setdefault(part, UNCLEAR if verdict is None else verdict)
    wanted = [] if questions is None else [name(required_parts(question)) for question in questions]
    return {
        **totals(items.items()),
        **noted([name(part) for part in parts], wanted, unparsable),
        "check": key,
        "rule": rule,
        "per_category": {
            category: totals((part, verdict) for part, verdict in items.items() if part[0] == category)
            for category in sorted({part[0] for part in items})
        },
    }


def name(parts: Sequence[str]) -> str:
    """The parts of an item as one text, 'VD/illusion/0/1/0'."""
    return "/".join(parts)


def required_parts(entry: Entry) -> tuple[str, ...]:
    """`parts_of`. Raises InputError if the record lacks one of them."""
    if (parts := parts_of(entry)) is None:
        raise InputError(
            f"{entry.where}: a record needs {', '.join(PARTS)}; or name HallusionBench.json in --questions"
        )
    return parts


def _joined(answers: Sequence[Entry], questions: Sequence[Entry]) -> list[Entry]:
    """The question of each answer: by its parts if all answers have them, else by order."""
    by_parts = {required_parts(question): question for question in questions}
    parts = [parts_of(answer) for answer in answers]
    if all(part in by_parts for part in parts):
        return [by_parts[part] for part in parts if part is not None]
    for answer, part in zip(answers, parts, strict=True):
        if part is not None and part not in by_parts:
            raise InputError(f"{answer.where}: no question is {name(part)!r:.80}; check --questions")
    if len(answers) != len(questions):
        raise InputError(
            f"{answers[0].where}: {len(answers)} answers for {len(questions)} questions; give each answer "
            f"{', '.join(PARTS)}"
        )
    return list(questions)


def _read(answers: Sequence[Entry], asked: Sequence[Entry]) -> list[int | None]:
    truths = [truth_of(entry) for entry in asked]
    key = answer_key(answers)
    texts, _, _ = spoken_words([words_of(entry, key) for entry in answers])
    return [read_verdict(text, truth) for text, truth in zip(texts, truths, strict=True)]


def truth_of(entry: Entry) -> str:
    """The right answer, 'yes' or 'no'. Raises InputError for any other."""
    truth = _YES_NO.get(plain_id(entry.first(("gt_answer",), "truth")).lower())
    if truth is None:
        raise InputError(f"{entry.where}: gt_answer is {entry.record['gt_answer']!r:.60}, not 0 (no) or 1 (yes)")
    return truth


def score_files(
    predictions: Path, questions: Path | None = None, rule: str = "published", check: str | None = None
) -> dict[str, Any]:
    """`seelevel score hallusion`."""
    return score(read_entries(predictions), read_entries(questions) if questions else None, rule, check)

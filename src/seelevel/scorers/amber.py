"""AMBER: descriptions, and yes-or-no questions about existence, attributes and relations (arXiv 2311.07397).

Descriptions, all ratios of sums: CHAIR = nouns that are not in the picture / nouns of AMBER's word list. Cover =
objects named / objects in the picture. Hal = descriptions with such a noun / descriptions. Cog = tempting objects named
/ tempting objects listed. A noun is in the picture if it is an object of it, a word that AMBER's relations give for
one, or similar to one.

Questions: *no* is the positive class, for the answer to a question about something invented is no.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.language.nouns import nouns_in
from seelevel.language.vectors import Similar, similar_by
from seelevel.progress import say
from seelevel.scorers.answers import answer_key, spoken_words, words_of
from seelevel.scorers.files import Entry, plain_id, read_entries, read_json, read_text
from seelevel.scorers.noted import noted, over
from seelevel.scorers.pope import strict_answer

DESCRIPTION = "generative"
KINDS = {
    "discriminative-hallucination": ("existence",),
    "discriminative-attribute-state": ("attribute", "state"),
    "discriminative-attribute-number": ("attribute", "number"),
    "discriminative-attribute-action": ("attribute", "action"),
    "discriminative-relation": ("relation",),
    "relation": ("relation",),
}
"""The kinds that a question of each annotated type counts for, besides all questions together."""
ALL = "discriminative"
ORDER = (ALL, "existence", "attribute", "state", "number", "action", "relation")
LISTED = (
    "bathtub tub", "bicycle bike", "blueberry strawberry", "boy girl", "bracelet earrings", "bracelet necklace",
    "broccoli cabbage", "cash money", "cat dog", "couch sofa", "earrings necklace", "football soccer",
    "fridge refrigerator", "laptop notebook", "motorbike motorcycle",
)  # fmt: skip
"""The pairs of AMBER's words whose vectors in spaCy's en_core_web_lg 3.8 are more similar than .8, as others measured
them."""


@dataclass(frozen=True)
class Annotation:
    """What AMBER knows of an item: its type, and the truth ('yes' or 'no'), or the picture's objects and the tempting
    ones."""

    type: str
    truth: str = ""
    objects: tuple[str, ...] = ()
    tempting: tuple[str, ...] = ()


@dataclass(frozen=True)
class Data:
    """AMBER's own files. `related`: the words that stand for an object. `safe`: words that are never counted wrong."""

    annotations: Mapping[str, Annotation]
    related: Mapping[str, tuple[str, ...]]
    safe: frozenset[str]

    @property
    def words(self) -> frozenset[str]:
        """All words that count as mentions."""
        return frozenset(self.related).union(*self.related.values())


def read_data(folder: Path) -> Data:
    """annotations.json, relation.json and safe_words.txt. Raises InputError with file and place for anything else."""
    annotations = dict[str, Annotation]()
    for entry in read_entries(folder / "annotations.json"):
        kind, truth = entry.text(("type",), "type"), entry.first(("truth",), "truth")
        if kind == DESCRIPTION:
            lists = [_words(truth), _words(entry.record.get("hallu"))]
            if None in lists:
                raise InputError(f"{entry.where}: 'truth' and 'hallu' of a description must be lists of words")
            annotations[entry.key] = Annotation(kind, objects=lists[0] or (), tempting=lists[1] or ())
        elif kind in KINDS and truth in ("yes", "no"):
            annotations[entry.key] = Annotation(kind, truth)
        else:
            raise InputError(f"{entry.where}: type {kind!r:.60} with truth {truth!r:.60} is not one of AMBER's")
    path = folder / "relation.json"
    relations = read_json(path)
    related = {word: _words(words) for word, words in relations.items()} if isinstance(relations, dict) else {"": None}
    if None in related.values():
        raise InputError(f"{path}: one JSON object of lists is needed, {{'road': ['street', ...]}}")
    safe = frozenset(read_text(folder / "safe_words.txt").split())
    return Data(annotations, {word: words or () for word, words in related.items()}, safe)


def _words(value: Any) -> tuple[str, ...] | None:
    return tuple(value) if isinstance(value, list) and all(isinstance(word, str) for word in value) else None


def description_item(nouns: Sequence[str], annotation: Annotation, data: Data, similar: Similar) -> dict[str, Any]:
    """The counts of one description, whose nouns are all in `data.words`."""
    truth, tempting = _owners(annotation.objects, data), _owners(annotation.tempting, data)
    covered, named = set[int](), set[int]()
    wrong = []
    for noun in nouns:
        if noun in data.safe:
            continue
        if noun in truth:
            covered.add(truth[noun])
            continue
        if noun in tempting:
            named.add(tempting[noun])
        if (near := _near(noun, tempting, similar)) is not None:
            named.add(near)
        if (near := _near(noun, truth, similar)) is not None:
            covered.add(near)
            continue
        wrong.append(noun)
    return {
        "mentions": len(nouns),
        "hallucinated_mentions": len(wrong),
        "hallucinated": wrong,
        "covered": len(covered),
        "objects": len(annotation.objects),
        "tempted": len(named),
        "tempting": len(annotation.tempting),
    }


def _owners(objects: Sequence[str], data: Data) -> dict[str, int]:
    """The object, by its place in the list, that each word stands for: the first one, related words before objects."""
    owners: dict[str, int] = {}
    for place, name in enumerate(objects):
        for word in data.related.get(name, ()):
            owners.setdefault(word, place)
    for place, name in enumerate(objects):
        owners.setdefault(name, place)
    return owners


def _near(noun: str, owners: Mapping[str, int], similar: Similar) -> int | None:
    return next((place for word, place in owners.items() if word == noun or similar(noun, word)), None)


def description_totals(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """CHAIR, Cover, Hal and Cog of many descriptions, as fractions. Undefined ones are None."""

    def total(key: str) -> int:
        return sum(item[key] for item in items)

    return {
        "chair": over(total("hallucinated_mentions"), total("mentions")),
        "cover": over(total("covered"), total("objects")),
        "hal": over(sum(item["hallucinated_mentions"] > 0 for item in items), len(items)),
        "cog": over(total("tempted"), total("tempting")),
        "descriptions": len(items),
        "mentions": total("mentions"),
        "hallucinated_mentions": total("hallucinated_mentions"),
    }


def published_answer(text: str) -> str | None:
    """'yes' or 'no' if the answer is exactly 'Yes' or 'No', as in the authors' script; else None."""
    return {"Yes": "yes", "No": "no"}.get(text)


def question_totals(pairs: Sequence[tuple[str | None, str]], rule: str, kind: str = ALL) -> dict[str, Any]:
    """The figures of (answer, truth) pairs, as fractions, with *no* as the positive class.

    The published rule counts an answer of None as wrong; the strict rule leaves it out. The published F1 is that of
    precision and recall rounded to a tenth of a percent, with the small constant of the authors' script.
    """
    counted = pairs if rule == "published" else [pair for pair in pairs if pair[0] is not None]
    truths = [truth for answer, truth in counted if answer == "no"]
    right = sum(truth == "no" for truth in truths)
    precision, recall = over(right, len(truths)), over(right, sum(truth == "no" for _, truth in counted))
    f1 = None if precision is None or recall is None else f1_of(precision, recall, rule, kind)
    return {
        "accuracy": over(sum(answer == truth for answer, truth in counted), len(counted)),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "n": len(counted),
    }


def f1_of(precision: float, recall: float, rule: str, kind: str = ALL) -> float | None:
    """F1 of precision and recall, by the rule as `question_totals` says; None if both are 0."""
    p, r, small = precision, recall, 0.0
    if rule == "published":
        p, r, small = round(100 * p, 1) / 100, round(100 * r, 1) / 100, 0.001 if kind == "existence" else 0.0001
    return over(2 * p * r, p + r + small)


def read_answer(text: str, rule: str) -> str | None:
    """'yes' or 'no' by the rule of a run, or None."""
    return published_answer(text) if rule == "published" else strict_answer(text)


def score(
    answers: Sequence[Entry], data: Data, rule: str = "published", similar: Similar | None = None
) -> dict[str, Any]:
    """The figures of an answer file: of its descriptions, and of its questions by kind under 'kinds'.

    An item is missing if the file answers others of its type and not this one. The published rule counts an item that
    is answered twice twice; the strict rule counts its first answer. Raises InputError for an unknown id.
    """
    key, seen = answer_key(answers), set[str]()
    texts = [words_of(entry, key) for entry in answers]
    spoken, thoughts, _ = spoken_words(texts)
    told, asked = list[tuple[str, str]](), list[tuple[str, str | None]]()
    unparsable, ids = [], []
    for entry, text, words in zip(answers, texts, spoken, strict=True):
        item = _id_of(entry, data)
        ids.append(item)
        if rule == "strict" and item in seen:
            continue
        seen.add(item)
        if data.annotations[item].type == DESCRIPTION:
            told += [] if words is None else [(item, words)]
            unparsable += [item] if words is None else []
            continue
        given = text if rule == "published" else words
        read = None if given is None else read_answer(given, rule)
        asked.append((item, read))
        unparsable += [item] if read is None else []
    nouns = nouns_in([text for _, text in told], data.words)
    similar = similar or similar_by(LISTED)
    items = [
        description_item(named, data.annotations[item], data, similar)
        for (item, _), named in zip(told, nouns, strict=True)
    ]
    types = {data.annotations[item].type for item in ids}
    wanted = [item for item, annotation in data.annotations.items() if annotation.type in types]
    figures = {**(description_totals(items) if items else {}), "kinds": _by_kind(asked, data, rule)}
    if items and ALL in figures["kinds"] and figures["kinds"][ALL]["f1"] is not None and figures["chair"] is not None:
        figures["amber"] = (1 - figures["chair"] + figures["kinds"][ALL]["f1"]) / 2
    return {
        **figures,
        "n": len(told) + len(asked),
        "thoughts": thoughts,
        **noted(ids, wanted, unparsable),
        "rule": rule,
    }


def _by_kind(asked: Sequence[tuple[str, str | None]], data: Data, rule: str) -> dict[str, Any]:
    pairs: dict[str, list[tuple[str | None, str]]] = {kind: [] for kind in ORDER}
    for item, answer in asked:
        annotation = data.annotations[item]
        for kind in (ALL, *KINDS[annotation.type]):
            pairs[kind].append((answer, annotation.truth))
    return {kind: question_totals(of_kind, rule, kind) for kind, of_kind in pairs.items() if of_kind}


def _id_of(entry: Entry, data: Data) -> str:
    """An answer's id in AMBER; a description without one is found by its picture, AMBER_7.jpg."""
    image = re.search(r"AMBER_(\d+)", str(entry.record.get("image", "")))
    item = entry.key or (image[1] if image else "")
    if item not in data.annotations:
        what = f"id {item!r:.60}" if item else "an answer without an id"
        raise InputError(f"{entry.where}: {what} is not in AMBER's annotations; its ids are 1 to 15220")
    return plain_id(item)


def score_files(predictions: Path, data: Path, rule: str = "published", similar: str = "listed") -> dict[str, Any]:
    """`seelevel score amber`."""
    figures = score(read_entries(predictions), read_data(data), rule, similar_by(LISTED, similar))
    if figures["unparsable"] and rule == "published" and figures["kinds"]:
        say(
            f"{figures['unparsable']} answers are not exactly 'Yes' or 'No', which the published rule counts as wrong; "
            "--rule strict reads what they say"
        )
    return {**figures, "similar": similar}

"""A question with a list of answers and what orders them → ladders; read, not written.

    {"prompt": "What is it?", "images": ["a.jpg"], "responses": ["A cup.", "A dog.", "A mug."], "scores": [9, 1, 9]}

`scores`: higher is better. `ranks`: lower is better, 1 is best. Equal ones tie. An answer may be a mapping with its own
`score` or `rank`, or with ratings as in VLFeedback and UltraFeedback:

    {"model": "a", "response": "A cup.", "annotations": {"Helpfulness": {"Rating": "4", "Rationale": "…"}, …}}

There the mean of the criteria that all answers have counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from seelevel.formats.pictures import Pictures, shown
from seelevel.formats.questions import answer_turns, no_question, question_of
from seelevel.formats.values import BadRecord, empty, first, kind_of, mapping, missing, number, rows_of
from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.levels import dense_levels

LISTS = ("responses", "outputs", "completions", "answers", "candidates")
TEXTS = ("response", "answer", "output", "completion", "text", "content", "value", "messages")
"""Keys of an answer's text in its mapping."""
SCORES = ("scores", "score", "ratings", "rating", "rewards", "reward", "overall_score")
RANKS = ("ranks", "rank")
LEAST = 2
"""Fewer answers need no order."""


def ladders(name: str, record: dict[str, Any], pictures: Pictures) -> list[Ladder]:
    """The ladder of one record. Raises `BadRecord`."""
    question = question_of(record)
    if not question:
        raise no_question(record)
    key, entries = _listed(record)
    levels, scores = _order(record, key, entries)
    given = pictures.named(record)
    prompt, images = list[Message](), list[Image]()
    answers: dict[str, Response] = {}
    for number_, (entry, level) in enumerate(zip(entries, levels, strict=True)):
        place = f"{key}[{number_}]"
        value = first(entry, *TEXTS) if isinstance(entry, dict) else entry
        messages, images = shown([*question, *answer_turns(value, place)], record, given, pictures)
        prompt, answer = messages[: len(question)], messages[len(question) :]
        if not answer or answer[-1]["role"] != "assistant":
            raise BadRecord(f"{place} holds no answer")
        response = Response(answer, level, _origin(entry, len(entries)), scores=scores[number_])
        twin = answers.setdefault(response.text, response)
        if twin.level != level:
            raise BadRecord(f"{place} says the same as a better or worse answer")
    ordered = sorted(answers.values(), key=lambda response: response.level)
    return [Ladder(name, images, prompt, ordered, mapping(record.get("annotations"), "annotations"))]


def listed(record: dict[str, Any]) -> str:
    """The key of a record's list of answers; empty if it has none."""
    return next((key for key in LISTS if isinstance(rows_of(record.get(key)), list) and record[key]), "")


def is_ordered(record: dict[str, Any]) -> bool:
    """Whether something says which of a record's listed answers are better."""
    entries = rows_of(record.get(listed(record)))
    inner = entries if isinstance(entries, list) else []
    ways = (*SCORES, *RANKS)
    return any(isinstance(record.get(key), list) for key in ways) or any(
        isinstance(entry, dict) and any(not empty(entry.get(key)) for key in (*ways, "annotations")) for entry in inner
    )


def _listed(record: dict[str, Any]) -> tuple[str, list[Any]]:
    key = listed(record)
    if not key:
        raise BadRecord(f"no list of answers ({', '.join(LISTS)})")
    entries: list[Any] = rows_of(record[key])
    for number_, entry in enumerate(entries):
        if not isinstance(entry, str | dict | list):
            raise BadRecord(f"{key}[{number_}] is {kind_of(entry)}, not an answer")
    return key, entries


def _order(record: dict[str, Any], key: str, entries: list[Any]) -> tuple[list[int], list[dict[str, float]]]:
    """The answers' levels, and what each was given. Raises `BadRecord` if there is no order, or if there are two."""
    notes: list[dict[str, float]] = [{} for _ in entries]
    orders: dict[str, list[int]] = {}
    for keys, sign in ((SCORES, -1), (RANKS, 1)):
        for name, values in _columns(record, keys, key, entries):
            orders[name] = dense_levels([sign * value for value in values])
            for note, value in zip(notes, values, strict=True):
                note[name] = value
    rated = [_ratings(entry, f"{key}[{n}]") for n, entry in enumerate(entries)]
    if any(rated):
        shared = [name for name in rated[0] if all(name in ratings for ratings in rated)]
        if not shared:
            raise BadRecord(f"{key}: no criterion is rated for all answers")
        orders["annotations"] = dense_levels([-sum(ratings[name] for name in shared) for ratings in rated])
        notes = [{**note, **ratings} for note, ratings in zip(notes, rated, strict=True)]
        orders = {"annotations": orders["annotations"]} if "overall_score" in orders else orders
    if not orders:
        if len(entries) < LEAST:
            return [0] * len(entries), notes
        raise BadRecord(f"nothing orders the {key}; add scores (higher is better) or ranks (1 is best)")
    name, levels = next(iter(orders.items()))
    for other, order in orders.items():
        if order != levels:
            raise BadRecord(f"{name} and {other} order the {key} differently; keep one of them")
    return levels, notes


def _columns(
    record: dict[str, Any], keys: tuple[str, ...], key: str, entries: list[Any]
) -> Iterator[tuple[str, list[float]]]:
    """Each key of `keys` with its number per answer: from a list of the record, or from the answers' mappings."""
    for name in keys:
        beside = record.get(name)
        if isinstance(beside, list) and beside:
            if len(beside) != len(entries):
                raise BadRecord(f"{len(beside)} {name} but {len(entries)} {key}")
            yield name, [number(value, f"{name}[{n}]") for n, value in enumerate(beside)]
        inner = [entry.get(name) if isinstance(entry, dict) else None for entry in entries]
        if any(isinstance(value, int | float | str) and not empty(value) for value in inner):
            yield name, [number(value, f"{key}[{n}].{name}") for n, value in enumerate(inner)]


def _ratings(entry: Any, place: str) -> dict[str, float]:
    """The criteria of an answer's `annotations`: {criterion: {"Rating": …}}, or {criterion: number}."""
    annotations = entry.get("annotations") if isinstance(entry, dict) else None
    if not isinstance(annotations, dict):
        return {}
    found = {}
    for name, value in annotations.items():
        rating = first(value, "Rating", "rating", "score") if isinstance(value, dict) else value
        if missing(rating) or (isinstance(rating, str) and rating.strip().lower() in ("", "n/a", "na", "none")):
            continue
        if isinstance(rating, int | float | str) and not isinstance(rating, bool):
            found[name] = number(rating, f"{place}.annotations: {ascii(name)[1:-1]}")
    return found


def _origin(entry: Any, count: int) -> dict[str, Any]:
    if count < LEAST:
        return {"kind": "standard"}
    model = entry.get("model") if isinstance(entry, dict) else None
    return {"kind": "given", **({"model": mapping({"model": model}, "model")["model"]} if model else {})}

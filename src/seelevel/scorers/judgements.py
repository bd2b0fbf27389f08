"""A judge's replies in the forms that people save: records with a reply, chat completions, batch results, texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.json_text import loads
from seelevel.scorers.files import Entry, plain_id, read_entries, read_json, read_text
from seelevel.thoughts import split_thought

JUDGE_KEYS = (
    *("judge_reply", "judge_response", "judge_output", "judge", "judgement", "judgment", "verdict", "reply"),
    *("gpt_response", "gpt4_response", "gpt_eval", "gpt_evaluation", "gpt_review", "evaluation", "eval", "review"),
)
"""Keys under which nothing but a judge's words stands."""
REPLY_KEYS = (*JUDGE_KEYS, "content", "response", "output", "text", "answer")
NAME_KEYS = ("question_id", "image_id", "id", "image", "index", "idx")
"""Keys that may name the question of a judgement, first the surest."""


def read_judgements(path: Path) -> list[Entry]:
    """The judgements of a file, as `read_entries` reads records. In a list, a text is a reply, or a record written as
    a text. Raises InputError with file and place."""
    values = read_json(path) if read_text(path).lstrip().startswith("[") else []
    if any(isinstance(value, str) for value in values):
        return [_entry(value, f"{path}, record {n}") for n, value in enumerate(values, 1)]
    return read_entries(path)


def _entry(value: Any, where: str) -> Entry:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = loads(value)
        except ValueError:
            return Entry({"response": value}, where)
    if isinstance(value, str):
        return Entry({"response": value}, where)
    if not isinstance(value, dict):
        raise InputError(f"{where}: a judgement is a JSON object or a text, found {type(value).__name__}")
    return Entry(value, where)


def reply_of(entry: Entry) -> str | None:
    """The judge's words; None if they are null. Raises InputError if no key holds them, or something else than text."""
    key = next((key for key in REPLY_KEYS if key in entry.record), None)
    value = entry.record if "choices" in entry.record or key is None else entry.record[key]
    if isinstance(value, dict):
        value = _of_completion(value)
    elif isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):  # a message in parts
        value = "".join(str(part.get("text", "")) for part in value)
    if value is not None and not isinstance(value, str):
        raise InputError(f"{entry.where}: no judge's reply; write it as 'response', or as a chat completion")
    return value


def _of_completion(value: dict[str, Any]) -> Any:
    """The text of a chat completion, or of a result of a batch of them; the value itself if it is neither."""
    for key in ("response", "body"):
        if isinstance(inner := value.get(key), dict):
            value = inner
    if not isinstance(choices := value.get("choices"), list) or not choices or not isinstance(choices[0], dict):
        return value.get("content", value)
    message = choices[0].get("message")
    return message.get("content") if isinstance(message, dict) else choices[0].get("text")


def said(reply: str | None) -> str:
    """What a judge says after its thoughts; empty if there is nothing."""
    split = split_thought(reply or "")
    return "" if split.why else split.answer


def questions_of(judgements: Sequence[Entry], questions: Sequence[Entry]) -> list[int]:
    """The place of each judgement's question: by the first of `NAME_KEYS` that all judgements and questions share, and
    that tells the questions apart; else by order. Raises InputError if there are other numbers of them then."""
    for key in NAME_KEYS:
        places = {plain_id(q.record[key]): n for n, q in enumerate(questions) if key in q.record}
        names = [plain_id(j.record.get(key)) for j in judgements]
        if len(places) == len(questions) and all(name in places for name in names):
            return [places[name] for name in names]
    if len(judgements) != len(questions):
        raise InputError(
            f"{judgements[0].where}: {len(judgements)} judgements for {len(questions)} questions, and no key names "
            "their questions; add question_id or image_id to both"
        )
    return list(range(len(questions)))


def names_of(entries: Sequence[Entry], distinct: bool = False) -> list[str]:
    """What to call each entry in a report: the first of `NAME_KEYS` that all have, else its number from 1. `distinct`:
    a key counts only if it tells all entries apart. The id of a chat completion is not the question's."""
    for key in NAME_KEYS:
        names = [plain_id(e.record[key]) for e in entries if key in e.record and "choices" not in e.record]
        if len(names) == len(entries) and (not distinct or len(set(names)) == len(names)):
            return names
    return [str(n) for n in range(1, len(entries) + 1)]

"""The model's words in the records of an answer file, whatever they are called, and never the question or the label."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from seelevel.errors import InputError
from seelevel.progress import say
from seelevel.scorers.files import MODEL_KEYS, TEXT_KEYS, Entry
from seelevel.thoughts import split_thought

PROMPT_KEYS = ("prompt", "question", "query")
USUAL_KEYS = ("response", "prediction", "output", "caption", "text", "answer")
LABEL_KEYS = ("label", "target", "ground_truth", "gt_answer", "gt", "reference")
COPIED_KEYS = ("category", "image_source", "question_type")
"""Fields of the hub's copies of benchmarks, in which `answer` is the label."""
_TELLS = r"^\W*(?:<image>\s*)?(?:please\s+)?(?:describe|provide|generate|write|give|explain|tell|caption|list|answer)\b"
_ASKS = re.compile(rf"\?|{_TELLS}", re.IGNORECASE)


def asked(entry: Entry) -> Any:
    """The question that an answer carries: its prompt, or its `text` beside another answer; None if there is none."""
    if (prompt := entry.get(PROMPT_KEYS)) is not None:
        return prompt
    text = entry.record.get("text")
    beside = any(key in entry.record for key in TEXT_KEYS if key != "text")
    return text if beside and isinstance(text, str) and _ASKS.search(text) else None


def answer_key(answers: Sequence[Entry], labels: Sequence[str] | None = None) -> str:
    """The key of the model's words in an answer file: one for all its records.

    `labels`: each answer's label, if there are labels. Raises InputError if no key is there, if two keys may hold the
    model's words, or if the only one holds the label.
    """
    present = [key for key in TEXT_KEYS if any(key in entry.record for entry in answers)]
    keys = [key for key in present if any(entry.get((key,)) is not None for entry in answers)] or present[:1]
    if not keys:
        raise InputError(f"{answers[0].where}: no answer; it needs one of {', '.join(USUAL_KEYS)}")
    certain = [key for key in keys if key in MODEL_KEYS and not (key == "resps" and "filtered_resps" in keys)]
    if certain:
        return _agreed(answers, certain)
    if "caption" in keys and labels is None:
        return "caption"
    if "text" in keys and len(keys) > 1:
        texts = [entry.record["text"] for entry in answers if isinstance(entry.record.get("text"), str)]
        if all(_ASKS.search(text) for text in texts) or (len(texts) > 1 and len(set(texts)) == 1):
            keys.remove("text")
    if keys == ["text"] and labels is None and all(re.match(_TELLS, str(a.get(keys)), re.I) for a in answers):
        raise InputError(f"{answers[0].where}: 'text' is the prompt, and no caption is there; add it as 'caption'")
    if keys == ["answer"] and labels is not None:
        _refuse_labels(answers, labels)
    return keys[0] if len(keys) == 1 else _agreed(answers, keys)


def _agreed(answers: Sequence[Entry], keys: Sequence[str]) -> str:
    """The first of `keys`. Raises InputError at the first record in which they hold different words."""
    for entry in answers:
        given = [key for key in keys if entry.record.get(key) is not None]
        for key in given[1:]:
            if (words_of(entry, key) or "").strip() != (words_of(entry, given[0]) or "").strip():
                raise InputError(
                    f"{entry.where}: both '{given[0]}' and '{key}' may be the model's answer; keep one, as 'response'"
                )
    return keys[0]


def _refuse_labels(answers: Sequence[Entry], labels: Sequence[str]) -> None:
    """Raise InputError if `answer` holds the labels, as in the hub's copies of benchmarks."""
    same = all(str(entry.record.get("answer")).lower() == label for entry, label in zip(answers, labels, strict=True))
    if not same or any(entry.get(LABEL_KEYS) is not None for entry in answers):
        return
    if any(entry.record.keys() & set(COPIED_KEYS) for entry in answers):
        raise InputError(
            f"{answers[0].where}: 'answer' is the label in this layout, and no model's words are there; add them as "
            "'response'"
        )
    say("every answer is its label, letter for letter; is 'answer' the model's?")


def words_of(entry: Entry, key: str) -> str | None:
    """A record's answer under `key`; None if it is null. A list of one, or an object of one text, is opened.

    Raises InputError for a record without the key, and for a value that is not a text.
    """
    if key not in entry.record:
        raise InputError(f"{entry.where}: no answer; it needs '{key}' as the other records do")
    value = entry.record[key]
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        inner = [value[name] for name in ("text", "content", "generated_text", "prediction") if name in value]
        value = inner[0] if len(inner) == 1 else value
    if value is None or value != value:
        return None
    return Entry({key: value}, entry.where).text((key,), "answer")


def spoken_words(texts: Sequence[str | None]) -> tuple[list[str | None], int, int]:
    """Texts without their thoughts, None if nothing else is left; how many had thoughts, how many nothing else."""
    splits = [None if text is None else split_thought(text) for text in texts]
    marked = sum(split is not None and split.marked for split in splits)
    cut = sum(split is not None and bool(split.why) for split in splits)
    return [None if split is None or split.why else split.answer for split in splits], marked, cut

"""What a record asks, in any of the field's keys: a conversation, a text, a text with its history."""

from __future__ import annotations

import re
from typing import Any

from seelevel.formats.turns import Turn, opened, turn, turns
from seelevel.formats.values import BadRecord, checked_text, empty, kind_of, missing, name_of
from seelevel.ladder import unmarked

CONVERSATIONS = ("conversations", "messages", "conversation", "texts")
TEXTS = ("prompt", "question", "query", "instruction", "input")
"""Keys of a question as a text; `prompt` may also be a list of turns. `input` belongs to `instruction` beside one."""
MORE = re.compile(
    r"reject|chosen|(?:positive|negative)_messages$|(?:(?:response|answer|completion)_[a-d0-9]|output_[a-d])$"
)
"""Keys of a better or worse answer."""


def conversation_keys(record: dict[str, Any]) -> list[str]:
    """The keys under which a record has a conversation; `texts` may also be a list of other things."""
    texts = record.get("texts")
    talk = isinstance(texts, list) and any(isinstance(entry, dict) for entry in texts)
    return [key for key in CONVERSATIONS if not missing(record.get(key)) and (key != "texts" or talk)]


def conversation_of(record: dict[str, Any]) -> list[Turn] | None:
    """A record's whole conversation, after its `system` text; None if it has none.

    Raises `BadRecord` if two keys hold different conversations.
    """
    keys = conversation_keys(record)
    if not keys:
        return None
    found = [turns(record[key], key) for key in keys]
    if any(other != found[0] for other in found):
        raise BadRecord(f"{' and '.join(keys)} hold different conversations")
    return _with_system(found[0], record)


def question_of(record: dict[str, Any]) -> list[Turn]:
    """The turns up to the question that a record's answers answer; empty if it has none.

    A text is one user turn after `history` and `system`. If a conversation ends with an answer, the record's answers
    replace it. Raises `BadRecord` if the turns do not end with the user, or if two keys ask different questions.
    """
    texts = _texts(record)
    key = next(iter(texts), "")
    if key and not isinstance(texts[key], str):
        asked: list[Turn] | None = _with_system(turns(texts.pop(key), key), record)
    else:
        asked = conversation_of(record)
        if asked and asked[-1].role == "assistant":
            asked = asked[:-1]
    if asked is None and key:
        asked = _with_system([*_history(record.get("history")), turn("user", texts[key], key)], record)
    if asked is None:
        return []
    if not asked or asked[-1].role != "user":
        raise BadRecord("prompt does not end with the user")
    for other, text in texts.items():
        if not any(plain(text) in plain(t.content) or plain(t.content) in plain(text) for t in asked):
            raise BadRecord(f"{other} asks another question than {key if texts.get(key) != text else 'the turns'}")
    return asked


def no_question(record: dict[str, Any]) -> BadRecord:
    """What to raise for a record without a question; it names the record's keys."""
    keys = ", ".join(ascii(key)[1:-1] for key in list(record)[:8]) or "none"
    return BadRecord(f"no question (prompt, question, query, instruction, messages); its keys are {keys}")


def plain(text: str) -> str:
    """A text without marks and runs of spaces, to compare what two keys ask."""
    return " ".join(unmarked(text).split())


def _texts(record: dict[str, Any]) -> dict[str, Any]:
    """The keys of TEXTS that hold a question, in that order; alpaca's `input` is added to its `instruction`."""
    found = {key: opened(record[key], key) for key in TEXTS if not empty(record.get(key))}
    for key, value in found.items():
        if key != "prompt" or not isinstance(value, list | dict):
            checked_text(value, key)
    if "instruction" in found and "input" in found:
        found["instruction"] = f"{found['instruction']}\n{found.pop('input')}"
    return found


def _history(value: Any) -> list[Turn]:
    """Earlier rounds: a list of [question, answer], or turns."""
    if empty(value):
        return []
    if not isinstance(value, list) or any(isinstance(entry, dict) for entry in value):
        return turns(value, "history")
    found: list[Turn] = []
    for number, entry in enumerate(value):
        if not isinstance(entry, list) or len(entry) != 2:
            raise BadRecord(f"history[{number}] is not a question with its answer")
        found += [turn("user", entry[0], f"history[{number}]"), turn("assistant", entry[1], f"history[{number}]")]
    return found


def _with_system(conversation: list[Turn], record: dict[str, Any]) -> list[Turn]:
    """The turns after the record's `system` text. Raises `BadRecord` if they begin with another one."""
    text = record.get("system")
    if empty(text):
        return conversation
    first = turn("system", text, "system")
    if conversation and conversation[0].role == "system":
        if conversation[0] != first:
            raise BadRecord("system and the first turn are different system texts")
        return conversation
    return [first, *conversation] if first.content.strip() else conversation


def has_more(record: dict[str, Any]) -> str:
    """The key of a better or worse answer beside those of a pair; empty if there is none."""
    found = (key for key, value in record.items() if MORE.match(str(key)) and not empty(value))
    return next((ascii(key)[1:-1] for key in found), "")


def refuse_more(record: dict[str, Any]) -> None:
    """Raises `BadRecord` if a record with one answer says more of it than that it is the standard response.

    KTO's records say that it is good or bad. Others have a worse one beside it, in a key that no form reads.
    """
    if key := has_more(record):
        raise BadRecord(f"{key} seems to hold another answer, but is not read; call it chosen or rejected")
    for key in ("label", "kto_tag"):
        value = str(record.get(key)).lower()
        if value in ("true", "false") or (value in ("0", "1") and not empty(record.get("completion"))):
            raise BadRecord(f"{key} says whether one answer is good (KTO), which is not an order of answers")


def answer_turns(value: Any, key: str) -> list[Turn]:
    """An answer as turns: a text (or a list of one), a whole number, a turn of any role, turns. Raises `BadRecord`."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = name_of(value, key)
    value = opened(value, key)
    if isinstance(value, list) and value and all(isinstance(entry, str) for entry in value):
        if len(value) == 1:
            return [turn("assistant", value[0], key)]
        raise BadRecord(
            f"{key} is a list of answers; call it responses, with scores or ranks, or name chosen and rejected"
        )
    if isinstance(value, str):
        return [turn("assistant", value, key)]
    if isinstance(value, dict | list):
        return turns(value, key)
    raise BadRecord(f"{key} is {kind_of(value)}, not a text or a list of turns")

"""A question as a text with one answer, or with none → ladders; read, not written.

    {"instruction": "What is it?", "input": "", "output": "A cup.", "images": ["a.jpg"]}

The question is in `prompt`, `question`, `query` or `instruction` (with `input`), the *standard response* in `output`,
`response`, `answer` or `completion`.
"""

from __future__ import annotations

from typing import Any

from seelevel.formats.pictures import Pictures, shown
from seelevel.formats.questions import answer_turns, no_question, plain, question_of, refuse_more
from seelevel.formats.values import BadRecord, empty, mapping
from seelevel.ladder import Ladder, Response

ANSWERS = ("output", "response", "answer", "completion")


def ladders(name: str, record: dict[str, Any], pictures: Pictures) -> list[Ladder]:
    """The ladder of one record. Raises `BadRecord`."""
    refuse_more(record)
    question = question_of(record)
    if not question:
        raise no_question(record)
    _refuse_choices(record, question[-1].content)
    keys = [key for key in ANSWERS if not empty(record.get(key))]
    answers = [answer_turns(record[key], key) for key in keys]
    if any(answer != answers[0] for answer in answers):
        raise BadRecord(f"{' and '.join(keys)} are different answers, and nothing says which is better")
    answer = answers[0] if answers else []
    if answer and answer[0].role != "assistant":  # a whole conversation, whose question may have the pictures
        held, answer = answer[: len(question)], answer[len(question) :]
        if [(t.role, plain(t.content)) for t in held] != [(t.role, plain(t.content)) for t in question]:
            raise BadRecord(f"{keys[0]} begins with another question")
        question = max(held, question, key=lambda asked: sum(len(t.shown) for t in asked))
    messages, images = shown([*question, *answer], record, pictures.named(record), pictures)
    prompt, rest = messages[: len(question)], messages[len(question) :]
    if rest and rest[-1]["role"] != "assistant":
        raise BadRecord(f"{keys[0]} does not end with an answer")
    responses = [Response(rest, 0, {"kind": "standard"})] if rest else []
    return [Ladder(name, images, prompt, responses, mapping(record.get("annotations"), "annotations"))]


def _refuse_choices(record: dict[str, Any], question: str) -> None:
    """Raises `BadRecord` if a record has choices that its question does not name: its answer is then their number."""
    for key in ("choices", "options"):
        choices = record.get(key)
        texts = list(choices.values()) if isinstance(choices, dict) else choices
        if not empty(texts) and not (isinstance(texts, list) and all(str(text) in question for text in texts)):
            raise BadRecord(f"the {key} are not in the question; write them into it, and the answer as a text")

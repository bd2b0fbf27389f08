"""A judge's prompt as the oracle reads it: the task, the image contents, the rounds to judge.

A template names its task in one line, such as `### Task: listwise` or `### Task: dialogue, 3 rounds`. All other
instructions are for models that read English, so they can be reworded freely.

Everything judged stands on one line, inside JSON quotes. Only the beginnings of lines are read, so no answer can pass
for another field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from seelevel.world.oracle.claims import Facts
from seelevel.world.pictures.scenes import COLOURS, KINDS, PLACES, PLURALS, SETTINGS, SIZES, Group

TASK = re.compile(r"^### Task: (\w+)(?:, (\d{1,2}) \w+)?\s*$", re.MULTILINE)
"""The line that names the task and, for a writer, how many rounds or requests to write."""
CONTENTS = re.compile(r"^#+ image contents\s*$", re.IGNORECASE | re.MULTILINE)
REQUEST_TO_JUDGE = re.compile(r"^Request to judge: (\".*\")$", re.MULTILINE)
FIELDS = {"question": "question", "request": "question", "standard answer": "reference", "answer to judge": "answer"}
"""The labels of a round's lines and the fields of `JudgedRound` that they fill."""
_SINGULAR = {**{kind: kind for kind in KINDS}, **{plural: kind for kind, plural in PLURALS.items()}}
_GROUP_LINE = re.compile(
    rf"(\d+) ({'|'.join(SIZES)}) ({'|'.join(COLOURS)}) ({'|'.join(_SINGULAR)}) in the ({'|'.join(PLACES)})"
)


@dataclass(frozen=True)
class JudgedRound:
    """One question with its standard answer and the answer to judge."""

    question: str
    answer: str
    reference: str = ""


@dataclass(frozen=True)
class JudgePrompt:
    """The parts of a judge's prompt.

    task: the name in the task line, "" if there is no such line; count: the number in that line; facts: None if a line
    of the image contents is not of the world's form; request: a request to judge without its picture.
    """

    task: str
    count: int | None
    facts: Facts | None
    rounds: list[JudgedRound]
    request: str | None


def read_prompt(text: str) -> JudgePrompt:
    """Parse a judge's prompt. Parts that are missing, or that cannot be read, are empty."""
    task_line = TASK.search(text)
    task, count = task_line.groups() if task_line else ("", None)
    requests = REQUEST_TO_JUDGE.findall(text)
    request = _unquoted(requests[-1]) if requests else None
    facts, rounds = _read_material(text)
    return JudgePrompt(task, int(count) if count else None, facts, rounds, request)


def _read_material(text: str) -> tuple[Facts | None, list[JudgedRound]]:
    """The image contents and the rounds below their heading; no rounds if one of them is incomplete."""
    headings = list(CONTENTS.finditer(text))
    if not headings:
        return None, []
    lines = text[headings[-1].end() :].split("\n")
    contents = [_unquoted(line[2:]) for line in lines if line.startswith("- ")]
    rounds: list[dict[str, str]] = []
    for line in lines:
        label, _, value = line.partition(": ")
        field = FIELDS.get(label.lower())
        if field == "question":
            rounds.append({})
        if field and rounds and value.startswith('"'):
            rounds[-1][field] = _unquoted(value)
    complete = [JudgedRound(**fields) for fields in rounds if "question" in fields and "answer" in fields]
    return read_contents(contents), complete if len(complete) == len(rounds) else []


def _unquoted(text: str) -> str:
    return str(json.loads(text)) if text.startswith('"') else text.strip()


def read_contents(lines: Iterable[str]) -> Facts | None:
    """Image contents as facts; None if a line cannot be read."""
    setting: str | None = None
    groups = []
    for line in lines:
        label, _, value = line.partition(": ")
        match = _GROUP_LINE.fullmatch(line)
        if label == "setting" and value in SETTINGS and setting is None:
            setting = value
        elif match:
            count, size, colour, noun, place = match.groups()
            groups.append(Group(_SINGULAR[noun], int(count), size, colour, place))
        else:
            return None
    return Facts(setting, tuple(groups)) if groups or setting else None

"""Join answers to their questions: by id where ids and texts agree, else by picture and question, else by order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from seelevel.errors import InputError
from seelevel.scorers.answers import answer_key, asked, words_of
from seelevel.scorers.files import Entry, image_names, plain_id

QUESTION_KEYS = ("text", "question", "prompt")
NUMBERS = ("index", "idx", "doc_id", "sample_id", "custom_id")
"""Keys that number the answers. They may start at 0 or 1, so only their order is used."""
FEWEST_WORDS = 3


def comparable(text: object) -> str:
    """A question for comparison: the line that asks, in lower case, without image marks and extra spaces. Other lines
    ask for a form of answer."""
    lines = [line for line in str(text).replace("<image>", "").split("\n") if line.strip()]
    line = next((line for line in lines if "?" in line), lines[0] if lines else "")
    return _plain(line)


def _plain(text: object) -> str:
    """A text in lower case with single spaces. 'imange' is the spelling of POPE's files of 2023."""
    return re.sub(r"\bimange\b", "image", " ".join(str(text).replace("<image>", " ").lower().split()))


def join(questions: Sequence[Entry], answers: Sequence[Entry]) -> list[Entry | None]:
    """The answer of each question, or None if it is missing.

    Answers are joined by id if ids are unique and each answer's text agrees with its question. Answers to other
    questions are then ignored, if all answers carry their question's text. Otherwise answers are joined by picture and
    question, if every answer carries both and is found. Otherwise answers are joined by order: texts are compared, and
    answers without texts are accepted only if no id contradicts the order.
    Raises InputError at the first answer that belongs to no question or answers one a second time.
    """
    ids, keys = [q.key for q in questions], [a.key for a in answers]
    if "" not in keys and len(set(ids)) == len(ids) and len(set(keys)) == len(keys):
        by_id = dict(zip(keys, answers, strict=True))
        joined = [by_id.get(key) for key in ids]
        pairs = [(q, a) for q, a in zip(questions, joined, strict=True) if a is not None]
        all_known = len(pairs) == len(answers) or all(asked(a) is not None for a in answers)
        if pairs and all_known and all(_agree(q, a) for q, a in pairs):
            return joined
    if (by_picture := _by_picture(questions, answers)) is not None:
        return by_picture
    ids_count = len(set(ids)) == len(ids) and any(asked(answer) is None for answer in answers)
    if ids_count:
        _refuse_repeats_and_strays(ids, answers)
    if len(answers) > len(questions):
        raise InputError(
            f"{answers[len(questions)].where}: {len(answers)} answers for {len(questions)} questions, and their ids "
            "do not join; give the answers of this question file alone"
        )
    for question, answer in zip(questions, answers, strict=False):
        if ids_count and question.key and answer.key not in ("", question.key):
            raise InputError(
                f"{answer.where}: answers question {answer.key:.60} in the place of {question.where}, question "
                f"{question.key:.60}; give every answer its question's id, or its question's text as prompt"
            )
        if not _agree(question, answer):
            raise InputError(
                f"{answer.where}: answers {comparable(asked(answer))!r:.120} but {question.where} asks "
                f"{comparable(question.get(QUESTION_KEYS))!r:.120}; give the answers their questions' ids, or the "
                "questions' order"
            )
    if len(answers) < len(questions) and any(asked(a) is None for a in answers):
        raise InputError(
            f"{answers[0].where}: {len(answers)} answers for {len(questions)} questions without ids that join or "
            "questions to compare; add question_id to the answers"
        )
    _refuse_other_order(answers)
    return [*answers, *[None] * (len(questions) - len(answers))]


def _by_picture(questions: Sequence[Entry], answers: Sequence[Entry]) -> list[Entry | None] | None:
    """The answer of each question by picture and question; None if these do not tell all answers apart and find them.

    So the answers to POPE's random set of 2023, whose 2,910 questions are among the 3,000 of the later one, are joined.
    """
    asking = [(image_names(q.record.get("image"))[-1:], comparable(q.get(QUESTION_KEYS))) for q in questions]
    places = {(*image, text): n for n, (image, text) in enumerate(asking) if image}
    joined: list[Entry | None] = [None] * len(questions)
    for answer in answers:
        place = places.get((*image_names(answer.record.get("image"))[-1:], comparable(asked(answer))))
        if place is None or joined[place] is not None or len(places) < len(questions):
            return None
        joined[place] = answer
    return joined


def answers_of(
    questions: Sequence[Entry], answers: Sequence[Entry], labels: Sequence[str], numbers: bool = True
) -> list[str | None]:
    """The model's words on each question, or None if they are missing or null. Raises InputError as `join` and
    `answer_key` do, if the questions stand in the place of the answers, and, without `numbers`, for a number."""
    joined = join(questions, answers)
    known = [(q, a, label) for q, a, label in zip(questions, joined, labels, strict=True) if a is not None]
    if not known:
        return [None] * len(questions)
    key = answer_key([a for _, a, _ in known], [label for _, _, label in known])
    for _, answer, _ in known:
        value = answer.get((key,))
        if not numbers and isinstance(value, int | float):
            raise InputError(f"{answer.where}: '{key}' is {value!r:.60}, not the words of an answer")
    words = [None if answer is None else words_of(answer, key) for answer in joined]
    if all(comparable(a.record.get(key)) == comparable(q.get(QUESTION_KEYS)) for q, a, _ in known):
        raise InputError(
            f"{known[0][1].where}: '{key}' is the question, and no model's words are there; add them as 'response'"
        )
    return words


def _refuse_repeats_and_strays(ids: Sequence[str], answers: Sequence[Entry]) -> None:
    """Raise InputError if two answers have one id, or an answer's id is not among the questions' unique `ids`."""
    valid = set(ids) - {""}
    first_with: dict[str, Entry] = {}
    for answer in answers:
        key = answer.key
        first = first_with.setdefault(key, answer)
        if key in valid and first is not answer:
            raise InputError(f"{answer.where}: question {key:.60} is answered already in {first.where}; keep one")
    for answer in answers:
        if len(valid) == len(ids) and answer.key not in valid | {""}:
            raise InputError(
                f"{answer.where}: no question has the id {answer.key!r:.60}; give the answers of this question file "
                "alone, or every answer its question's text as prompt"
            )


def _refuse_other_order(answers: Sequence[Entry]) -> None:
    """Raise InputError if answers that carry no question are not in the order of their numbers."""
    for key in NUMBERS:
        for before, answer in pairwise(answers):
            here, there = (plain_id(entry.record.get(key)) for entry in (before, answer))
            if here.isdecimal() and there.isdecimal() and int(there) < int(here) and asked(answer) is None:
                raise InputError(
                    f"{answer.where}: '{key}' is {there:.60} after {here:.60}, so the answers are not in the "
                    "questions' order; add the questions' question_id"
                )


def _agree(question: Entry, answer: Entry) -> bool:
    """Whether the prompt and the image that an answer carries, if any, are the question's. The prompt may stand inside
    a template, or the question inside one."""
    prompt, wanted = asked(answer), question.get(QUESTION_KEYS)
    if prompt is not None and not (_holds(prompt, wanted) or _holds(wanted, prompt)):
        return False
    image, wanted_image = answer.record.get("image"), question.record.get("image")
    if image == wanted_image:
        return True
    names, wanted_names = image_names(image), image_names(wanted_image)
    return not names or not wanted_names or bool(set(names) & set(wanted_names))


def _holds(text: object, question: object) -> bool:
    """Whether a text is a question, or holds it between other words."""
    words, core = _plain(text), comparable(question)
    if words == core:  # the usual case, and a pattern for each question takes longer than all else
        return True
    if len(core.split()) < FEWEST_WORDS:
        return comparable(text) == core
    return re.search(rf"(?<!\w){re.escape(core)}(?!\w)", words) is not None

"""Feedback as a condition: text at the end of a user turn with the ratings of the answer that follows.

Ratings and critique have no gradient. So a policy is trained on answers *given* their feedback (DRESS, arXiv
2311.10081), and later asked for an answer given the best feedback. The text comes after picture and question, so that
responses with different conditions still share picture and question. Torch-free.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from seelevel.errors import InputError
from seelevel.json_text import loads
from seelevel.ladder import BEST, IMAGE_MARK, WORST, Feedback, Ladder, Message, unmarked
from seelevel.levels import CRITERIA
from seelevel.opening import read_text
from seelevel.templates import BadTemplateError, filled

TEMPLATE = """\
Feedback:{% for name, rating in ratings %} {{ name | capitalize }}: {{ rating }}.{% endfor %}\
{% if critique %} Critique: {{ critique }}{% endif %}"""
FILE = "conditions.json"
"""The file beside a model's weights with the conditions it was trained on."""
Refined = Literal["no worse", "better"]


def condition_text(feedback: Feedback, template: str = TEMPLATE, criteria: Sequence[str] = CRITERIA) -> str:
    """A condition in one line. The template's variables: `ratings`, (criterion, 1 to 4) for each of the criteria, and
    `critique`. Raises `BadTemplateError` for an invalid template or another variable.

    A criterion that does not apply gets the best rating: which ones apply is unknown when an answer is requested.
    """
    ratings = [(name, feedback.ratings.get(name, BEST)) for name in criteria]
    critique = " ".join(unmarked(feedback.critique).split())  # a mark would stand for a picture
    try:
        return filled(template, ratings=ratings, critique=critique)
    except BadTemplateError as error:
        raise BadTemplateError(f"template: {error}") from error


def check_template(template: str, criteria: Sequence[str]) -> None:
    """Raise `BadTemplateError` if a template is invalid, or gives the same text for good and bad feedback."""
    if IMAGE_MARK in template:
        raise BadTemplateError(f"template: {IMAGE_MARK} stands for a picture, which the prompt already has; remove it")
    texts = [
        condition_text(Feedback(dict.fromkeys(criteria, rating), critique), template, criteria)
        for rating, critique in ((BEST, ""), (WORST, ""), (BEST, "It is right."), (WORST, "It is wrong."))
    ]
    if len(set(texts)) == 1:
        raise BadTemplateError("template: it is the same for good and bad answers; use `ratings` or `critique` in it")


def conditioned(
    ladder: Ladder,
    template: str,
    criteria: Sequence[str],
    dropout: float,
    critique_dropout: float = 0.0,
    refined: Refined = "no worse",
) -> Ladder:
    """A ladder whose rated responses carry their feedback as a condition.

    A share `dropout` of them carry none, so that the policy can also answer without a condition. A share
    `critique_dropout` of the conditions are ratings alone, because nobody knows the critique of an answer before it is
    given. Both are drawn by the ladder's id, so they are the same in every run. A response keeps a condition that it
    already has.

    A response rated worse than the answer that it refines (`Ladder.ratings_before`) is left out: it would
    teach that feedback makes answers worse. With `refined` 'better', so is one rated equally, unless it has the
    best ratings: it would teach to ignore feedback.
    """
    responses = []
    for number, response in enumerate(ladder.responses):
        feedback = response.feedback
        if feedback is not None and rated_worse(feedback, ladder.ratings_before, refined):
            continue
        if feedback is not None and feedback.ratings and not response.condition:
            draw = random.Random(f"{ladder.id}/{number}")
            dropped, bare = draw.random() < dropout, draw.random() < critique_dropout
            stated = replace(feedback, critique="") if bare else feedback
            response = replace(response, condition="" if dropped else condition_text(stated, template, criteria))
        responses.append(response)
    return replace(ladder, responses=responses)


def rated_worse(feedback: Feedback, before: Mapping[str, int], refined: Refined = "no worse") -> bool:
    """Whether an answer is rated worse than the one before it, by the mean of their common criteria. With `refined`
    'better': or equally, and below the best."""
    both = [name for name in feedback.ratings if name in before]
    gained = sum(feedback.ratings[name] - before[name] for name in both)
    best = all(feedback.ratings[name] == BEST for name in both)
    return gained < 0 or (refined == "better" and gained == 0 and not best)


@dataclass(frozen=True)
class Conditions:
    """The conditions that a policy was trained on: their template, their criteria, and the critique that goes with the
    best ratings."""

    template: str
    criteria: tuple[str, ...]
    critique: str

    def text(self, which: str) -> str:
        """The text of a condition: `top`, `worst`, `none`, or ratings in the criteria's order, '2/4/4'. Raises
        `InputError` for anything else."""
        if which == "none":
            return ""
        if which in ("top", "worst"):
            ratings = dict.fromkeys(self.criteria, BEST if which == "top" else WORST)
        else:
            ratings = self._read(which)
        best = all(rating == BEST for rating in ratings.values())
        return condition_text(Feedback(ratings, self.critique if best else ""), self.template, self.criteria)

    def _read(self, text: str) -> dict[str, int]:
        parts = [part.strip() for part in text.split("/")]
        if len(parts) != len(self.criteria) or not all(part in ("1", "2", "3", "4") for part in parts):
            example = "/".join(["2", *["4"] * (len(self.criteria) - 1)])
            raise InputError(
                f"condition '{text}' is unknown; use top, worst, none, or a rating from 1 to 4 for each of "
                f"{', '.join(self.criteria)}, such as {example}"
            )
        return dict(zip(self.criteria, map(int, parts), strict=True))


def check_condition(conditions: Conditions | None, which: str) -> None:
    """Raise `InputError` for a condition that the model does not know. `conditions`: the model's, or None."""
    if conditions is not None:
        conditions.text(which)
    elif which not in ("top", "none"):
        raise InputError(f"condition '{which}': the model was not trained on conditions; remove the condition")


def conditions_of(ladders: Iterable[Ladder], template: str, criteria: Sequence[str]) -> Conditions:
    """The conditions of a policy trained on these ladders. The critique is the most frequent one among the responses
    with the best rating in every rated criterion; '' if there is no such response."""
    praise: Counter[str] = Counter()
    for ladder in ladders:
        for response in ladder.responses:
            ratings = {} if response.feedback is None else response.feedback.ratings
            if response.feedback is not None and ratings and set(ratings.values()) == {BEST}:
                praise[response.feedback.critique] += 1
    critique = min(praise, key=lambda text: (-praise[text], text)) if praise else ""
    return Conditions(template, tuple(criteria), critique)


def read_conditions(model: Path) -> Conditions | None:
    """The conditions of the model in a folder; None if it was not trained on conditions.

    Raises `InputError` for a file that cannot be read.
    """
    path = model / FILE
    try:
        value = loads(read_text(path))
        conditions = Conditions(str(value["template"]), tuple(map(str, value["criteria"])), str(value["critique"]))
        for which in ("top", "worst"):
            conditions.text(which)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); copy the model again") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is not a valid conditions file; copy the model again or remove the file") from error
    return conditions


def with_condition(prompt: Sequence[Message], condition: str) -> list[Message]:
    """A prompt with a condition at the end of its last user turn."""
    if not condition:
        return list(prompt)
    last = prompt[-1]
    return [*prompt[:-1], Message(role=last["role"], content=f"{last['content']}\n{condition}")]

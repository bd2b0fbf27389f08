"""Feedback as a condition: text at the end of a user turn that says how the answer after it was, or is to be, judged.

Ratings and critique have no gradient, so a policy learns answers *given* their feedback (DRESS, arXiv 2311.10081), and
is asked for an answer given the best one. The text comes after picture and question, so that responses with different
conditions still share the picture's part of a packed row. Torch-free.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from seelevel.errors import InputError
from seelevel.ladder import CRITERIA, IMAGE_MARK, Feedback, Ladder, Message, unmarked
from seelevel.templates import BadTemplateError, filled

TEMPLATE = """\
Feedback:{% for name, rating in ratings %} {{ name | capitalize }}: {{ rating }}.{% endfor %}\
{% if critique %} Critique: {{ critique }}{% endif %}"""
FILE = "conditions.json"
"""Beside a model's weights: what it was trained to be asked for."""
BEST, WORST = 4, 1
Refined = Literal["no worse", "better"]


def condition_text(feedback: Feedback, template: str = TEMPLATE, criteria: Sequence[str] = CRITERIA) -> str:
    """A condition in one line. The template's variables: `ratings`, (criterion, 1 to 4) for each of the criteria, and
    `critique`. Raises `BadTemplateError` for a template that is none or asks for anything else.

    A criterion that does not apply counts as met, for when an answer is asked for nobody knows yet which ones will.
    """
    ratings = [(name, feedback.ratings.get(name, BEST)) for name in criteria]
    critique = " ".join(unmarked(feedback.critique).split())  # a mark would stand for a picture
    try:
        return filled(template, ratings=ratings, critique=critique)
    except BadTemplateError as error:
        raise BadTemplateError(f"template: {error}") from error


def check_template(template: str, criteria: Sequence[str]) -> None:
    """Raise `BadTemplateError` where a template cannot say how good an answer is, whatever the feedback on it."""
    if IMAGE_MARK in template:
        raise BadTemplateError(f"template: {IMAGE_MARK} stands for a picture, and the prompt has it; take it away")
    texts = [
        condition_text(Feedback(dict.fromkeys(criteria, rating), critique), template, criteria)
        for rating, critique in ((BEST, ""), (WORST, ""), (BEST, "It is right."), (WORST, "It is wrong."))
    ]
    if len(set(texts)) == 1:
        raise BadTemplateError("template: it says the same of good and bad answers; have it name ratings or critique")


def conditioned(
    ladder: Ladder,
    template: str,
    criteria: Sequence[str],
    dropout: float,
    critique_dropout: float = 0.0,
    refined: Refined = "no worse",
) -> Ladder:
    """A ladder whose rated responses carry their feedback as a condition, but for a share `dropout` of them, drawn by
    the ladder's id and so the same in every run: a policy is to answer without a condition too. Of the conditions a
    share `critique_dropout` are ratings alone, for whoever asks for an answer knows no critique of it yet.

    A condition that a response has already stays. A response that was rated worse than the answer it refines
    (`Ladder.ratings_before`) is left out: it would teach that feedback makes answers worse. So is,
    where `refined` is 'better', one that was rated as high and not the highest: it would teach not to listen.
    """
    responses = []
    for number, response in enumerate(ladder.responses):
        feedback = response.feedback
        if feedback is not None and rated_worse(feedback, ladder.ratings_before, refined):
            continue
        if feedback is not None and feedback.ratings and not response.condition:
            draw = random.Random(f"{ladder.id}/{number}")
            dropped, bare = draw.random() < dropout, draw.random() < critique_dropout
            known = replace(feedback, critique="") if bare else feedback
            response = replace(response, condition="" if dropped else condition_text(known, template, criteria))
        responses.append(response)
    return replace(ladder, responses=responses)


def rated_worse(feedback: Feedback, before: Mapping[str, int], refined: Refined = "no worse") -> bool:
    """Whether an answer was rated worse than the one before it, by the mean of the criteria that both have; `better`:
    or as high, below the best."""
    both = [name for name in feedback.ratings if name in before]
    gained = sum(feedback.ratings[name] - before[name] for name in both)
    best = all(feedback.ratings[name] == BEST for name in both)
    return gained < 0 or (refined == "better" and gained == 0 and not best)


@dataclass(frozen=True)
class Conditions:
    """What a policy that was trained on conditions can be asked for: the template and the criteria of its conditions,
    and the critique that goes with the best ratings."""

    template: str
    criteria: tuple[str, ...]
    critique: str

    def text(self, which: str) -> str:
        """The condition called `top`, `worst` or `none`, or that of ratings, '2/4/4' in the criteria's order. Raises
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
                f"condition '{text}' is none of top, worst and none, nor a rating from 1 to 4 for each of "
                f"{', '.join(self.criteria)}, such as {example}"
            )
        return dict(zip(self.criteria, map(int, parts), strict=True))


def check_condition(known: Conditions | None, which: str) -> None:
    """Raise `InputError` where a policy cannot be asked for a condition; `known` is None for one that knows none."""
    if known is not None:
        known.text(which)
    elif which not in ("top", "none"):
        raise InputError(f"condition '{which}': the model was not trained on conditions; take the condition away")


def conditions_of(ladders: Iterable[Ladder], template: str, criteria: Sequence[str]) -> Conditions:
    """What a policy trained on these ladders can be asked for. Its critique is the commonest one of those responses
    that have the best rating in every criterion they were rated on; none where there is no such response."""
    praise: Counter[str] = Counter()
    for ladder in ladders:
        for response in ladder.responses:
            ratings = {} if response.feedback is None else response.feedback.ratings
            if response.feedback is not None and ratings and set(ratings.values()) == {BEST}:
                praise[response.feedback.critique] += 1
    critique = min(praise, key=lambda text: (-praise[text], text)) if praise else ""
    return Conditions(template, tuple(criteria), critique)


def read_conditions(model: Path) -> Conditions | None:
    """What the model in a folder can be asked for; None where it was not trained on conditions.

    Raises `InputError` where the file is there and cannot be read.
    """
    path = model / FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known = Conditions(str(found["template"]), tuple(map(str, found["criteria"])), str(found["critique"]))
        for which in ("top", "worst"):
            known.text(which)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); mend that or copy the model again") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} holds no conditions; copy the model again or remove the file") from error
    return known


def with_condition(prompt: Sequence[Message], condition: str) -> list[Message]:
    """A prompt with a condition at the end of its last user turn."""
    if not condition:
        return list(prompt)
    last = prompt[-1]
    return [*prompt[:-1], Message(role=last["role"], content=f"{last['content']}\n{condition}")]

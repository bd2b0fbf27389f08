"""Feedback on responses (DRESS, arXiv 2311.10081). A judge rates helpfulness, honesty and harmlessness from 1 to 4.

It also writes a critique (what is good and bad) and a refinement (what to do differently).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from seelevel.judge import JUDGE_SAMPLING, Judge, JudgeTemplate, Unscored, sample_ladder
from seelevel.judge import image_content as contents
from seelevel.judge.feedback_prompt import FEEDBACK
from seelevel.judge.replies import Record, json_verdict, plain_number
from seelevel.ladder import BEST, WORST, Feedback, Ladder, Message, Response, unmarked
from seelevel.levels import CRITERIA
from seelevel.models.base import Generator, Sampling

NUMBERS = ("rating", "score", "value")


def _number(value: Any) -> Any:
    if isinstance(value, dict) and len(value.keys() & NUMBERS) == 1:  # {"rating": 3, "reason": "…"}
        value = next(value[key] for key in NUMBERS if key in value)
    return plain_number(value, BEST)


def _words(value: Any) -> Any:
    """Read null as '', and a list of texts as one. Refuse half of a surrogate pair: JSON can contain it, a file cannot.
    Remove `<image>` marks: in the user's next turn one would stand for a picture."""
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = " ".join(value)
    if not isinstance(value, str):
        return "" if value is None else value
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError("it holds half of a surrogate pair, which is no Unicode text") from error
    return unmarked(value)


Rating = Annotated[Annotated[int, Field(ge=WORST, le=BEST)] | None, BeforeValidator(_number)]
Words = Annotated[str, BeforeValidator(_words)]


class Verdict(BaseModel):
    """A judge's reply. A criterion that does not apply, or that it cannot judge, is null."""

    model_config = ConfigDict(extra="ignore")

    helpfulness: Rating = None
    honesty: Rating = None
    harmlessness: Rating = None
    critique: Words = ""
    refinement: Words = ""

    @property
    def ratings(self) -> dict[str, int]:
        ratings = {name: getattr(self, name) for name in CRITERIA}
        return {name: rating for name, rating in ratings.items() if rating is not None}


_verdict = json_verdict(Verdict)


def parse(reply: str, record: Record) -> Verdict:
    """A judge's reply as a verdict. Raises ValueError with the reason if it is not one, or rates nothing."""
    verdict = _verdict(reply, record)
    if not verdict.ratings:
        raise ValueError("it rates nothing")
    return verdict


class Annotator:
    """`Annotator(judge).annotate([(ladder, response), ...])`: feedback on each, or `Unscored`, in order.

    name: the author in the feedback; template: a file of Jinja text, None for the package's; sees: whether the judge is
    shown the pictures. The template's variables: `image_content`, the pictures' annotations as lines; `context`, the
    turns before the question (`role`, `content`), system turns included; `question`; `answer`; `reference`, the
    standard answer or ''; `pictures`, how many are shown.
    """

    def __init__(
        self,
        model: Generator,
        name: str,
        template: str | None = None,
        sampling: Sampling = JUDGE_SAMPLING,
        sees: bool = False,
    ) -> None:
        self.judge = Judge(FEEDBACK if template is None else Path(template), parse, model, sampling)
        self.name, self.sees = name, sees

    def annotate(self, responses: Sequence[tuple[Ladder, Response]]) -> list[Feedback | Unscored]:
        """Feedback on each response (of one answer) to its ladder's prompt."""
        records = [template_record(ladder, response, self.sees) for ladder, response in responses]
        images = [[image.path for image in ladder.images] if self.sees else [] for ladder, _ in responses]
        return [
            verdict
            if isinstance(verdict, Unscored)
            else Feedback(verdict.ratings, verdict.critique, verdict.refinement, self.name)
            for verdict in self.judge.judge(records, images)
        ]


def template_record(ladder: Ladder, response: Response, sees: bool) -> dict[str, Any]:
    """The variables of a judge's template for one response."""
    standard = ladder.standard
    *before, question = [Message(role=m["role"], content=unmarked(m["content"]).strip()) for m in ladder.prompt]
    [answer] = response.messages
    return {
        "image_content": contents(ladder),
        "context": [turn for turn in before if turn["content"]],  # none for a picture alone
        "question": question["content"],
        "answer": answer["content"],
        "reference": "" if standard is None else standard.messages[0]["content"],
        "pictures": len(ladder.images) if sees else 0,
    }


def check_template(file: Path, sees: bool) -> None:
    """Raise `InputError` for a judge's template that cannot be rendered, or that does not show the answer."""
    sample = sample_ladder()
    first, second = (template_record(sample, answer, sees) for answer in sample.responses)
    JudgeTemplate(file).check(first, second, int(sees))

"""`feedback:` of a recipe."""

from __future__ import annotations

from itertools import product
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from seelevel.judge import JUDGE_SAMPLING
from seelevel.judge.conversation import REQUEST, request_text
from seelevel.ladder import IMAGE_MARK, Feedback
from seelevel.models.base import Sampling, is_server

Name = Annotated[str, Field(min_length=1)]


class FeedbackSettings(BaseModel):
    """A judge rates every response in numbers and words; a model may then refine its answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    judge: Name
    judge_template: str | None = Field(default=None, description="a file that replaces the package's template")
    judge_sees_pictures: bool = False
    judge_sampling: Sampling = JUDGE_SAMPLING
    model: Name | None = Field(default=None, description="the model that answers again; needed if rounds is above 1")
    rounds: int = Field(default=1, ge=1, le=10, description="answers per conversation, including the first")
    request: str = Field(
        default=REQUEST, description="the user's next turn, a Jinja text that may use `critique` and `refinement`"
    )
    sampling: Sampling = Sampling()
    batch_size: int | None = Field(default=None, ge=1, description="prompts at once; null: chosen by the model's size")
    ladders: Literal["rounds", "ratings"] = Field(
        default="rounds",
        description="rounds: one ladder per round (for conditional training); ratings: one ladder of all answers",
    )

    @property
    def words(self) -> str:
        """The settings in one line, for the report."""
        again = f", up to {self.rounds} answers per conversation, by {self.model}" if self.rounds > 1 else ""
        ladders = "per round" if self.ladders == "rounds" else "of all answers by their ratings"
        return f"judge {self.judge}{again}; one ladder {ladders}"

    @field_validator("request")
    @classmethod
    def _can_be_filled(cls, request: str) -> str:
        if IMAGE_MARK in request:
            raise ValueError(f"{IMAGE_MARK} marks a picture, which the conversation has shown already; remove it")
        for critique, refinement in product(("", "critique"), ("", "refinement")):
            text = request_text(request, Feedback({}, critique, refinement))
        if not text:
            raise ValueError("it is empty; the model would answer an empty turn")
        return request

    @model_validator(mode="after")
    def _someone_answers(self) -> Self:
        if self.rounds > 1 and self.model is None:
            raise ValueError("rounds: who answers again? Set model, or set rounds: 1")
        if self.sampling.num_beams > 1 and self.model is not None and is_server(self.model):
            raise ValueError("a server does not search with beams; set sampling.num_beams: 1")
        return self

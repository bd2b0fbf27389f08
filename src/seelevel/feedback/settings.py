"""What a recipe says about feedback."""

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
    """`feedback:` of a recipe: a judge rates every response in numbers and words; a model may answer again on them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    judge: Name
    judge_template: str | None = Field(default=None, description="a file in place of the package's template")
    judge_sees_pictures: bool = False
    judge_sampling: Sampling = JUDGE_SAMPLING
    model: Name | None = Field(default=None, description="who answers again, where there are rounds for it")
    rounds: int = Field(default=1, ge=1, le=10, description="answers of a conversation, the first among them")
    request: str = Field(default=REQUEST, description="the user's next turn: Jinja text of `critique`, `refinement`")
    sampling: Sampling = Sampling()
    batch_size: int | None = Field(
        default=None, ge=1, description="prompts at once; null is chosen by the model's size"
    )
    ladders: Literal["rounds", "ratings"] = Field(
        default="rounds",
        description="one ladder a round (conditional training), or one of all answers by their ratings",
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
            raise ValueError(f"{IMAGE_MARK} stands for a picture, and the conversation has shown it; take it away")
        for critique, refinement in product(("", "critique"), ("", "refinement")):
            text = request_text(request, Feedback({}, critique, refinement))
        if not text:
            raise ValueError("it says nothing, and the model would answer an empty turn")
        return request

    @model_validator(mode="after")
    def _someone_answers(self) -> Self:
        if self.rounds > 1 and self.model is None:
            raise ValueError("rounds: who answers again? Name it in model, or leave rounds at 1")
        if self.sampling.num_beams > 1 and self.model is not None and is_server(self.model):
            raise ValueError("a server does not search with beams; set sampling.num_beams: 1")
        return self

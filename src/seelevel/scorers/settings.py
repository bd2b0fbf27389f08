"""What a recipe says about evaluation."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from seelevel.models.base import Sampling

Rule = Literal["published", "strict"]


class EvaluateSettings(BaseModel):
    """`evaluate:` of a recipe. Short-answer benchmarks (POPE, capability) generate at most `short_tokens`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    benchmarks: list[str] = Field(default=["chair", "pope", "mrhal", "capability"], min_length=1)
    data: str = Field(description="evaluation folder: chair/ pope/ mrhal/ capability/ images/")
    judge: str | None = Field(default=None, description="who judges dialogues; none leaves them unscored")
    sampling: Sampling = Sampling(max_new_tokens=96)
    short_tokens: int = Field(default=16, ge=1)
    limit: int | None = Field(default=None, ge=1, description="at most so many questions a benchmark (a POPE set)")
    condition: str = Field(
        default="top", description="of an aligned model that was trained on conditions: top, worst, none, or 2/4/4"
    )
    rule: Rule = "published"
    lemmatizer: Literal["singularize", "wordnet"] = "singularize"

"""`evaluate:` of a recipe."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seelevel.judge import JUDGE_SAMPLING
from seelevel.models.base import Sampling

Rule = Literal["published", "strict", "vcd"]


class EvaluateSettings(BaseModel):
    """Benchmarks and how their questions are asked. Short answers (yes, no, a letter) have at most `short_tokens`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    benchmarks: list[str] = Field(
        default=["chair", "pope", "mrhal", "capability"],
        min_length=1,
        description='names of seelevel.scorers.SCORERS, or "module:attribute" of your own',
    )
    data: str = Field(description="evaluation folder: a subfolder per benchmark, and images/")
    judge: str | None = Field(default=None, description="the model that judges dialogues; null leaves them unscored")
    judge_sampling: Sampling = JUDGE_SAMPLING
    judge_repeats: int = Field(default=1, ge=1, le=100, description="how often the judge rates each answer")
    sampling: Sampling = Sampling(max_new_tokens=96)
    short_tokens: int = Field(default=16, ge=1)
    limit: int | None = Field(default=None, ge=1, description="most questions per benchmark, or per set of POPE")
    condition: str = Field(
        default="top", description="if the aligned model was trained on conditions: top, worst, none, or 2/4/4"
    )
    snapshots: bool = Field(default=False, description="also evaluate the snapshots that align keeps")
    rule: Rule = Field(default="published", description="how yes or no is read; vcd reads POPE alone")
    lemmatizer: Literal["singularize", "wordnet"] = "singularize"

    @model_validator(mode="after")
    def _repeats_differ(self) -> Self:
        if self.judge_repeats > 1 and self.judge_sampling.temperature == 0:
            raise ValueError(
                "judge_repeats: a greedy judge repeats its reply; set judge_sampling: {temperature: 0.7}, or "
                "judge_repeats: 1"
            )
        return self

    @property
    def words(self) -> str:
        """The settings in one line, for the report."""
        judge = "" if self.judge is None else f", judge {self.judge}"
        return f"{', '.join(self.benchmarks)} on {self.data}{judge}"

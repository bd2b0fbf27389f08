"""`generate:` of a recipe."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from seelevel.lookup import nearest
from seelevel.models.base import Sampling

GENERATORS = {"experts": "seelevel.generate.experts:generate"}
Name = Annotated[str, Field(min_length=1)]


class GenerateSettings(BaseModel):
    """Where a ladder's responses come from.

    `experts` (AMP 3.1.1) are models of one family, best first; the paper takes the three larger ones beside the
    standard response, so K = 4. `batch_size` is how many prompts a model answers at once: null is chosen by the
    model's size.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str = Field(default="experts", description="a name of seelevel.generate.GENERATORS")
    experts: list[Name] = Field(min_length=1)
    sampling: Sampling = Sampling()
    batch_size: int | None = Field(default=None, ge=1)

    @field_validator("method")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in GENERATORS:
            raise ValueError(f"method '{name}' is unknown; {nearest(name, GENERATORS)}")
        return name

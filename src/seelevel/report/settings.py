"""`report:` of a recipe."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ReportSettings(BaseModel):
    """How much the page shows. The defaults keep it below 3 MB."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str | None = Field(default=None, description="the page's title; null: the recipe's name")
    ladders: int = Field(default=6, ge=0, le=100, description="ladders shown in full")
    examples: int = Field(default=4, ge=0, le=100, description="examples shown per benchmark, of each direction")
    picture_side: int = Field(default=288, ge=32, le=2048, description="longest side of a shown picture, in pixels")
    picture_bytes: int = Field(
        default=2_000_000, ge=0, description="most bytes of all pictures; further pictures are left out"
    )

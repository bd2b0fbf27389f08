"""What a recipe may say about the check."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class CheckSettings(BaseModel):
    """How ladders are re-ordered (arXiv 2405.11165, section 3.1.3)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checker: str = Field(default="autocheck", description="a name of seelevel.check.CHECKERS")
    encoder: str = Field(description="a text encoder's folder or hub name")
    threshold: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="cosine above which a chunk is covered; null: the encoder's own, else 0.85",
    )
    parser: str = Field(default="builtin", description="builtin, a spaCy package that is installed, or a folder")

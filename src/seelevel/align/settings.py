"""What `align:` of a recipe may say."""

from __future__ import annotations

from pydantic import Field

from seelevel.training.settings import TrainSettings


class AlignSettings(TrainSettings):
    """How to train, and on which model: a folder, a hub name or, in recipes, `world:s`."""

    model: str = Field(min_length=1)

"""What the pipeline and the stage ask of the settings of every method."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seelevel.models.base import Sampling, is_server
from seelevel.training.objectives.settings import SftSettings
from seelevel.training.settings import TrainSettings

Name = Annotated[str, Field(min_length=1)]


class FinetuneSettings(TrainSettings):
    """The fine-tuning of the incremental models: its records, and the trainer's settings on standard responses."""

    prompts: Name = Field(description="records with answers, in any format that data.prompts takes")
    images: str | None = None
    format: str | None = Field(default=None, description="as data.format")
    columns: dict[str, str] = Field(default={}, description="as data.columns")
    fetch: bool = Field(default=False, description="as data.fetch")
    limit: int | None = Field(default=None, ge=1, description="only the first records, at most this many")
    max_rejected: float = Field(default=0.05, ge=0, le=1, description="the run stops above this share of bad records")
    objective: SftSettings = SftSettings()
    epochs: float = Field(default=1, gt=0)
    keep: bool = Field(default=True, description="keep the fine-tuned models in the run folder")

    def training(self) -> TrainSettings:
        """The trainer's settings alone: the weights do not depend on the path of the data."""
        return TrainSettings.model_validate(self.model_dump(include=set(TrainSettings.model_fields)))


class Method(BaseModel):
    """What the pipeline asks of every method: the models it loads, and the most levels its ladders have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    inference_only: ClassVar[bool] = False
    """Whether the models only answer prompts. Then they may be on servers."""

    @property
    def words(self) -> str:
        """The settings in one line, for the report."""
        raise NotImplementedError

    @property
    def models(self) -> list[str]:
        """The models that the method loads, as the recipe names them, in the method's order."""
        return []

    @property
    def answering(self) -> list[str]:
        """The models that answer every prompt; a model that answers twice is listed twice."""
        return self.models

    @property
    def max_answer_tokens(self) -> int | None:
        """The most tokens of a model's answer; None if no model answers."""
        return None

    @property
    def max_levels(self) -> int:
        """K, including the standard response; 0 if only the records tell."""
        raise NotImplementedError

    @property
    def ordered(self) -> bool:
        """Whether one response is best in its ladders; else a checker or a judge must find it."""
        return True

    @property
    def training_data(self) -> FinetuneSettings | None:
        """The records that the method trains on, besides the prompts that it answers."""
        return None

    def with_training_data(self, folder: Path) -> Method:
        """The same settings with `training_data` from a folder of ladders."""
        raise NotImplementedError

    def replaced(self, model: str, by: str) -> Self:
        """The same settings with another model wherever this one answers the prompts."""
        return self

    @property
    def parsers(self) -> list[str]:
        """The parsers that the method loads."""
        return []

    @property
    def files(self) -> list[str]:
        """The files that the method reads and that the responses depend on."""
        return []


class Answering(Method):
    """A method whose responses are models' answers.

    `batch_size`: the number of prompts that a model answers at once; null: chosen by the model's size.
    """

    sampling: Sampling = Sampling()
    batch_size: int | None = Field(default=None, ge=1)

    @property
    def max_answer_tokens(self) -> int:
        return self.sampling.max_new_tokens

    @model_validator(mode="after")
    def _no_beams_on_servers(self) -> Self:
        if self.sampling.num_beams > 1 and any(is_server(name) for name in self.answering):
            raise ValueError("a server does not search with beams; set sampling.num_beams: 1")
        return self

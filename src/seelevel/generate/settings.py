"""`generate:` of a recipe: a method and its settings. A key that the method does not know is refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from seelevel.judge import JUDGE_SAMPLING
from seelevel.models.base import Sampling, is_server
from seelevel.registry import nearest
from seelevel.training.objectives.settings import SftSettings
from seelevel.training.settings import TrainSettings

Name = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Rounds = Annotated[int, Field(ge=1, le=10)]


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
    def training_data(self) -> FinetuneSettings | None:
        """The records that the method trains on, besides the prompts that it answers."""
        return None

    def with_training_data(self, folder: Path) -> Method:
        """The same settings with `training_data` from a folder of ladders."""
        raise NotImplementedError

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


class ExpertsSettings(Answering):
    """MEG: models of one family, best first (AMP 3.1.1). The paper uses three, so K = 4 with the standard response."""

    inference_only = True
    method: Literal["experts"] = "experts"
    experts: list[Name] = Field(min_length=1)

    @property
    def words(self) -> str:
        return f"answers of {', '.join(self.experts)}, best first"

    @property
    def models(self) -> list[str]:
        return list(self.experts)

    @property
    def max_levels(self) -> int:
        return len(self.experts) + 1


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


class IncrementalSettings(Answering):
    """IG (AMP, algorithm 1): one model, fine-tuned afresh on 1, 2, … of the K - 2 equal parts of a fine-tuning set, and
    the model itself. More data is better. The paper: K = 5 with 30k, 60k and 90k records."""

    method: Literal["incremental"] = "incremental"
    model: Name = Field(description="the model before fine-tuning; its answers are the worst level")
    finetune: FinetuneSettings
    levels: int = Field(default=4, ge=3, description="K, including the standard response")

    @property
    def words(self) -> str:
        return f"{self.model} fine-tuned on growing parts of {self.finetune.prompts}"

    @property
    def models(self) -> list[str]:
        return [self.model]

    @property
    def answering(self) -> list[str]:
        return [self.model] * (self.levels - 1)

    @property
    def max_levels(self) -> int:
        return self.levels

    @property
    def training_data(self) -> FinetuneSettings | None:
        return self.finetune

    def with_training_data(self, folder: Path) -> IncrementalSettings:
        return self.model_copy(update={"finetune": self.finetune.model_copy(update={"prompts": str(folder)})})


class PerturbationSettings(Method):
    """Random words of the standard response are replaced; one lower level for each share of replaceable words."""

    method: Literal["perturbation"] = "perturbation"
    shares: list[Share] = Field(default=[0.1, 0.3, 0.5], min_length=1, description="one share per lower level, rising")
    parser: str = Field(default="builtin", description="builtin, an installed spaCy package, or a folder")

    @field_validator("shares")
    @classmethod
    def _rising(cls, shares: list[float]) -> list[float]:
        if any(a >= b for a, b in pairwise(shares)):
            raise ValueError("the shares must rise: the first is that of the best lower level")
        return shares

    @property
    def words(self) -> str:
        return f"perturbation of {', '.join(f'{share:.0%}' for share in self.shares)} of the words"

    @property
    def max_levels(self) -> int:
        return len(self.shares) + 1

    @property
    def parsers(self) -> list[str]:
        return [self.parser]


class Writing(Answering):
    """A method in which `writer` writes prompts with answers, and `experts`, best first, answer them too."""

    inference_only = True
    writer: Name
    experts: list[Name]
    writer_sampling: Sampling = Sampling(max_new_tokens=1024)
    template: str | None = Field(default=None, description="a file that replaces the package's template for the writer")

    @property
    def answering(self) -> list[str]:
        return list(self.experts)

    @property
    def max_levels(self) -> int:
        return len(self.experts) + 1

    @property
    def files(self) -> list[str]:
        return [] if self.template is None else [self.template]


class DialoguesSettings(Writing):
    """Dialogues of several rounds (AMP A.2): `writer` writes questions about the pictures and answers them, `experts`,
    best first, answer the same questions round by round."""

    method: Literal["dialogues"] = "dialogues"
    experts: list[Name] = Field(min_length=1)
    rounds: tuple[Rounds, Rounds] = Field(default=(2, 5), description="fewest and most questions per dialogue")
    writer_sees_pictures: bool = True

    @field_validator("rounds")
    @classmethod
    def _in_order(cls, rounds: tuple[int, int]) -> tuple[int, int]:
        if rounds[0] > rounds[1]:
            raise ValueError("rounds: the fewest come first, then the most")
        return rounds

    @property
    def words(self) -> str:
        return f"dialogues written by {self.writer}; answers of {', '.join(self.experts)}, best first"

    @property
    def models(self) -> list[str]:
        return [self.writer, *self.experts]


class RequestsSettings(Writing):
    """Requests to refuse (VLSafe, arXiv 2311.10081): `writer` writes them, with refusals, from the pictures'
    annotations; `judge` sets harmless ones aside; `experts`, best first, answer them too."""

    method: Literal["requests"] = "requests"
    judge: Name
    judge_sampling: Sampling = JUDGE_SAMPLING
    experts: list[Name] = []
    per_picture: int = Field(default=1, ge=1, le=20, description="requests per picture")
    repeats: int | None = Field(default=1, ge=1, description="the most pictures with the same request; null: no limit")

    @property
    def words(self) -> str:
        answers = f"; answers of {', '.join(self.experts)}, best first" if self.experts else ""
        return f"requests to refuse, written by {self.writer}, judged by {self.judge}{answers}"

    @property
    def models(self) -> list[str]:
        return [self.writer, self.judge, *self.experts]


class GivenSettings(Method):
    """The records' own responses, unchanged: existing ladders or interactions."""

    method: Literal["given"] = "given"

    @property
    def words(self) -> str:
        return "the records' own responses"

    @property
    def max_levels(self) -> int:
        return 0


SETTINGS: dict[str, type[Method]] = {
    "experts": ExpertsSettings,
    "incremental": IncrementalSettings,
    "perturbation": PerturbationSettings,
    "dialogues": DialoguesSettings,
    "requests": RequestsSettings,
    "given": GivenSettings,
}
"""The settings of each method of `seelevel.generate.GENERATORS`."""


def _by_method(value: Any) -> Any:
    """The settings of the named method; without a name, of `experts`."""
    if not isinstance(value, dict):
        return value
    name = value.get("method", "experts")
    if not isinstance(name, str) or name not in SETTINGS:
        raise ValueError(f"method '{name}' is unknown; {nearest(str(name), SETTINGS)}")
    return SETTINGS[name].model_validate(value)


GenerateSettings = Annotated[
    ExpertsSettings | IncrementalSettings | PerturbationSettings | DialoguesSettings | RequestsSettings | GivenSettings,
    BeforeValidator(_by_method),
]

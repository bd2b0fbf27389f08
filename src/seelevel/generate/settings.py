"""`generate:` of a recipe: a method and its settings. A key that the method does not know is refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from seelevel.generate.method import Answering, FinetuneSettings, Method, Name
from seelevel.judge import JUDGE_SAMPLING
from seelevel.models.base import Sampling
from seelevel.registry import nearest

Share = Annotated[float, Field(gt=0, le=1)]
Rounds = Annotated[int, Field(ge=1, le=10)]
Samples = Annotated[int, Field(strict=True, ge=1, le=64)]


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

    def replaced(self, model: str, by: str) -> Self:
        return self.model_copy(update={"experts": [by if name == model else name for name in self.experts]})


class SamplesSettings(Answering):
    """Samples of one model per prompt, in no order: the check ranks them."""

    inference_only = True
    method: Literal["samples"] = "samples"
    model: Annotated[
        Annotated[Name, Tag("one")] | Annotated[dict[Name, Samples], Field(min_length=1), Tag("several")],
        Discriminator(
            lambda model: {str: "one", dict: "several"}.get(type(model)),
            custom_error_type="model",
            custom_error_message="Name a model, or the samples of each of several, such as {world:s: 4, world:m: 2}",
        ),
    ] = Field(description="a model; or of several, the samples of each by its name")
    n: Samples = Field(default=6, description="samples per prompt")
    greedy: bool = Field(default=False, description="a greedy answer of each model too")
    standard: bool = Field(default=True, description="the standard response is the best level")
    min_difference: float = Field(
        default=0.0, ge=0, le=1, description="share of the words by which a sample must differ from each other response"
    )
    sampling: Sampling = Sampling(temperature=1.0)

    @field_validator("sampling", mode="before")
    @classmethod
    def _with_a_temperature(cls, sampling: Any) -> Any:
        return {"temperature": 1.0, **sampling} if isinstance(sampling, dict) else sampling

    @model_validator(mode="after")
    def _can_differ(self) -> Self:
        if self.sampling.temperature == 0:
            raise ValueError("without a temperature all samples are the same; set sampling.temperature: 1.0")
        if isinstance(self.model, dict) and self.n != type(self).model_fields["n"].default:
            raise ValueError("model: {name: samples} says how many samples of each model; leave out n")
        return self

    @property
    def counts(self) -> dict[str, int]:
        """Samples per prompt by model."""
        return self.model if isinstance(self.model, dict) else {self.model: self.n}

    @property
    def words(self) -> str:
        each = " and ".join(f"{count} of {name}" for name, count in self.counts.items())
        greedy, below = " and a greedy answer" * self.greedy, ", below the standard response" * self.standard
        return f"samples: {each}, at temperature {self.sampling.temperature:g}{greedy}{below}"

    @property
    def models(self) -> list[str]:
        return list(self.counts)

    @property
    def answering(self) -> list[str]:
        return [name for name, count in self.counts.items() for _ in range(count + self.greedy)]

    @property
    def max_levels(self) -> int:
        return len(self.answering) + self.standard

    def replaced(self, model: str, by: str) -> Self:
        counts = {by if name == model else name: count for name, count in self.counts.items()}
        return self.model_copy(update={"model": counts if isinstance(self.model, dict) else next(iter(counts))})

    @property
    def ordered(self) -> bool:
        return self.standard


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

    def replaced(self, model: str, by: str) -> Self:
        return self.model_copy(update={"experts": [by if name == model else name for name in self.experts]})

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
    experts: list[Name] = Field(default=[])
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
    "samples": SamplesSettings,
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
    ExpertsSettings
    | SamplesSettings
    | IncrementalSettings
    | PerturbationSettings
    | DialoguesSettings
    | RequestsSettings
    | GivenSettings,
    BeforeValidator(_by_method),
]

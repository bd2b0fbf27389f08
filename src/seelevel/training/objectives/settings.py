"""The settings of each objective, and which ladders it learns from. Torch-free. `name` selects the class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from seelevel.errors import InputError
from seelevel.ladder import Ladder
from seelevel.levels import preference_pairs
from seelevel.models.conditions import TEMPLATE, Conditions, Refined, check_template, conditioned, conditions_of
from seelevel.registry import import_named, nearest

if TYPE_CHECKING:
    from torch import Tensor

    from seelevel.training.objectives.logprobs import TokenLogprobs
    from seelevel.training.objectives.logs import Logs

Penalty = Literal["none", "paper", "scaled", "mean", "clamped", "clamped-tokens", "anchored", "dpop"]
Criterion = Literal["helpfulness", "honesty", "harmlessness"]
PairLoss = Literal["sigmoid", "hinge", "ipo"]
Pairs = Literal["all", "adjacent", "best-vs-rest", "best-vs-worst"] | list[tuple[int, int]]


def _plain(value: Any) -> str:
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)


class Objective(BaseModel):
    """The settings of an objective. A subclass outside this package is named `"module:class"` in a recipe; its fields
    are the keys that the recipe may set, and it overrides `compute_loss`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    needs_reference: ClassVar[bool] = True
    """Whether `compute_loss` gets the reference's log-probs; if not, they are never computed."""
    best_only: ClassVar[bool] = False
    """Whether it trains on a ladder's best responses alone."""

    name: str
    round_weight: float = Field(
        default=0.05, ge=0, description="a token of answer round t (from 0) weighs 1 + round_weight · t"
    )

    @property
    def words(self) -> str:
        """The objective and its parameters in one line, for the report."""
        parameters = self.model_dump(exclude={"name"}, exclude_none=True)
        shown = [f"{key.replace('_', ' ')} {_plain(value)}" for key, value in parameters.items()]
        return f"{self.name} ({', '.join(shown)})"

    def compute_loss(
        self, policy: TokenLogprobs, reference: TokenLogprobs | None, ladders: Sequence[Ladder]
    ) -> tuple[Tensor, Logs]:
        """The mean loss over the ladders with a signal, and the figures to log. The package's own objectives have a
        function in a file of their own instead, `seelevel.training.objectives.OBJECTIVES`."""
        raise NotImplementedError(f"objective {self.name}: {type(self).__name__} has no method compute_loss")

    def has_signal(self, levels: Sequence[int]) -> bool:
        """Whether this objective learns anything from a ladder with these levels."""
        return len(set(levels)) > 1

    def select_responses(self, ladder: Ladder) -> Ladder:
        """The ladder with only the responses that this objective trains on. The others need no forward pass."""
        if not self.best_only or not ladder.responses:
            return ladder
        best = min(ladder.levels)
        return replace(ladder, responses=[response for response in ladder.responses if response.level == best])

    def conditions(self, ladders: Sequence[Ladder]) -> Conditions | None:
        """The conditions that a policy trained on these ladders accepts; None if it is trained without conditions."""
        return None

    def why_unusable(self, ladders: Sequence[Ladder]) -> str | None:
        """Why this objective learns from none of these ladders, and what to change; None if it learns from one.

        Call it before a model is loaded.
        """
        if any(self.has_signal(ladder.levels) for ladder in ladders):
            return None
        sizes = [len(ladder.levels) for ladder in ladders]
        counts = {
            "no response": sizes.count(0),
            "one response": sizes.count(1),
            "ties only": sum(size > 1 for size in sizes),
        }
        kinds = ", ".join(f"{count} with {kind}" for kind, count in counts.items() if count)
        return (
            f"objective {self.name} needs a ladder with responses of two levels; there are {kinds or 'no ladders'}; "
            "generate more responses per prompt or, to learn the best ones alone, use objective sft"
        )


class _Pairwise(Objective):
    beta: float = Field(default=0.1, gt=0)
    pairs: Pairs = "all"

    @field_validator("pairs")
    @classmethod
    def _better_and_worse(cls, pairs: Pairs) -> Pairs:
        if isinstance(pairs, list) and not (pairs and all(0 <= a < b for a, b in pairs)):
            raise ValueError("pairs are a list of [better level, worse level], such as [[0, 1]] (0 is best)")
        return pairs

    def has_signal(self, levels: Sequence[int]) -> bool:
        return bool(preference_pairs(levels, self.pairs))

    def why_unusable(self, ladders: Sequence[Ladder]) -> str | None:
        if isinstance(self.pairs, str) or not any(len(set(ladder.levels)) > 1 for ladder in ladders):
            return super().why_unusable(ladders)
        if any(self.has_signal(ladder.levels) for ladder in ladders):
            return None
        pairs = [list(pair) for pair in self.pairs]
        levels = sorted({level for ladder in ladders for level in ladder.levels})
        return (
            f"objective {self.name}: pairs {pairs} match none of {len(ladders)} ladders, which have levels "
            f"{', '.join(map(str, levels))}; name two levels that occur in one ladder, or use pairs: all"
        )


class MdpoSettings(_Pairwise):
    """AMP's multi-level DPO (arXiv 2405.11165, eq. 6-7; not the mDPO of arXiv 2406.11839)."""

    name: Literal["mdpo"] = "mdpo"
    penalty: Penalty = Field(default="paper", description="term that keeps the best responses likely: `penalties`")
    weight: float = Field(default=1.0, ge=0, description="λ of the penalty")


class DpoSettings(_Pairwise):
    """DPO (arXiv 2305.18290), IPO (arXiv 2310.12036) or hinge (arXiv 2309.06657), best against worst response."""

    name: Literal["dpo"] = "dpo"
    pairs: Pairs = "best-vs-worst"
    loss: PairLoss = "sigmoid"
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5, description="ε of conservative DPO, loss sigmoid only")
    per_token: bool | None = Field(default=None, description="log-probs as means over tokens; null: in ipo only")

    @model_validator(mode="after")
    def _smoothing_has_a_meaning(self) -> DpoSettings:
        if self.label_smoothing and self.loss != "sigmoid":
            raise ValueError(f"label_smoothing belongs to loss: sigmoid; leave it out of loss: {self.loss}")
        return self

    @property
    def in_means(self) -> bool:
        """Whether log-probabilities are means over tokens."""
        return self.loss == "ipo" if self.per_token is None else self.per_token


class KwiseSettings(Objective):
    """K-wise comparison of the whole ranking (arXiv 2301.11270)."""

    name: Literal["kwise"] = "kwise"
    beta: float = Field(default=0.1, gt=0)


class ProSettings(Objective):
    """Preference ranking optimisation (arXiv 2306.17492): ranking by the policy's own log-probs, and SFT."""

    needs_reference: ClassVar[bool] = False

    name: Literal["pro"] = "pro"
    gamma: float = Field(default=0.05, ge=0, description="weight of SFT, times (levels − 1)²")
    score: str | None = Field(default="score", description="the responses' score that sets temperatures; null: T = 1")


class DdpoSettings(_Pairwise):
    """Dense DPO (RLHF-V, arXiv 2312.00849): what differs within a pair weighs more."""

    name: Literal["ddpo"] = "ddpo"
    beta: float = Field(default=0.5, gt=0)
    pairs: Pairs = "best-vs-worst"
    gamma: float = Field(default=5.0, gt=0, description="weight of a token that the pair's other response lacks")


class SftSettings(Objective):
    """Fine-tuning on the best responses alone."""

    needs_reference: ClassVar[bool] = False
    best_only: ClassVar[bool] = True

    name: Literal["sft"] = "sft"
    round_weight: float = Field(default=0.0, ge=0)

    def has_signal(self, levels: Sequence[int]) -> bool:
        return len(levels) > 0

    def why_unusable(self, ladders: Sequence[Ladder]) -> str | None:
        if any(ladder.levels for ladder in ladders):
            return None
        return f"objective {self.name} needs a response; {len(ladders)} ladders have none; generate some"


class ConditionalSettings(Objective):
    """Every response given its feedback (DRESS, arXiv 2311.10081)."""

    needs_reference: ClassVar[bool] = False

    name: Literal["conditional"] = "conditional"
    round_weight: float = Field(default=0.0, ge=0)
    template: str | None = Field(default=None, description="Jinja text of `ratings` and `critique`; null: TEMPLATE")
    criteria: list[Criterion] = Field(
        default=["helpfulness", "honesty", "harmlessness"],
        min_length=1,
        description="rated in every condition; one that does not apply gets the best rating",
    )
    dropout: float = Field(default=0.1, ge=0, le=1, description="share of responses trained without their condition")
    critique_dropout: float = Field(
        default=0.5, ge=0, le=1, description="share of the conditions that are ratings alone"
    )
    refined: Refined = Field(
        default="no worse", description="train on refined answers rated no worse than the one before; or only better"
    )

    @field_validator("criteria")
    @classmethod
    def _each_once(cls, criteria: list[Criterion]) -> list[Criterion]:
        if len(set(criteria)) < len(criteria):
            raise ValueError("name each once")
        return criteria

    @model_validator(mode="after")
    def _can_be_filled(self) -> Self:
        if self.template is not None:
            check_template(self.template, self.criteria)
        return self

    def has_signal(self, levels: Sequence[int]) -> bool:
        return len(levels) > 0

    def select_responses(self, ladder: Ladder) -> Ladder:
        template = self.template or TEMPLATE
        return conditioned(ladder, template, self.criteria, self.dropout, self.critique_dropout, self.refined)

    def conditions(self, ladders: Sequence[Ladder]) -> Conditions | None:
        conditions = conditions_of(ladders, self.template or TEMPLATE, self.criteria)
        return conditions if self.critique_dropout < 1 else replace(conditions, critique="")

    def why_unusable(self, ladders: Sequence[Ladder]) -> str | None:
        responses = [response for ladder in ladders for response in ladder.responses]
        if any(response.condition or (response.feedback and response.feedback.ratings) for response in responses):
            return None
        return (
            f"objective {self.name} needs rated responses; none of {len(responses)} in {len(ladders)} ladders is; "
            "add a feedback: stage to rate them or, to learn the best ones alone, use objective sft"
        )


BuiltIn = MdpoSettings | DpoSettings | KwiseSettings | ProSettings | DdpoSettings | SftSettings | ConditionalSettings
NAMES = tuple(kind.model_fields["name"].default for kind in get_args(BuiltIn))


def _by_name(value: Any, built_in: ValidatorFunctionWrapHandler) -> Any:
    """Validate `name: "module:class"` by that class, any other name by the package's class of that name."""
    name = value.get("name") if isinstance(value, dict) else None
    if isinstance(value, Objective) or not isinstance(name, str) or name in NAMES:
        return value if isinstance(value, Objective) else built_in(value)
    if ":" not in name:
        raise ValueError(f"name: '{name}' is unknown; {nearest(name, NAMES)}")
    try:
        kind = import_named(name)
    except InputError as error:
        raise ValueError(f"name: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, Objective)):
        raise ValueError(f"name: {name} is not a subclass of {Objective.__module__}.Objective")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise ValueError(f"key '{key}' is unknown; {nearest(key, kind.model_fields)}") from error
        raise ValueError(f"{key}: {first['msg']}") from error


ObjectiveSettings = Annotated[SerializeAsAny[Annotated[BuiltIn, Field(discriminator="name")]], WrapValidator(_by_name)]

"""The settings of each objective, and which ladders it learns from. Torch-free. `name` selects the class."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
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
from seelevel.training.objectives.base import BestOnly, Pairs, Pairwise, without_score
from seelevel.training.objectives.base import Objective as Objective
from seelevel.training.objectives.picture_settings import AncpoSettings, CopoSettings, SymmpoSettings
from seelevel.training.objectives.views import View

Penalty = Literal["none", "paper", "scaled", "mean", "clamped", "clamped-tokens", "anchored", "dpop"]
Criterion = Literal["helpfulness", "honesty", "harmlessness"]
PairLoss = Literal[
    "sigmoid",
    "sigmoid_norm",
    "hinge",
    "ipo",
    "robust",
    "exo_pair",
    "nca_pair",
    "bco_pair",
    "sppo_hard",
    "apo_zero",
    "apo_down",
    "discopop",
    "aot",
    "aot_unpaired",
]
SMOOTHED = ("sigmoid", "robust", "exo_pair", "aot", "aot_unpaired")
"""Pair losses that use `label_smoothing`."""


class MdpoSettings(Pairwise):
    """AMP's multi-level DPO (arXiv 2405.11165, eq. 6-7; not the mDPO of arXiv 2406.11839)."""

    name: Literal["mdpo"] = "mdpo"
    penalty: Penalty = Field(default="paper", description="term that keeps the best responses likely: `penalties`")
    weight: float = Field(default=1.0, ge=0, description="λ of the penalty")


class DpoSettings(Pairwise):
    """DPO (arXiv 2305.18290) and its variants, `pair_losses`; best against worst response by default."""

    name: Literal["dpo"] = "dpo"
    pairs: Pairs = "best-vs-worst"
    loss: PairLoss = "sigmoid"
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5, description="ε, the share of preferences that are wrong")
    discopop_tau: float = Field(default=0.05, gt=0, description="τ of loss discopop")
    per_token: bool | None = Field(
        default=None, description="log-probs as means over tokens; null: in ipo and sigmoid_norm only"
    )
    ld_alpha: float | None = Field(
        default=None, ge=0, le=1, description="weight of a pair's tokens beyond its shorter response (LD-DPO)"
    )

    @model_validator(mode="after")
    def _uses_what_is_set(self) -> Self:
        if self.label_smoothing and self.loss not in SMOOTHED:
            raise ValueError(
                f"label_smoothing has no meaning for loss: {self.loss}, but for {', '.join(SMOOTHED)}; leave it out"
            )
        if not self.label_smoothing and self.loss in ("exo_pair", "robust"):
            raise ValueError(f"loss: {self.loss} needs label_smoothing above 0, such as 0.001 (exo_pair), 0.1 (robust)")
        if self.discopop_tau != type(self).model_fields["discopop_tau"].default and self.loss != "discopop":
            raise ValueError(f"discopop_tau has no meaning for loss: {self.loss}, but for discopop; leave it out")
        return self

    @property
    def in_means(self) -> bool:
        """Whether log-probabilities are means over tokens."""
        return self.loss in ("ipo", "sigmoid_norm") if self.per_token is None else self.per_token

    def why_unusable(self, ladders: Sequence[Ladder]) -> str | None:
        reason = super().why_unusable(ladders)
        most = max((len(preference_pairs(ladder.levels, self.pairs)) for ladder in ladders), default=0)
        if reason is None and self.loss.startswith("aot") and most < 2:
            return (
                f"objective {self.name}: loss: {self.loss} sorts the pairs of a ladder, and with these pairs none of "
                f"{len(ladders)} ladders has two pairs; set pairs: all, generate more responses per prompt, or use "
                "loss: sigmoid, which is the same for one pair"
            )
        return reason


class KwiseSettings(Objective):
    """K-wise comparison of the whole ranking (arXiv 2301.11270)."""

    name: Literal["kwise"] = "kwise"
    beta: float = Field(default=0.1, gt=0)


class ProSettings(Objective):
    """Preference ranking optimisation (arXiv 2306.17492): ranking by the policy's own log-probs, and SFT."""

    name: Literal["pro"] = "pro"
    gamma: float = Field(default=0.05, ge=0, description="weight of SFT, times (levels − 1)²")
    score: str | None = Field(default="score", description="the responses' score that sets temperatures; null: T = 1")

    @property
    def needs_reference(self) -> bool:
        return False

    def why_unusable(self, ladders: Sequence[Ladder]) -> str | None:
        read = None if self.score == type(self).model_fields["score"].default else self.score
        return super().why_unusable(ladders) or without_score(self.name, ladders, read)


class DdpoSettings(Pairwise):
    """Dense DPO (RLHF-V, arXiv 2312.00849): what differs within a pair weighs more."""

    name: Literal["ddpo"] = "ddpo"
    beta: float = Field(default=0.5, gt=0)
    pairs: Pairs = "best-vs-worst"
    gamma: float = Field(default=5.0, gt=0, description="weight of a token that the pair's other response lacks")


class SftSettings(BestOnly):
    """Fine-tuning on the best responses alone."""

    name: Literal["sft"] = "sft"
    round_weight: float = Field(default=0.0, ge=0)
    per_token: bool = Field(default=False, description="mean over tokens instead of the sum")

    @property
    def needs_reference(self) -> bool:
        return False


class ConditionalSettings(Objective):
    """Every response given its feedback (DRESS, arXiv 2311.10081)."""

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

    @property
    def needs_reference(self) -> bool:
        return False

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


class GrpoSettings(Objective):
    """Policy gradient on a ladder's responses, with advantages relative to their group (GRPO, arXiv 2402.03300)."""

    name: Literal["grpo"] = "grpo"
    score: str | None = Field(default=None, description="the responses' score that is their reward; null: their level")
    advantage: Literal["grpo", "rloo"] = Field(
        default="grpo", description="reward − mean, over the deviation; or reward − mean of the others"
    )
    ratio: Literal["token", "response", "none"] = Field(
        default="token", description="importance ratio to the reference, by token or response; none: log-probs"
    )
    clip: float = Field(default=0.2, gt=0, lt=1, description="a ratio counts within 1 ± clip")
    per_token: bool = Field(default=True, description="a response is the mean over its tokens; false: the sum")

    @model_validator(mode="after")
    def _clips_a_ratio(self) -> Self:
        if self.ratio == "none" and self.clip != type(self).model_fields["clip"].default:
            raise ValueError("clip has no meaning for ratio: none; leave it out")
        return self

    @property
    def needs_reference(self) -> bool:
        return self.ratio != "none"

    def why_unusable(self, ladders: Sequence[Ladder]) -> str | None:
        return super().why_unusable(ladders) or without_score(self.name, ladders, self.score)


def _by_name(value: Any, built_in: ValidatorFunctionWrapHandler) -> Any:
    """Validate `name: "module:class"` by that class, any other name by the package's class of that name."""
    if isinstance(value, Objective):
        return value
    if not isinstance(value, dict):
        raise ValueError(f"an objective is a mapping, such as {{name: {value if value in NAMES else NAMES[0]}}}")
    if "name" not in value:
        raise ValueError(f"name is missing; known: {', '.join(sorted(NAMES))}")
    name = value["name"]
    if not isinstance(name, str) or name in NAMES:
        return built_in(value)
    if ":" not in name:
        raise ValueError(f"name: '{name}' is unknown; {nearest(name, NAMES)}")
    try:
        kind = import_named(name)
    except InputError as error:
        raise ValueError(f"name: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, Objective)):
        raise ValueError(f"name: {name} is not a subclass of {__name__}.Objective")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise ValueError(f"key '{key}' is unknown; {nearest(key, kind.model_fields)}") from error
        raise ValueError(f"{key}: {first['msg']}") from error


def _as_term(value: Any, built_in: ValidatorFunctionWrapHandler) -> Any:
    if isinstance(value, MpoSettings) or (isinstance(value, dict) and value.get("name") == "mpo"):
        raise ValueError("mpo has no place in mpo; name its terms")
    return _by_name(value, built_in)


Alone = (
    MdpoSettings
    | DpoSettings
    | KwiseSettings
    | ProSettings
    | DdpoSettings
    | CopoSettings
    | AncpoSettings
    | SymmpoSettings
    | SftSettings
    | ConditionalSettings
    | GrpoSettings
)
Term = Annotated[SerializeAsAny[Annotated[Alone, Field(discriminator="name")]], WrapValidator(_as_term)]
Weight = Annotated[float, Field(gt=0)]


class MpoSettings(Objective):
    """A weighted sum of objectives; by default InternVL's mixed preference optimisation (MPO, arXiv 2411.10442)."""

    name: Literal["mpo"] = "mpo"
    terms: list[Term] = Field(
        default=[DpoSettings(), DpoSettings(loss="bco_pair"), SftSettings(per_token=True)],
        min_length=1,
        description="objectives, each with its settings",
    )
    weights: list[Weight] = Field(default=[0.8, 0.2, 1.0], description="one per term")

    @model_validator(mode="after")
    def _can_be_added(self) -> Self:
        if "terms" in self.model_fields_set and "weights" not in self.model_fields_set:
            raise ValueError("terms needs weights, one per term, such as weights: [1.0, 0.5]")
        if len(self.weights) != len(self.terms):
            raise ValueError(f"weights has {len(self.weights)} numbers for {len(self.terms)} terms; give one per term")
        terms: Sequence[Objective] = self.terms
        for term in terms:
            if type(term).select_responses is not Objective.select_responses:
                raise ValueError(
                    f"terms: {term.name} trains on prompts or responses of its own, so that it cannot be added; use it "
                    "alone"
                )
        if self.round_weight != Objective.model_fields["round_weight"].default:
            raise ValueError("round_weight belongs to each of the terms")
        return self

    @property
    def needs_reference(self) -> bool:
        return any(term.needs_reference for term in self.terms)

    @property
    def best_only(self) -> bool:
        return all(term.best_only for term in self.terms)

    @property
    def words(self) -> str:
        weighted = zip(self.weights, self.terms, strict=True)
        return f"{self.name} ({' + '.join(f'{weight:g} × {term.words}' for weight, term in weighted)})"

    def has_signal(self, levels: Sequence[int]) -> bool:
        return any(term.has_signal(levels) for term in self.terms)

    def views(self, ladders: Sequence[Ladder], seed: int) -> list[dict[str, View]]:
        of_terms = [term.views(ladders, seed) for term in self.terms]
        return [
            {name: view for views in of_ladder for name, view in views.items()}
            for of_ladder in zip(*of_terms, strict=True)
        ]

    def learns_from(self, ladder: Ladder, views: Container[str]) -> bool:
        return any(term.learns_from(ladder, views) for term in self.terms)

    def why_unusable(self, ladders: Sequence[Ladder]) -> str | None:
        reasons = (term.why_unusable(ladders) for term in self.terms)
        return next((f"objective {self.name}: {reason}" for reason in reasons if reason), None)


BuiltIn = Alone | MpoSettings
NAMES = tuple(kind.model_fields["name"].default for kind in get_args(BuiltIn))
ObjectiveSettings = Annotated[SerializeAsAny[Annotated[BuiltIn, Field(discriminator="name")]], WrapValidator(_by_name)]

"""What each objective can be told, and which ladders it learns from. Torch-free; the `name` decides which it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from seelevel.ladder import Ladder, preference_pairs
from seelevel.models.conditions import TEMPLATE, Conditions, Refined, check_template, conditioned, conditions_of

Penalty = Literal["none", "paper", "scaled", "mean", "clamped", "clamped-tokens", "anchored", "dpop"]
Criterion = Literal["helpfulness", "honesty", "harmlessness"]
PairLoss = Literal["sigmoid", "hinge", "ipo"]
Pairs = Literal["all", "adjacent", "best-vs-rest", "best-vs-worst"] | list[tuple[int, int]]


def _plain(value: Any) -> str:
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)


class _Objective(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    needs_reference: ClassVar[bool] = True
    best_only: ClassVar[bool] = False
    """Whether it looks at a ladder's best responses alone."""

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

    def counts(self, levels: Sequence[int]) -> bool:
        """Whether a ladder with these levels says anything to this objective."""
        return len(set(levels)) > 1

    def seen(self, ladder: Ladder) -> Ladder:
        """A ladder with those of its responses that this objective looks at; the others need no forward pass."""
        if not self.best_only or not ladder.responses:
            return ladder
        best = min(ladder.levels)
        return replace(ladder, responses=[response for response in ladder.responses if response.level == best])

    def asked_for(self, ladders: Sequence[Ladder]) -> Conditions | None:
        """What a policy trained on these ladders can be asked for; None where conditions play no part."""
        return None

    def refusal(self, ladders: Sequence[Ladder]) -> str | None:
        """Why none of these ladders says anything to this objective and how to mend it, in a line; None if one does.

        To be asked before a model is loaded.
        """
        if any(self.counts(ladder.levels) for ladder in ladders):
            return None
        kinds = {"no response": 0, "one response": 0, "ties only": 0}
        for ladder in ladders:
            kinds[list(kinds)[min(len(ladder.levels), 2)]] += 1
        found = ", ".join(f"{count} with {kind}" for kind, count in kinds.items() if count)
        return (
            f"objective {self.name} needs a ladder with responses of two levels; there are {found or 'no ladders'}; "
            "generate more responses a prompt or, to learn the best ones alone, use objective sft"
        )


class _Pairwise(_Objective):
    beta: float = Field(default=0.1, gt=0)
    pairs: Pairs = "all"

    @field_validator("pairs")
    @classmethod
    def _better_and_worse(cls, pairs: Pairs) -> Pairs:
        if isinstance(pairs, list) and not (pairs and all(0 <= a < b for a, b in pairs)):
            raise ValueError("pairs are a list of [better level, worse level], such as [[0, 1]] (0 is best)")
        return pairs

    def counts(self, levels: Sequence[int]) -> bool:
        return bool(preference_pairs(levels, self.pairs))

    def refusal(self, ladders: Sequence[Ladder]) -> str | None:
        if isinstance(self.pairs, str) or not any(len(set(ladder.levels)) > 1 for ladder in ladders):
            return super().refusal(ladders)
        if any(self.counts(ladder.levels) for ladder in ladders):
            return None
        pairs, levels = list(map(list, self.pairs)), sorted({level for ladder in ladders for level in ladder.levels})
        return (
            f"objective {self.name}: pairs {pairs} match none of {len(ladders)} ladders, which have levels "
            f"{', '.join(map(str, levels))}; name two levels that stand in one ladder, or use pairs: all"
        )


class MdpoSettings(_Pairwise):
    """AMP's multi-level DPO (arXiv 2405.11165, eq. 6-7; not the mDPO of arXiv 2406.11839)."""

    name: Literal["mdpo"] = "mdpo"
    penalty: Penalty = Field(default="paper", description="what the best responses are charged for: `penalties`")
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


class KwiseSettings(_Objective):
    """K-wise comparison of the whole ranking (arXiv 2301.11270)."""

    name: Literal["kwise"] = "kwise"
    beta: float = Field(default=0.1, gt=0)


class ProSettings(_Objective):
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
    gamma: float = Field(default=5.0, gt=0, description="weight of a token that the pair's other response has not")


class SftSettings(_Objective):
    """Fine-tuning on the best responses alone."""

    needs_reference: ClassVar[bool] = False
    best_only: ClassVar[bool] = True

    name: Literal["sft"] = "sft"
    round_weight: float = Field(default=0.0, ge=0)

    def counts(self, levels: Sequence[int]) -> bool:
        return len(levels) > 0

    def refusal(self, ladders: Sequence[Ladder]) -> str | None:
        if any(ladder.levels for ladder in ladders):
            return None
        return f"objective {self.name} needs a ladder with a response; {len(ladders)} ladders have none; generate some"


class ConditionalSettings(_Objective):
    """Every response given its feedback (DRESS, arXiv 2311.10081)."""

    needs_reference: ClassVar[bool] = False

    name: Literal["conditional"] = "conditional"
    round_weight: float = Field(default=0.0, ge=0)
    template: str | None = Field(default=None, description="Jinja text of `ratings` and `critique`; null: TEMPLATE")
    criteria: list[Criterion] = Field(
        default=["helpfulness", "honesty", "harmlessness"],
        min_length=1,
        description="rated in every condition; one that does not apply counts as met",
    )
    dropout: float = Field(default=0.1, ge=0, le=1, description="share of responses that go without their condition")
    critique_dropout: float = Field(
        default=0.5, ge=0, le=1, description="share of the conditions that are ratings alone"
    )
    refined: Refined = Field(
        default="no worse", description="than the answer before it: which refined answers carry loss; or better"
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

    def counts(self, levels: Sequence[int]) -> bool:
        return len(levels) > 0

    def seen(self, ladder: Ladder) -> Ladder:
        template = self.template or TEMPLATE
        return conditioned(ladder, template, self.criteria, self.dropout, self.critique_dropout, self.refined)

    def asked_for(self, ladders: Sequence[Ladder]) -> Conditions | None:
        found = conditions_of(ladders, self.template or TEMPLATE, self.criteria)
        return found if self.critique_dropout < 1 else replace(found, critique="")

    def refusal(self, ladders: Sequence[Ladder]) -> str | None:
        responses = [response for ladder in ladders for response in ladder.responses]
        if any(response.condition or (response.feedback and response.feedback.ratings) for response in responses):
            return None
        return (
            f"objective {self.name} needs responses that are rated; of {len(responses)} in {len(ladders)} ladders none "
            "is; have a feedback: stage rate them or, to learn the best ones alone, use objective sft"
        )


ObjectiveSettings = Annotated[
    MdpoSettings | DpoSettings | KwiseSettings | ProSettings | DdpoSettings | SftSettings | ConditionalSettings,
    Field(discriminator="name"),
]

"""What each objective can be told. Torch-free; the `name` decides which one it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from seelevel.ladder import preference_pairs

Penalty = Literal["none", "paper", "scaled", "mean", "clamped", "clamped-tokens", "anchored", "dpop"]
Pairs = Literal["all", "adjacent", "best-vs-rest", "best-vs-worst"] | list[tuple[int, int]]


class _Objective(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    needs_reference: ClassVar[bool] = True

    round_weight: float = Field(
        default=0.05, ge=0, description="a token of answer round t (from 0) weighs 1 + round_weight · t"
    )

    def counts(self, levels: Sequence[int]) -> bool:
        """Whether a ladder with these levels says anything to this objective."""
        raise NotImplementedError


class _Pairwise(_Objective):
    beta: float = Field(default=0.1, gt=0)
    pairs: Pairs = "all"

    def counts(self, levels: Sequence[int]) -> bool:
        return bool(preference_pairs(levels, self.pairs))


class MdpoSettings(_Pairwise):
    """AMP's multi-level DPO (arXiv 2405.11165, eq. 6-7; not the mDPO of arXiv 2406.11839)."""

    name: Literal["mdpo"] = "mdpo"
    penalty: Penalty = Field(default="paper", description="what the best responses are charged for: `penalties`")
    weight: float = Field(default=1.0, ge=0, description="λ of the penalty")


class DpoSettings(_Pairwise):
    """DPO (arXiv 2305.18290) on the best against the worst response."""

    name: Literal["dpo"] = "dpo"
    pairs: Pairs = "best-vs-worst"


class SftSettings(_Objective):
    """Fine-tuning on the best responses alone."""

    needs_reference: ClassVar[bool] = False

    name: Literal["sft"] = "sft"
    round_weight: float = Field(default=0.0, ge=0)

    def counts(self, levels: Sequence[int]) -> bool:
        return len(levels) > 0


ObjectiveSettings = Annotated[MdpoSettings | DpoSettings | SftSettings, Field(discriminator="name")]

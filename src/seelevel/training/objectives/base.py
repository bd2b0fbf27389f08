"""What every objective's settings have in common: which ladders it learns from, and what it says when there are none.

Torch-free.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from seelevel.ladder import Ladder
from seelevel.levels import preference_pairs
from seelevel.models.conditions import Conditions
from seelevel.registry import nearest
from seelevel.training.objectives.views import View

if TYPE_CHECKING:
    from torch import Tensor

    from seelevel.training.objectives.logprobs import TokenLogprobs
    from seelevel.training.objectives.logs import Logs

Pairs = Literal["all", "adjacent", "best-vs-rest", "best-vs-worst"] | list[tuple[int, int]]


def _plain(value: Any) -> str:
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)


class Objective(BaseModel):
    """The settings of an objective. A subclass outside this package is named `"module:class"` in a recipe; its fields
    are the keys that the recipe may set, and it overrides `compute_loss`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    round_weight: float = Field(
        default=0.05, ge=0, description="a token of answer round t (from 0) weighs 1 + round_weight · t"
    )

    @property
    def needs_reference(self) -> bool:
        """Whether `compute_loss` gets the reference's log-probs; if not, they are never computed."""
        return True

    @property
    def best_only(self) -> bool:
        """Whether it trains on a ladder's best responses alone."""
        return False

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

    def views(self, ladders: Sequence[Ladder], seed: int) -> list[dict[str, View]]:
        """The second views that the objective compares each ladder with, by name. Their log-probs are in
        `TokenLogprobs.views`."""
        return [{} for _ in ladders]

    def learns_from(self, ladder: Ladder, views: Container[str]) -> bool:
        """Whether this objective learns anything from a ladder that has views of these names."""
        return self.has_signal(ladder.levels)

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


class BestOnly(Objective):
    """An objective over the best responses of a ladder."""

    @property
    def best_only(self) -> bool:
        return True

    def has_signal(self, levels: Sequence[int]) -> bool:
        return len(levels) > 0

    def why_unusable(self, ladders: Sequence[Ladder]) -> str | None:
        if any(ladder.levels for ladder in ladders):
            return None
        return f"objective {self.name} needs a response; {len(ladders)} ladders have none; generate some"


def without_score(objective: str, ladders: Sequence[Ladder], score: str | None) -> str | None:
    """Why an objective cannot read a score that no response has, and what to change; None if it can or reads none."""
    responses = [response for ladder in ladders for response in ladder.responses]
    if score is None or any(score in response.scores for response in responses):
        return None
    names = {name for response in responses for name in response.scores}
    hint = nearest(score, names) if names else "they have no scores; check the ladders or leave score out"
    return f"objective {objective}: none of {len(responses)} responses has a score '{score}'; {hint}"


class Pairwise(Objective):
    """An objective over the pairs of a ladder that `pairs` chooses."""

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

"""The settings of mDPO's and SymMPO's terms, and the second views that these compare ladders with. Torch-free."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from seelevel.ladder import Ladder
from seelevel.training.objectives.base import BestOnly
from seelevel.training.objectives.views import Partners, View, best_of, cropped, exchanged, files_of, partners

Corruption = Literal["crop", "other"]
Share = Annotated[float, Field(ge=0, le=1)]


class AncpoSettings(BestOnly):
    """mDPO's reward anchor (anchored preference optimisation, arXiv 2406.11839)."""

    name: Literal["ancpo"] = "ancpo"
    beta: float = Field(default=0.1, gt=0)
    delta: float = Field(default=0.0, description="δ: beta times the reward should exceed it")


class PictureObjective(BestOnly):
    """An objective on the best responses of ladders, given two pictures."""

    beta: float = Field(default=0.1, gt=0)

    @property
    def view_names(self) -> tuple[str, ...]:
        """The views that it needs."""
        raise NotImplementedError

    @property
    def needs(self) -> str:
        """What its ladders must have, in words, and what else to use."""
        raise NotImplementedError

    def learns_from(self, ladder: Ladder, views: Container[str]) -> bool:
        return self.has_signal(ladder.levels) and all(name in views for name in self.view_names)

    def why_unusable(self, ladders: Sequence[Ladder]) -> str | None:
        if (reason := super().why_unusable(ladders)) or any(self.views(ladders, 0)):
            return reason
        return f"objective {self.name} needs {self.needs}; none of {len(ladders)} ladders has that"


class CopoSettings(PictureObjective):
    """mDPO's preference for the right picture (conditional preference optimisation, arXiv 2406.11839)."""

    name: Literal["copo"] = "copo"
    corruption: Corruption = Field(
        default="crop", description="the second picture: a random part of the first, or that of another ladder"
    )
    kept: tuple[Share, Share] = Field(
        default=(0.0, 0.2), description="smallest and largest share of the picture that a crop keeps"
    )

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Self:
        if self.kept[0] > self.kept[1]:
            raise ValueError("kept names the smallest share first, such as kept: [0, 0.2]")
        if self.kept[0] == 1:
            raise ValueError("kept: [1, 1] keeps the whole picture, compared with itself; set kept: [0, 0.2]")
        if self.corruption != "crop" and self.kept != type(self).model_fields["kept"].default:
            raise ValueError(f"kept has no meaning for corruption: {self.corruption}, but for crop; leave it out")
        return self

    @property
    def view_names(self) -> tuple[str, ...]:
        return (f"crop {self.kept[0]:g}-{self.kept[1]:g}" if self.corruption == "crop" else "other picture",)

    @property
    def needs(self) -> str:
        if self.corruption == "crop":
            return "a ladder with a picture and a response"
        return "a ladder with a response and a picture that another ladder does not have, or corruption: crop"

    def views(self, ladders: Sequence[Ladder], seed: int) -> list[dict[str, View]]:
        [name] = self.view_names
        second_pictures = cropped(ladders, seed, self.kept) if self.corruption == "crop" else exchanged(ladders, seed)
        return [
            {} if pictures is None or not ladder.responses else {name: View(pictures, best_of(ladder))}
            for ladder, pictures in zip(ladders, second_pictures, strict=True)
        ]


class SymmpoSettings(PictureObjective):
    """Symmetric multimodal preference optimisation (SymMPO, arXiv 2506.11712): two pictures, each with its answer."""

    name: Literal["symmpo"] = "symmpo"
    gamma: float = Field(default=2e-4, ge=0, description="γ, the weight of the consistency of the two margins")
    partner: Partners = Field(
        default="similar", description="the ladder with the other picture: with a similar best answer, or any"
    )

    @property
    def view_names(self) -> tuple[str, ...]:
        return f"{self.partner} answer", f"{self.partner} picture"

    @property
    def needs(self) -> str:
        return "two ladders with the same prompt, different pictures and different best answers, or objective copo"

    def views(self, ladders: Sequence[Ladder], seed: int) -> list[dict[str, View]]:
        answer, picture = self.view_names
        by_ladder = list[dict[str, View]]()
        for ladder, partner in zip(ladders, partners(ladders, seed, self.partner), strict=True):
            if partner is None:
                by_ladder.append({})
                continue
            theirs = best_of(partner)[0]
            by_ladder.append(
                {
                    answer: View(files_of(ladder), (theirs,)),
                    picture: View(files_of(partner), (theirs, *best_of(ladder))),
                }
            )
        return by_ladder

"""`check:` of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seelevel.judge import JUDGE_SAMPLING
from seelevel.models.base import Sampling

NEEDS = {"autocheck": ("encoder",), "judge": ("judge",), "objects": ("annotations",)}
"""The settings that each checker of `seelevel.check.CHECKERS` requires."""

FACTS = "facts"
"""`annotations` that are the records' own."""
ObjectRule = Literal["f1", "f0.5", "f2", "precision", "recall"]
OF_OBJECTS = ("annotations", "synonyms", "rule", "tolerance", "standard_first")
"""Keys that checker `objects` alone reads."""


class CheckSettings(BaseModel):
    """How ladders are re-ordered (arXiv 2405.11165, section 3.1.3)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checker: str = Field(default="autocheck", description="autocheck, objects, judge or module:class")
    options: dict[str, Any] = Field(default={}, description="for a checker from outside the package")
    encoder: str | None = Field(default=None, description="a text encoder's folder or hub name")
    threshold: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="a chunk is covered above this cosine; null: the encoder's default, else 0.85",
    )
    parser: str = Field(default="builtin", description="builtin, an installed spaCy package, or a folder")
    judge: str | None = Field(default=None, description="a model, a model on a server, or the world's oracle")
    judge_mode: Literal["listwise", "pairwise"] = Field(
        default="listwise", description="pairwise also measures how often the judge contradicts itself"
    )
    judge_share: float = Field(
        default=0.0, ge=0, le=1, description="share of the ladders that the judge orders instead of the checker"
    )
    judge_sees_pictures: bool = False
    judge_sampling: Sampling = JUDGE_SAMPLING
    judge_template: str | None = Field(default=None, description="a file that replaces the package's template")
    annotations: str | None = Field(
        default=None, description="the objects of every picture: a file, or facts for the records' own annotations"
    )
    synonyms: str | None = Field(
        default=None, description="a file with one object and its synonyms per line; null: the annotations' names"
    )
    rule: ObjectRule = Field(default="f1", description="what objects ranks by")
    tolerance: float = Field(default=0.0, ge=0, le=1, description="responses so close under the rule share a level")
    standard_first: bool = Field(default=True, description="objects keeps the standard response best")
    overrides: str | None = Field(default=None, description="a file of JSON lines with levels that people have set")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for name in self.needs:
            if getattr(self, name) is None:
                raise ValueError(f"check.{name} is missing: checker {self.checker} needs it")
        if self.options and self.checker in NEEDS:
            raise ValueError(f"check.options: checker {self.checker} has none; they are for a checker module:class")
        if self.checker != "objects" and (given := self._given(OF_OBJECTS)):
            raise ValueError(f"check.{given[0]}: checker {self.checker} does not read it; set checker: objects")
        if self.judge_share and self.judge is None:
            raise ValueError("check.judge is missing: judge_share needs a judge")
        return self

    def _given(self, keys: Sequence[str]) -> list[str]:
        """Those of the keys that do not have their default."""
        return [key for key in keys if getattr(self, key) != type(self).model_fields[key].default]

    @property
    def files(self) -> list[tuple[str, Path]]:
        """(key, file) of every file that the settings name."""
        named = {key: getattr(self, key) for key in ("overrides", "judge_template", "annotations", "synonyms")}
        if self.annotations == FACTS:
            del named["annotations"]
        return [(f"check.{key}", Path(name)) for key, name in named.items() if name is not None]

    @property
    def words(self) -> str:
        """The settings in one line, for the report."""
        order = f"the order of the judge {self.judge}, {self.judge_mode}"
        if self.checker == "judge":
            return order
        if self.checker not in NEEDS:
            return ", ".join([self.checker, *(f"{key} {value}" for key, value in self.options.items())])
        mixed = f"; {self.judge_share:.0%} of the ladders in {order}" if self.judge_share else ""
        if self.checker == "objects":
            words = "the annotations' names" if self.synonyms is None else self.synonyms
            return f"objects by {self.rule} against {self.annotations}, words of {words}{mixed}"
        threshold = "" if self.threshold is None else f", threshold {self.threshold:g}"
        return f"{self.checker} with encoder {self.encoder}{threshold}, parser {self.parser}{mixed}"

    @property
    def needs(self) -> tuple[str, ...]:
        """The settings that the checker requires."""
        return NEEDS.get(self.checker, ())

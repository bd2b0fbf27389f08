"""`check:` of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seelevel.check.rules import Rule
from seelevel.judge import JUDGE_SAMPLING
from seelevel.models.base import Sampling

NEEDS = {"autocheck": ("encoder",), "image": ("encoder",), "judge": ("judge",), "objects": ("annotations",)}
"""The settings that each checker of `seelevel.check.CHECKERS` requires."""

FACTS = "facts"
"""`annotations` that are the records' own."""
READ_BY = {
    "annotations": ("objects",),
    "synonyms": ("objects",),
    "rule": ("objects", "autocheck"),
    "tolerance": ("objects", "image"),
    "standard_first": ("objects", "image"),
}
"""Keys that these checkers alone read."""
RANKED_BY: dict[str, Rule] = {"autocheck": "recall", "objects": "f1"}
"""What a checker ranks by if the settings have no rule."""


class CheckSettings(BaseModel):
    """How ladders are re-ordered (arXiv 2405.11165, section 3.1.3)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checker: str = Field(default="autocheck", description="autocheck, objects, image, judge or module:class")
    options: dict[str, Any] = Field(default={}, description="for a checker from outside the package")
    encoder: str | None = Field(default=None, description="a folder or hub name; image needs a CLIP or a SigLIP")
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
    rule: Rule | None = Field(
        default=None,
        description="what a response is ranked by; null: recall for autocheck, f1 for objects",
    )
    tolerance: float = Field(default=0.0, ge=0, le=1, description="responses so close to the best of a level share it")
    standard_first: bool = Field(default=True, description="the standard response stays best")
    overrides: str | None = Field(default=None, description="a file of JSON lines with levels that people have set")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for name in self.needs:
            if getattr(self, name) is None:
                raise ValueError(f"check.{name} is missing: checker {self.checker} needs it")
        if self.options and self.checker in NEEDS:
            raise ValueError(f"check.options: checker {self.checker} has none; they are for a checker module:class")
        for key in self._given([key for key, checkers in READ_BY.items() if self.checker not in checkers]):
            readers = " or ".join(READ_BY[key])
            raise ValueError(f"check.{key}: checker {self.checker} does not read it; set checker: {readers}")
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
            return f"objects by {self.ranked_by} against {self.annotations}, words of {words}{mixed}"
        if self.checker == "image":
            return f"image with encoder {self.encoder}{mixed}"
        threshold = "" if self.threshold is None else f", threshold {self.threshold:g}"
        rule = "" if self.ranked_by == RANKED_BY["autocheck"] else f" by {self.rule}"
        return f"{self.checker}{rule} with encoder {self.encoder}{threshold}, parser {self.parser}{mixed}"

    @property
    def ranked_by(self) -> Rule:
        """The rule in force."""
        return self.rule or RANKED_BY.get(self.checker, "f1")

    @property
    def needs(self) -> tuple[str, ...]:
        """The settings that the checker requires."""
        return NEEDS.get(self.checker, ())

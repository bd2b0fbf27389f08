"""Which ladders a gallery shows: read from an address, and written into one, so that every view has a link."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from seelevel.view.index import Mask, ShardIndex

ORDERS = {"": "in the file's order", "gap": "longest difference in length first", "margin": "smallest margin first"}
CHOICES = {"margin": ("below", "above"), "judge": ("disagree", "agree")}
"""The values of filters that are neither a text nor 'yes' or 'no'."""
Floats = NDArray[np.float64]
YES_OR_NO = ("ties", "reordered", "unchecked", "changed")


@dataclass(frozen=True)
class Filters:
    """Conditions on the ladders that are shown. An empty value sets none.

    words: a text in the prompt or an answer, or the ladder's id; origin: a model, or a kind of answer; flag: one of the
    ladder's flags; margin: after training, 'below' 0, or 'above': 0 or more; judge: whether its ratings 'disagree' or
    'agree' with the check; size: number of answers; order: one of ORDERS. ties, reordered, unchecked, changed: 'yes' or
    'no'.
    """

    words: str = ""
    origin: str = ""
    flag: str = ""
    margin: str = ""
    judge: str = ""
    ties: str = ""
    reordered: str = ""
    unchecked: str = ""
    changed: str = ""
    size: str = ""
    order: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filters:
        """The filters in the query of an address. Names and values that it does not know are left out."""
        given = {field.name: query.get(field.name, "").strip() for field in fields(cls)}
        for name in YES_OR_NO:
            given[name] = given[name] if given[name] in ("yes", "no") else ""
        for name, values in CHOICES.items():
            given[name] = given[name] if given[name] in values else ""
        given["size"] = given["size"] if given["size"].isdecimal() and len(given["size"]) < 10 else ""
        given["order"] = given["order"] if given["order"] in ORDERS else ""
        return cls(**given)

    @property
    def needs_margins(self) -> bool:
        """Whether ladders are chosen or sorted by their margins."""
        return bool(self.margin) or self.order == "margin"

    @property
    def active(self) -> bool:
        """Whether anything is left out."""
        return replace(self, order="") != Filters()

    def query(self, **more: Any) -> str:
        """The filters as the query of an address, with other values beside them; those that are empty left out."""
        values = {field.name: getattr(self, field.name) for field in fields(self)} | more
        return urlencode({name: value for name, value in values.items() if value != ""})

    def mask(self, shard: ShardIndex, changed: Set[str] = frozenset(), margins: Floats | None = None) -> Mask:
        """Which ladders of a shard pass, shape [n]. `changed`: the ids of those that people have changed; `margins`:
        the ladders' margins, NaN for those without, which then pass no filter and no order by margin."""
        keep = np.ones(len(shard), dtype=bool)
        answers = {"ties": shard.levels < shard.size, "reordered": shard.reordered, "unchecked": shard.unchecked}
        for name, holds in answers.items():
            if wanted := getattr(self, name):
                keep &= holds if wanted == "yes" else ~holds
        if self.changed:
            keep &= np.array([(name in changed) == (self.changed == "yes") for name in shard.ids], dtype=bool)
        if self.judge:
            keep &= shard.judged == (1 if self.judge == "disagree" else 0)
        if margins is not None:
            keep &= margins < 0 if self.margin == "below" else margins >= 0 if self.margin else ~np.isnan(margins)
        if self.size:
            keep &= shard.size == int(self.size)
        if self.origin:
            keep &= np.array([self.origin in origins for origins in shard.origins], dtype=bool)
        if self.flag:
            keep &= np.array([self.flag in flags for flags in shard.flags], dtype=bool)
        return keep & shard.holding(self.words) if self.words and keep.any() else keep

"""Benchmarks: questions, scores, figures, and how the report shows them. One file per benchmark."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from seelevel.errors import InputError
from seelevel.registry import choose

if TYPE_CHECKING:
    from seelevel.scorers.scorer import Scorer

KEY = "evaluate.benchmarks"
SCORERS = {
    "chair": "seelevel.scorers.chair:SCORER",
    "pope": "seelevel.scorers.pope:SCORER",
    "amber": "seelevel.scorers.amber_questions:SCORER",
    "objhal": "seelevel.scorers.objhal:SCORER",
    "hallusion": "seelevel.scorers.hallusion_questions:SCORER",
    "mrhal": "seelevel.scorers.mrhal:SCORER",
    "mmhal": "seelevel.scorers.mmhal:SCORER",
    "llava-bench": "seelevel.scorers.llava_bench:SCORER",
    "vlsafe": "seelevel.scorers.vlsafe:SCORER",
    "capability": "seelevel.scorers.capability:SCORER",
    "feedback": "seelevel.scorers.refinement:SCORER",
    "mme": "seelevel.scorers.mme:SCORER",
    "mmstar": "seelevel.scorers.mmstar:SCORER",
    "mm-safetybench": "seelevel.scorers.mm_safetybench:SCORER",
    "siuo": "seelevel.scorers.siuo:SCORER",
    "siuo-mcq": "seelevel.scorers.siuo_mcq:SCORER",
    "vlguard": "seelevel.scorers.vlguard:SCORER",
}
"""The benchmarks of the package, in the report's order."""


NAME = re.compile(r"[\w-]+")
"""A scorer's name is also the name of its files."""


def find_scorer(name: str) -> Scorer:
    """The scorer of a name in SCORERS, or of `"module:attribute"`. Raises `InputError` if there is none."""
    from seelevel.scorers.scorer import Scorer

    scorer = choose(KEY, name, SCORERS)
    if not isinstance(scorer, Scorer):
        raise InputError(f"{KEY} '{name}' is a {type(scorer).__name__}, not a seelevel.scorers.scorer.Scorer")
    if name not in SCORERS and (scorer.name in SCORERS or not NAME.fullmatch(scorer.name)):
        why = "is a benchmark of the package" if scorer.name in SCORERS else "is not letters, digits, '_' and '-'"
        raise InputError(f"{KEY} '{name}': its name '{scorer.name}' {why}; give it another one")
    return scorer


def find_scorers(names: Iterable[str]) -> list[Scorer]:
    """The scorers of several names. Raises `InputError` if one is unknown or two would write the same files."""
    scorers: dict[str, Scorer] = {}
    for name in names:
        scorer = find_scorer(name)
        if scorer.name in scorers:
            raise InputError(f"{KEY} '{name}': another one is called '{scorer.name}' too; rename one, or drop it")
        scorers[scorer.name] = scorer
    return list(scorers.values())

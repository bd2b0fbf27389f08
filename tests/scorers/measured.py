"""The measures of every scorer of the package, with one set or category where the data decide which there are."""

from __future__ import annotations

from seelevel.scorers import (
    amber_questions,
    capability,
    chair,
    hallusion_questions,
    mme,
    mmstar,
    mrhal,
    objhal,
    pope,
    refinement,
    siuo_mcq,
    vlguard,
)
from seelevel.scorers.amber import ORDER
from seelevel.scorers.intervals import Measure


def measures_by_name() -> dict[str, list[Measure]]:
    return {
        "chair": chair.MEASURES,
        "pope": pope.measures(["random", "popular"]),
        "amber": amber_questions.measures(set(ORDER), True, "strict"),
        "objhal": objhal.MEASURES,
        "hallusion": hallusion_questions.measures(["VD"]),
        "mrhal": mrhal.MEASURES,
        "capability": capability.measures(["count"]),
        "feedback": refinement.MEASURES,
        "mme": mme.measures(list(mme.NAMES.values())),
        "mmstar": mmstar.measures(["math"]),
        "siuo-mcq": siuo_mcq.MEASURES,
        "vlguard": vlguard.MEASURES,
    }

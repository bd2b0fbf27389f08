"""The measures of every scorer of the package, with one set or category where the data decide which there are."""

from __future__ import annotations

from seelevel.scorers import capability, chair, mme, mmstar, mrhal, pope, refinement, siuo_mcq, vlguard
from seelevel.scorers.intervals import Measure


def measures_by_name() -> dict[str, list[Measure]]:
    return {
        "chair": chair.MEASURES,
        "pope": pope.measures(["random", "popular"]),
        "mrhal": mrhal.MEASURES,
        "capability": capability.measures(["count"]),
        "feedback": refinement.MEASURES,
        "mme": mme.measures(list(mme.NAMES.values())),
        "mmstar": mmstar.measures(["math"]),
        "siuo-mcq": siuo_mcq.MEASURES,
        "vlguard": vlguard.MEASURES,
    }

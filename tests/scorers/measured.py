"""The measures of every scorer of the package, with one set or category where the data decide which there are."""

from __future__ import annotations

from seelevel.scorers import (
    amber_questions,
    capability,
    chair,
    hallusion_questions,
    llava_bench,
    mm_safetybench,
    mme,
    mmhal,
    mmstar,
    mrhal,
    objhal,
    pope,
    refinement,
    siuo,
    siuo_mcq,
    vlguard,
    vlsafe,
)
from seelevel.scorers.amber import ORDER
from seelevel.scorers.intervals import Measure
from seelevel.scorers.judging import words_measure


def measures_by_name() -> dict[str, list[Measure]]:
    return {
        "chair": chair.MEASURES,
        "pope": pope.measures(["random", "popular"]),
        "amber": amber_questions.measures(set(ORDER), True, "strict"),
        "objhal": objhal.MEASURES,
        "hallusion": hallusion_questions.measures(["VD"]),
        "mrhal": [*mrhal.MEASURES, mrhal.WORDS],
        "mmhal": [*mmhal.measures([{"question_type": "counting"}]), _words("mmhal_words")],
        "llava-bench": [
            *llava_bench.measures([{"set": "", "category": "conv"}, {"set": "coco", "category": "conv"}]),
            *map(_words, ("llava_bench_words", "llava_bench_coco_words")),
        ],
        "vlsafe": [*vlsafe.MEASURES, vlsafe.WORDS],
        "capability": capability.measures(["count"]),
        "feedback": refinement.MEASURES,
        "mme": mme.measures(list(mme.NAMES.values())),
        "mmstar": mmstar.measures(["math"]),
        "mm-safetybench": mm_safetybench.measures(["06-Fraud"]),
        "siuo": [*siuo.MEASURES, siuo.WORDS],
        "siuo-mcq": siuo_mcq.MEASURES,
        "vlguard": vlguard.MEASURES,
    }


def _words(name: str) -> Measure:
    return words_measure(name, mrhal.MEASURES[0])

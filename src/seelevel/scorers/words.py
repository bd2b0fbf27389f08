"""What the figures of metrics.json are called, what they mean and which way is better."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from seelevel.ladder import CRITERIA

Better = Literal["lower", "higher", "neither"]
Kind = Literal["rate", "score"]


@dataclass(frozen=True)
class Metric:
    """A metric's words. `kind` rate: a fraction, shown in percent; score: shown as it is, from 0 to `top`.
    `signed`: a difference in itself, on both sides."""

    label: str
    meaning: str
    better: Better
    kind: Kind = "rate"
    top: float = 1.0
    signed: bool = False


METRICS: dict[str, Metric] = {
    "chair_i": Metric("CHAIRi", "objects named that are not in the picture, of all objects named", "lower"),
    "chair_s": Metric("CHAIRs", "captions that name at least one object that is not there", "lower"),
    "chair_recall": Metric("CHAIR recall", "objects in the picture that the caption names", "higher"),
    "pope_f1": Metric("POPE F1", "yes or no to “is there a …?”; ‘yes’ is the positive class", "higher"),
    "pope_accuracy": Metric("POPE accuracy", "right answers to “is there a …?”", "higher"),
    "pope_yes": Metric("POPE yes-ratio", "share of ‘yes’; half of the questions are true in balanced sets", "neither"),
    "mrhal_score_c": Metric("MRHal score (rounds)", "judge's rating of all rounds, 0 to 6", "higher", "score", 6.0),
    "mrhal_score_m": Metric("MRHal score (dialogues)", "mean of the dialogues' mean ratings", "higher", "score", 6.0),
    "mrhal_hallucination_c": Metric("MRHal hallucination (rounds)", "rounds rated below 3", "lower"),
    "mrhal_hallucination_m": Metric("MRHal hallucination (dialogues)", "dialogues whose mean is below 3", "lower"),
    "capability_accuracy": Metric("Capability", "colour, count and place questions answered exactly", "higher"),
}
RATINGS = tuple(f"rating_{criterion}" for criterion in CRITERIA)
HEADLINE = ("chair_i", "chair_s", "chair_recall", "pope_f1", "mrhal_score_m", "capability_accuracy", *RATINGS)
ONCE = {
    **{name: Metric(c.capitalize(), "judge's rating of the first answer, 1 to 4", "higher", "score", 4.0)
       for name, c in zip(RATINGS, CRITERIA, strict=True)},
    "quality_worst": Metric("Quality under the worst condition", "of first answers, 1 to 4", "neither", "score", 4.0),
    "lead_over_worst": Metric(
        "Lead over the worst condition", "quality under the condition asked for less that", "higher", "score", 4.0, True
    ),
}  # fmt: skip
BY_ROUND = {
    "quality_round": ("Quality of answer {n}, with feedback", "mean of the ratings that apply, 1 to 4"),
    "quality_again": ("Quality of answer {n}, with ‘try again’", "mean of the ratings that apply, 1 to 4"),
    "gain_round": ("Gain from answer {before} to {n}, with feedback", "change of quality in the same conversations"),
    "lead_round": ("Lead of feedback over ‘try again’, answer {n}", "by quality, from the same first answers"),
}
GLOSSES = {
    "chair_i": "CHAIRi, the share of named objects that are not in the picture,",
    "rating_helpfulness": "Helpfulness, as the judge rates it from 1 to 4,",
}


def of_feedback(name: str) -> Metric | None:
    """The words for a figure of the benchmark `feedback`: the first answer's, or a round's; None for other figures."""
    kind, _, number = name.rpartition("_")
    if kind not in BY_ROUND or not re.fullmatch(r"[1-9]\d*", number):
        return ONCE.get(name)
    label, meaning = BY_ROUND[kind]
    if name == "quality_round_1":
        label = "Quality of the first answer"
    return Metric(
        label.format(n=number, before=int(number) - 1), meaning, "higher", "score", 4.0, not kind.startswith("quality")
    )


def _of_set(name: str) -> Metric | None:
    """`pope_random_f1`: POPE F1 on one of its question sets."""
    benchmark, _, rest = name.partition("_")
    part, _, measure = rest.rpartition("_")
    whole = METRICS.get(f"{benchmark}_{measure}")
    return replace(whole, label=f"{whole.label}, {part}", meaning="") if whole is not None and part else None

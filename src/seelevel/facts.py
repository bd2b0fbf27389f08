"""What each stage writes into its manifest, and the report reads: one frozen dataclass per stage.

A fact is None if the stage did not count it, or if an older version of the package wrote the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self


@dataclass(frozen=True)
class Facts:
    """Reading and writing, the same for every stage."""

    @classmethod
    def read(cls, manifest: Mapping[str, Any] | None) -> Self:
        """The facts in a manifest. Its other keys are ignored, and missing facts are None."""
        known = manifest or {}
        return cls(**{field.name: known.get(field.name) for field in fields(cls)})

    def written(self) -> dict[str, Any]:
        """The facts as a manifest keeps them: without those that are None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


Means = dict[str, dict[str, float]]
"""Mean and number (`mean`, `n`) of ratings by criterion, or of log-probs by level."""


@dataclass(frozen=True)
class InputFacts(Facts):
    """Data that the embedded world writes."""

    split: str | None = None


@dataclass(frozen=True)
class DataFacts(Facts):
    """Records read into ladders. `answered` ladders have a response; `reasons` counts `rejected` records by reason."""

    format: str | None = None
    records: int | None = None
    ladders: int | None = None
    answered: int | None = None
    rounds: int | None = None
    images: int | None = None
    rejected: int | None = None
    reasons: dict[str, int] | None = None


@dataclass(frozen=True)
class GenerateFacts(Facts):
    """Ladders of responses. `dropped` counts responses that were left out, `set_aside_reasons` what a writing model
    wrote and nobody could use; `finetune` describes the models that the method trained."""

    ladders: int | None = None
    responses: int | None = None
    ladders_by_responses: dict[str, int] | None = None
    responses_by_model: dict[str, int] | None = None
    flags: dict[str, int] | None = None
    dropped: dict[str, int] | None = None
    set_aside: int | None = None
    set_aside_reasons: dict[str, int] | None = None
    finetune: dict[str, Any] | None = None


@dataclass(frozen=True)
class CheckFacts(Facts):
    """Ladders after the check. `split_texts` were longer than the encoder reads at once. A judge that compares pairs
    contradicts itself in `circles` of `triples`."""

    ladders: int | None = None
    reordered: int | None = None
    unchecked: int | None = None
    split_texts: int | None = None
    judged: int | None = None
    triples: int | None = None
    circles: int | None = None
    contradiction_rate: float | None = None
    overridden: int | None = None


@dataclass(frozen=True)
class FeedbackFacts(Facts):
    """Ratings. `responses` are rated, `unscored` are not. `ratings_by_round` has keys from "0", the first answers."""

    ladders: int | None = None
    responses: int | None = None
    unscored: int | None = None
    conversations: int | None = None
    not_compared: int | None = None
    unscored_reasons: dict[str, int] | None = None
    ratings: Means | None = None
    ratings_by_round: dict[str, Means] | None = None


@dataclass(frozen=True)
class AlignFacts(Facts):
    """Training. `left_out` counts ladders by the reason why they were not trained on; `best_fell` says that the best
    responses became less likely for a while. `logprobs` has, by level, the responses' log-prob per token under the
    reference, which is the model before training. `in_order` counts ladders as `seelevel.training.margins.in_order`
    does."""

    ladders: int | None = None
    left_out: dict[str, int] | None = None
    steps: int | None = None
    layout: str | None = None
    dtype: str | None = None
    device: str | None = None
    trained_weights: int | None = None
    best_fell: bool | None = None
    logprobs: Means | None = None
    in_order: dict[str, int] | None = None


@dataclass(frozen=True)
class EvaluateFacts(Facts):
    """Questions per benchmark. `aligned` is the fingerprint of the training whose model was evaluated, `control` that
    of its control."""

    questions: dict[str, int] | None = None
    aligned: str | None = None
    control: str | None = None

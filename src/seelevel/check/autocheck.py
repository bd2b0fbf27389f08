"""Auto-check: re-order a ladder's generated responses by how much of the standard response they cover.

Zhang et al. 2024 (AMP, arXiv 2405.11165), section 3.1.3 and appendix A.1. With M units of the standard response and N
of a generated one, f their encodings:

    S[m,n] = cos(f_m, f_n)     s[m] = max_n S[m,n]     Acc = (number of s[m] > threshold) / M     score = mean of s[m]

computed once with noun chunks as units (local) and once with the sentences that contain them (global). A response's Acc
and score are the means of both. Higher Acc is better; equal Acc is decided by the higher score. The standard response
stays best.

This is `rule: recall`. It does not count what a response invents. With P the same figures for the response's units,
covered by the standard's, the other rules rank by P (`precision`) or by F_b of both, Acc and score each:

    F_b = (1 + b²) · P · R / (b² · P + R)

What the paper leaves open and is decided here:

- the score is a mean
- each sentence counts once
- a ladder whose standard response has no chunk (M = 0) is unchecked and keeps its initial order
- a response without chunks (N = 0) has Acc 0 and score 0
- responses of equal Acc and score share a level
- a response of several rounds is checked as one text
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seelevel.check.rules import DIGITS, WEIGHTS, Rule, figure
from seelevel.check.settings import CheckSettings
from seelevel.ladder import Ladder
from seelevel.language.chunks import Chunk, noun_chunks
from seelevel.language.encoders import TextEncoder, Vectors, load_encoder
from seelevel.levels import dense_levels
from seelevel.models.base import ModelRef
from seelevel.notes import Checked, CheckNote, Coverage, Match
from seelevel.store import batched

if TYPE_CHECKING:
    from spacy.language import Language

DEFAULT_THRESHOLD = 0.85
# Ladders whose texts are parsed and encoded together. Equal texts among them are computed once.
BLOCK = 1024
# Size of the cache of vectors in bytes. The oldest are dropped first.
MEMORY = 1 << 29


@dataclass(frozen=True)
class Units:
    """The units of a response: its noun chunks, and the sentences that contain them, each once."""

    chunks: list[Chunk]

    @cached_property
    def phrases(self) -> list[str]:
        return [chunk.text for chunk in self.chunks]

    @cached_property
    def sentences(self) -> list[str]:
        return list(dict.fromkeys(chunk.sentence for chunk in self.chunks))


@dataclass(frozen=True)
class Matching:
    """How far one list of units covers another. `best[m]` is the n with S[m,n] = s[m], or -1 if N = 0."""

    similarity: list[float]
    best: list[int]
    matched: list[bool]

    @classmethod
    def of(cls, cosines: NDArray[np.float32], threshold: float) -> Matching:
        """From S, shape [M, N]."""
        if not cosines.size:
            return cls([0.0] * len(cosines), [-1] * len(cosines), [False] * len(cosines))
        best: list[int] = cosines.argmax(axis=1).tolist()
        # Rounded, so that equal texts tie whichever batch encoded them.
        similarity = [round(float(s), DIGITS) for s in cosines.max(axis=1)]
        return cls(similarity, best, [s > threshold for s in similarity])

    @property
    def acc(self) -> float:
        return sum(self.matched) / len(self.matched) if self.matched else 0.0

    @property
    def score(self) -> float:
        return sum(self.similarity) / len(self.similarity) if self.similarity else 0.0


@dataclass(frozen=True)
class Comparison:
    """The standard response's units and those of another response, each as covered by the other side's.

    `chunks` and `sentences` are the standard's (local and global), `chunks_back` and `sentences_back` the response's.
    """

    chunks: Matching
    sentences: Matching
    chunks_back: Matching
    sentences_back: Matching

    @classmethod
    def of(cls, chunks: NDArray[np.float32], sentences: NDArray[np.float32], threshold: float) -> Comparison:
        """From S of the chunks and S of the sentences, shape [M, N] each."""
        matchings = (Matching.of(cosines, threshold) for cosines in (chunks, sentences, chunks.T, sentences.T))
        return cls(*matchings)

    def worth(self, rule: Rule) -> tuple[float, float]:
        """What the response is ranked by: Acc and score by the rule; more is better."""
        sides = ((self.chunks_back, self.sentences_back), (self.chunks, self.sentences))
        precision, recall = (round((local.acc + whole.acc) / 2, DIGITS) for local, whole in sides)
        back, score = (round((local.score + whole.score) / 2, DIGITS) for local, whole in sides)
        if rule in WEIGHTS:  # cosines can be negative
            back, score = max(back, 0.0), max(score, 0.0)
        return figure(precision, recall, rule), figure(back, score, rule)


class AutoCheck:
    """Ladders in, re-levelled ladders with reasons out, in the same order.

    `threshold` None means the encoder's default, else 0.85. Responses get the scores `acc` and `score` of the paper; a
    rule other than its own (`recall`) adds its figure under its name. The reasons are in `Response.check.coverage` and
    `Ladder.check` (see `seelevel.notes`).
    """

    def __init__(
        self,
        encoder: TextEncoder,
        threshold: float | None = None,
        parser: str | Language | None = None,
        rule: Rule = "recall",
    ) -> None:
        default = DEFAULT_THRESHOLD if encoder.threshold is None else encoder.threshold
        self.encoder, self.parser, self.rule = encoder, parser, rule
        self.threshold = default if threshold is None else threshold
        self._vectors: dict[str, Vectors] = {}

    @classmethod
    def from_settings(cls, settings: CheckSettings, judge: ModelRef | None = None, seed: int = 0) -> AutoCheck:
        """From the recipe's settings. `judge` and `seed` are not used."""
        assert settings.encoder is not None  # CheckSettings requires it
        return cls(load_encoder(settings.encoder), settings.threshold, settings.parser, settings.ranked_by)

    def __call__(self, ladders: Iterable[Ladder]) -> Iterator[Ladder]:
        for block in batched(ladders, BLOCK):
            responses = [response.text for ladder in block for response in ladder.responses]
            texts = list(dict.fromkeys([*responses, *map(_measure, block)]))
            units = {text: Units(chunks) for text, chunks in zip(texts, noun_chunks(texts, self.parser), strict=True)}
            vectors = self._encode([t for unit in units.values() for t in unit.phrases + unit.sentences])
            for ladder in block:
                measure = units[_measure(ladder)]
                yield self._check(ladder, measure, [units[response.text] for response in ladder.responses], vectors)

    def _encode(self, texts: list[str]) -> dict[str, Vectors]:
        """A vector for each text. Vectors of this call and of earlier ones are cached."""
        wanted = list(dict.fromkeys(texts))
        new = [text for text in wanted if text not in self._vectors]
        self._vectors.update(zip(new, self.encoder.encode(new), strict=True))
        vectors = {text: self._vectors[text] for text in wanted}
        while self._vectors and len(self._vectors) * next(iter(self._vectors.values())).nbytes > MEMORY:
            del self._vectors[next(iter(self._vectors))]
        return vectors

    def _check(self, ladder: Ladder, measure: Units, units: list[Units], vectors: dict[str, Vectors]) -> Ladder:
        rule = "" if self.rule == "recall" else self.rule
        note = CheckNote("autocheck", tuple(ladder.levels), threshold=self.threshold, rule=rule)
        if reason := _why_unchecked(ladder, measure):
            return ladder.left_unchecked(replace(note, unchecked=reason))
        comparisons = [self._compare(measure, response, vectors) for response in units]
        coverages = [_coverage(measure, response, c) for response, c in zip(units, comparisons, strict=True)]
        worth = [comparison.worth(self.rule) for comparison in comparisons]
        first = int(ladder.holds_measure)  # it stays best
        ranked = dense_levels([(-acc, -score) for acc, score in worth[first:]])
        levels = [0] * first + [first + level for level in ranked]
        responses = [
            replace(
                response,
                level=levels[place],
                scores={**response.scores, **self._scores(coverages[place], worth[place])},
                check=Checked(place, coverages[place]),
            )
            for place, response in enumerate(ladder.responses)
        ]
        read = units if ladder.holds_measure else [measure, *units]
        split = sum(text in self.encoder.split for unit in read for text in {*unit.phrases, *unit.sentences})
        return ladder.ordered(responses, replace(note, split=split))

    def _scores(self, coverage: Coverage, worth: tuple[float, float]) -> dict[str, float]:
        scores = {"acc": coverage.acc, "score": coverage.score}
        return scores if self.rule == "recall" else {**scores, self.rule: worth[0]}

    def _compare(self, standard: Units, response: Units, vectors: dict[str, Vectors]) -> Comparison:
        chunks = _cosines(standard.phrases, response.phrases, vectors)
        return Comparison.of(chunks, _cosines(standard.sentences, response.sentences, vectors), self.threshold)


def _coverage(standard: Units, response: Units, comparison: Comparison) -> Coverage:
    """One response's reasons: each of its units with the nearest of the standard, and the reverse."""
    local, whole = comparison.chunks, comparison.sentences
    acc, score = comparison.worth("recall")
    sentences = zip(standard.sentences, whole.best, whole.similarity, whole.matched, strict=True)
    return Coverage(
        acc=acc,
        score=score,
        acc_local=round(local.acc, DIGITS),
        acc_global=round(whole.acc, DIGITS),
        score_local=round(local.score, DIGITS),
        score_global=round(whole.score, DIGITS),
        chunks=_chunk_matches(response.chunks, standard.chunks, comparison.chunks_back),
        standard_chunks=_chunk_matches(standard.chunks, response.chunks, local),
        standard_sentences=tuple(
            Match(text, response.sentences[n] if n >= 0 else "", similarity, matched)
            for text, n, similarity, matched in sentences
        ),
    )


def _measure(ladder: Ladder) -> str:
    """The text that responses are measured by: the first response, unless the standard is no level of the ladder."""
    if not ladder.holds_measure:
        return "\n\n".join(ladder.reference)
    return ladder.responses[0].text if ladder.responses else ""


def _why_unchecked(ladder: Ladder, measure: Units) -> str:
    """Why a ladder cannot be checked; empty if it can."""
    if len(ladder.responses) < 2:
        return "fewer than 2 responses"
    if ladder.standard_displaced:
        return "the standard response is not first"
    if ladder.unordered and not ladder.reference:
        return "there is no standard response to measure samples by"
    return "" if measure.chunks else "the standard response has no noun chunk"


def _cosines(wanted: list[str], given: list[str], vectors: dict[str, Vectors]) -> NDArray[np.float32]:
    """S[m,n], shape [M, N]."""
    if not wanted or not given:
        return np.zeros((len(wanted), len(given)), dtype=np.float32)
    cosines: NDArray[np.float32] = np.stack([vectors[t] for t in wanted]) @ np.stack([vectors[t] for t in given]).T
    return cosines


def _chunk_matches(chunks: list[Chunk], others: list[Chunk], matching: Matching) -> tuple[Match, ...]:
    rows = zip(chunks, matching.best, matching.similarity, matching.matched, strict=True)
    return tuple(
        Match(chunk.text, others[n].text if n >= 0 else "", similarity, matched, chunk.start, chunk.end)
        for chunk, n, similarity, matched in rows
    )

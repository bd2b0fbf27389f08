"""Auto-check: re-order a ladder's generated responses by how much of the standard response they cover.

Zhang et al. 2024 (AMP, arXiv 2405.11165), section 3.1.3 and appendix A.1. With M units of the standard response and N
of a generated one, f their encodings:

    S[m,n] = cos(f_m, f_n)     s[m] = max_n S[m,n]     Acc = (number of s[m] > threshold) / M     score = mean of s[m]

once with noun chunks as units (local), once with the sentences that hold them (global); a response's Acc and score are
the means of both. Higher Acc is better, ties go to the higher score. The standard response stays best.

The paper leaves open, and here is decided: the score is a mean; each sentence counts once; a standard response without
chunks (M = 0) leaves the ladder unchecked, in its initial order; a response without chunks (N = 0) gets Acc 0 and score
0; equal Acc and score make one level; a multi-round response is checked whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from seelevel.check.settings import CheckSettings
from seelevel.ladder import Ladder, Response, dense_levels
from seelevel.language.chunks import Chunk, noun_chunks
from seelevel.language.encoders import TextEncoder, Vectors, load_encoder
from seelevel.store import batched

if TYPE_CHECKING:
    from spacy.language import Language

DEFAULT_THRESHOLD = 0.85
# Ladders whose texts are parsed and encoded together: what is equal among them costs once.
BLOCK = 1024
# Similarities are compared and kept to this many digits, so that equal texts tie whatever batch encoded them.
DIGITS = 5


@dataclass(frozen=True)
class Units:
    """What a response is compared by: its noun chunks, and the sentences that hold them, each once."""

    chunks: list[Chunk]

    @cached_property
    def sentences(self) -> list[str]:
        return list(dict.fromkeys(chunk.sentence for chunk in self.chunks))


@dataclass(frozen=True)
class Coverage:
    """How far one list of units covers another: `best[m]` is the n that s[m] comes from, -1 where N = 0."""

    similarity: list[float]
    best: list[int]
    matched: list[bool]

    @property
    def acc(self) -> float:
        return sum(self.matched) / len(self.matched)

    @property
    def score(self) -> float:
        return sum(self.similarity) / len(self.similarity)


class AutoCheck:
    """Ladders in, re-levelled ladders with reasons out, in the same order.

    `threshold` None is the encoder's own, else 0.85. Responses get the scores `acc` and `score`. Reasons are in
    `notes["check"]`: `checker`, `threshold`, `initial_levels`, and `unchecked` (why) or else `order` (for each place
    now, the place before), `reordered` and `responses`, one entry a response in the order now: `acc`, `score`, both
    also with `_local` and `_global`; `chunks`, its own, with `text`, `start` and `end` in `response.text`, the `best`
    match in the standard response, its `similarity` and whether it `matched`; `standard_chunks` and
    `standard_sentences`, the standard's, with their best match in it.
    """

    def __init__(
        self, encoder: TextEncoder, threshold: float | None = None, parser: str | Language | None = None
    ) -> None:
        own = encoder.threshold if encoder.threshold is not None else DEFAULT_THRESHOLD
        self.encoder, self.parser = encoder, parser
        self.threshold = own if threshold is None else threshold

    @classmethod
    def from_settings(cls, settings: CheckSettings) -> AutoCheck:
        return cls(load_encoder(settings.encoder), settings.threshold, settings.parser)

    def __call__(self, ladders: Iterable[Ladder]) -> Iterator[Ladder]:
        for block in batched(ladders, BLOCK):
            responses = [response.text for ladder in block for response in ladder.responses]
            texts = list(dict.fromkeys(responses))
            units = {text: Units(chunks) for text, chunks in zip(texts, noun_chunks(texts, self.parser), strict=True)}
            wanted = list(
                dict.fromkeys(t for text in texts for t in [c.text for c in units[text].chunks] + units[text].sentences)
            )
            encoded = dict(zip(wanted, self.encoder.encode(wanted), strict=True))
            for ladder in block:
                yield self._check(ladder, [units[response.text] for response in ladder.responses], encoded)

    def _check(self, ladder: Ladder, units: list[Units], encoded: dict[str, Vectors]) -> Ladder:
        note = {"checker": "autocheck", "threshold": self.threshold, "initial_levels": ladder.levels}
        if len(ladder.responses) < 2:
            return ladder.ordered(ladder.responses, check={**note, "unchecked": "fewer than 2 responses"})
        if not units[0].chunks:
            return ladder.ordered(
                ladder.responses, check={**note, "unchecked": "the standard response has no noun chunk"}
            )
        compared = [self._compare(units[0], own, encoded) for own in units]
        keys = [(-reasons["acc"], -reasons["score"]) for reasons in compared[1:]]
        levels = [0, *(level + 1 for level in dense_levels(keys))]
        order = sorted(range(len(levels)), key=levels.__getitem__)
        responses = [self._levelled(ladder.responses[n], levels[n], compared[n]) for n in order]
        return ladder.ordered(
            responses,
            check={
                **note,
                "order": order,
                "reordered": order != sorted(order),
                "responses": [compared[n] for n in order],
            },
        )

    def _levelled(self, response: Response, level: int, reasons: dict[str, Any]) -> Response:
        return replace(
            response, level=level, scores={**response.scores, "acc": reasons["acc"], "score": reasons["score"]}
        )

    def _compare(self, standard: Units, own: Units, encoded: dict[str, Vectors]) -> dict[str, Any]:
        """One response's reasons: Acc and score with their local and global parts; for each of its chunks the standard
        chunk nearest to it; for each standard chunk and sentence the nearest of its own."""
        local = self._cover([c.text for c in standard.chunks], [c.text for c in own.chunks], encoded)
        whole = self._cover(standard.sentences, own.sentences, encoded)
        back = self._cover([c.text for c in own.chunks], [c.text for c in standard.chunks], encoded)
        return {
            "acc": round((local.acc + whole.acc) / 2, DIGITS),
            "score": round((local.score + whole.score) / 2, DIGITS),
            "acc_local": round(local.acc, DIGITS),
            "acc_global": round(whole.acc, DIGITS),
            "score_local": round(local.score, DIGITS),
            "score_global": round(whole.score, DIGITS),
            "chunks": _chunk_notes(own.chunks, standard.chunks, back),
            "standard_chunks": _chunk_notes(standard.chunks, own.chunks, local),
            "standard_sentences": [
                {"text": text, "best": own.sentences[n] if n >= 0 else "", "similarity": s, "matched": p}
                for text, n, s, p in zip(standard.sentences, whole.best, whole.similarity, whole.matched, strict=True)
            ],
        }

    def _cover(self, wanted: Sequence[str], given: Sequence[str], encoded: dict[str, Vectors]) -> Coverage:
        """How far `given` (N units) covers `wanted` (M units)."""
        if not given or not wanted:
            return Coverage([0.0] * len(wanted), [-1] * len(wanted), [False] * len(wanted))
        cosines = np.stack([encoded[t] for t in wanted]) @ np.stack([encoded[t] for t in given]).T  # [M, N]
        best = cosines.argmax(axis=1)
        similarity = [round(float(cosines[m, n]), DIGITS) for m, n in enumerate(best)]
        return Coverage(similarity, [int(n) for n in best], [s > self.threshold for s in similarity])


def _chunk_notes(chunks: list[Chunk], others: list[Chunk], coverage: Coverage) -> list[dict[str, Any]]:
    return [
        {
            "text": chunk.text,
            "start": chunk.start,
            "end": chunk.end,
            "best": others[n].text if n >= 0 else "",
            "similarity": similarity,
            "matched": matched,
        }
        for chunk, n, similarity, matched in zip(
            chunks, coverage.best, coverage.similarity, coverage.matched, strict=True
        )
    ]

"""Samples of one model, or of a few: on-policy ladders for whoever has one model.

RLAIF-V (arXiv 2405.17220), SENTINEL (arXiv 2507.12455) and OPA-DPO (arXiv 2501.09695) align a model on its own answers.

Samples have no order. They share one level, below the standard response if there is one, until a checker or a judge
ranks them. A sample that differs too little from another response is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seelevel.facts import GenerateFacts
from seelevel.generate.answering import Answerer, answer_prompts
from seelevel.generate.ranking import build_ladder
from seelevel.generate.settings import SamplesSettings
from seelevel.ladder import REFERENCE, UNORDERED, Ladder
from seelevel.models.base import ModelRef
from seelevel.models.rollout import Talk
from seelevel.progress import say
from seelevel.store import StageFolder

ALIKE = "too similar to another response"
_WORDS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
"""Words are runs of letters and digits. Chinese and Japanese have no spaces: each of their characters is one."""


def generate(
    source: Path,
    stage: StageFolder,
    settings: SamplesSettings,
    models: Sequence[ModelRef],
    root: Path,
    seed: int,
) -> GenerateFacts:
    """Write one shard of ladders for each shard of `source`; return counts over all of them."""
    answerers = [
        Answerer.of_samples(model, count, settings.greedy)
        for model, count in zip(models, settings.counts.values(), strict=True)
    ]

    def build(ladder: Ladder, talks: Sequence[Talk], origins: Sequence[dict[str, Any]]) -> Ladder:
        return sampled(ladder, talks, origins, settings)

    facts = answer_prompts(source, stage, settings, answerers, root, seed, build)
    if alike := (facts.dropped or {}).get(ALIKE, 0):
        say(f"generate: {alike} answers are dropped, {ALIKE}; {facts.responses} responses stay")
    return facts


def sampled(
    ladder: Ladder, talks: Sequence[Talk], origins: Sequence[dict[str, Any]], settings: SamplesSettings
) -> Ladder:
    """A ladder with samples on one level, flagged if they are several: nothing has ranked them yet.

    Without `settings.standard` the ladder's own responses are left out. Checkers keep the first as their reference.
    """

    def alike(text: str, other: str) -> bool:
        return text == other or difference(text, other) < settings.min_difference

    if not settings.standard and ladder.responses:
        reference = [message["content"] for message in ladder.responses[0].messages[::2]]
        ladder = replace(ladder, responses=[], notes={**ladder.notes, REFERENCE: reference})
    built = build_ladder(ladder, talks, origins, alike, ALIKE, tie=True)
    if len(built.responses) - len(ladder.responses) < 2:
        return built
    return replace(built, notes={**built.notes, "flags": [*built.flags, UNORDERED]})


def difference(text: str, other: str) -> float:
    """The share of the words of both texts outside their longest common subsequence: from 0, alike, to 1.

    Case and punctuation do not count, the order of words does. 0 if neither text has a word.
    """
    a, b = _WORDS.findall(text.lower()), _WORDS.findall(other.lower())
    total = len(a) + len(b)
    return 1 - 2 * _common(a, b) / total if total else 0.0


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest common subsequence, with one bit per word of `a` (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for n, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << n
    whole = (1 << len(a)) - 1
    unused = whole  # a 0 is a word of `a` at which the subsequence grows
    for word in b:
        matches = unused & places.get(word, 0)
        unused = ((unused + matches) | (unused - matches)) & whole
    return len(a) - unused.bit_count()

"""MEG, multi-size expert generation (AMP 3.1.1, arXiv 2405.11165): models of one family answer, the larger the better.

Level 0 is the standard response. Levels 1 and below are the experts' answers, best expert first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seelevel.facts import GenerateFacts
from seelevel.generate.answering import Answerer, answer_prompts
from seelevel.generate.settings import ExpertsSettings
from seelevel.models.base import ModelRef
from seelevel.store import StageFolder


def generate(
    source: Path,
    stage: StageFolder,
    settings: ExpertsSettings,
    experts: Sequence[ModelRef],
    root: Path,
    seed: int,
) -> GenerateFacts:
    """Write one shard of ladders for each shard of `source`; return counts over all of them."""
    return answer_prompts(source, stage, settings, [Answerer.of_expert(expert) for expert in experts], root, seed)

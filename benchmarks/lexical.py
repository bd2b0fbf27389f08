"""Text encoders without a model, for comparison: hashed counts of words or of character trigrams."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from seelevel.language.encoders import Vectors
from seelevel.language.mentions import singular

DIMENSIONS = 1024
"""Length of a vector."""


class Lexical:
    """An encoder without a model: hashed counts of a text's parts."""

    threshold = None
    split: tuple[str, ...] = ()

    def __init__(self, parts: Callable[[str], list[str]]) -> None:
        self.parts = parts

    def encode(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for part in self.parts(text):
                row[zlib.crc32(part.encode()) % DIMENSIONS] += 1
        unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return unit


def trigrams(text: str) -> list[str]:
    """The three-character pieces of a text."""
    padded = f" {text.lower()} "
    return [padded[n : n + 3] for n in range(len(padded) - 2)]


def words(text: str) -> list[str]:
    """The words of a text, in singular."""
    return [singular(word) for word in re.findall(r"[a-z]+", text.lower())]

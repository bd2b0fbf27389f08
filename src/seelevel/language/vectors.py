"""Which words are similar: by a list of pairs, or by the word vectors of an installed spaCy pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from seelevel.errors import InputError

Similar = Callable[[str, str], bool]
THRESHOLD = 0.8
"""AMBER's: words are similar if the cosine of their vectors is larger."""


def similar_by(listed: Sequence[str], name: str = "listed") -> Similar:
    """Whether two words are similar. `name`: `listed` (the pairs of `listed`, in either order), `none` (no two words
    are), or a spaCy pipeline with word vectors, by package or folder. Raises InputError if it has none."""
    if name in ("listed", "none"):
        pairs = {frozenset(pair.split()) for pair in listed} if name == "listed" else set()
        return lambda word, other: frozenset((word, other)) in pairs
    return _by_vectors(name)


def _by_vectors(name: str) -> Similar:
    import spacy

    try:
        nlp = spacy.load(name)
    except (OSError, ValueError) as error:
        raise InputError(
            f"vectors '{name}': no spaCy pipeline of this name; install it, or take --similar listed"
        ) from error
    if not len(nlp.vocab.vectors):
        raise InputError(f"vectors '{name}': the pipeline has no word vectors; en_core_web_lg has")
    doc = cache(nlp.make_doc)

    @cache
    def similar(word: str, other: str) -> bool:
        one, two = doc(word), doc(other)
        return bool(one.vector_norm and two.vector_norm and one.similarity(two) > THRESHOLD)

    return similar

"""Nouns of a text as AMBER's script takes them: tagged as nouns, and WordNet's lemma of each.

The script tags with NLTK's perceptron, a download. Here the tags are the shipped parser's, and a word that WordNet has
only as a noun is one without a tag. Case counts, as in the script: 'Trees' at the beginning of a sentence has no lemma
and is not a tree.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from seelevel.errors import InputError
from seelevel.language.tokens import tokenize
from seelevel.language.wordnet import ENDINGS, WordNet, tags_at

ALWAYS_NOUNS = frozenset({"orange"})
"""Nouns that the shipped tagger calls adjectives before a noun ('three orange balls'), unlike the script's tagger."""


def nouns_in(texts: Sequence[str], wanted: Collection[str]) -> list[list[str]]:
    """The lemmas of each text's nouns that are among `wanted`, in the order of the text.

    Raises `InputError` if WordNet's tables are not installed.
    """
    try:
        wordnet = WordNet()
    except InputError as error:
        raise InputError("finding nouns needs WordNet's tables; pip install 'seelevel[wordnet]'") from error
    tokens = [tokenize(text) for text in texts]
    lemmas = {token: wordnet.noun(token) for token in {token for text in tokens for token in text}}
    wanted_tokens = {token for token, lemma in lemmas.items() if lemma in wanted}
    parts = [part for part in ENDINGS if part != "noun"]
    doubtful = {
        token
        for token in wanted_tokens - ALWAYS_NOUNS
        if any(wordnet.knows(token, part) for part in parts) or not wordnet.knows(token, "noun")
    }
    places = [[n for n, token in enumerate(text) if token in doubtful] for text in tokens]
    nouns = []
    for text, at, tags in zip(tokens, places, tags_at(tokens, places), strict=True):
        others = {n for n, (tag, _) in zip(at, tags, strict=True) if not tag.startswith("NN")}
        nouns.append([lemmas[t] for n, t in enumerate(text) if t in wanted_tokens and n not in others])
    return nouns

"""WordNet's lemmas by part of speech, as the later CHAIR script has them: tag the tokens, look each up under its tag.

The script tags with NLTK's perceptron and looks up with NLTK's `WordNetLemmatizer`. Here the shipped parser's tagger
tags, which agrees with the perceptron on most words, and the tables are those of `spacy-lookups-data` (WordNet 3.0).

Two habits of the shipped tagger are corrected. It takes rare plurals for verbs ('umbrellas'): a word that WordNet does
not know under its tag is looked up as a noun. It takes a participle before a noun for a verb ('potted plants'): the
participle is looked up as an adjective if WordNet has one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from seelevel.errors import InputError

if TYPE_CHECKING:
    from spacy.language import Language

# WordNet's rules of detachment (its man page `morphy(7WN)`): an ending and what stands in its place.
ENDINGS = {
    "noun": (
        ("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"),
        ("men", "man"), ("ies", "y"),
    ),
    "verb": (("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    "adj": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "adv": (),
}  # fmt: skip
# The first letter of a Penn tag; every other word is looked up as a noun, as the script does.
PART_OF = {"J": "adj", "V": "verb", "N": "noun", "R": "adv"}
PARTICIPLES = {"VBN", "VBG"}
NO_TABLES = "the lemmatizer wordnet needs WordNet's tables; pip install 'seelevel[wordnet]' or take singularize"


class WordNet:
    """Tokens to WordNet's lemmas. Raises `InputError` where its tables are not installed."""

    def __init__(self) -> None:
        self._words, self._exceptions = _tables()
        self._lemmas: dict[tuple[str, str], str] = {}

    def noun(self, token: str) -> str:
        """A lower-case token's lemma as a noun."""
        return self.lemma(token, "noun")

    def texts(self, texts: Sequence[Sequence[str]], wanted: Collection[str]) -> list[list[str]]:
        """Lemmas of tokenised, lower-case texts. Only lemmas that are `wanted` are sure to be right: a token that is a
        wanted word under no tag, or the same one under all, is never tagged."""
        nouns = {token: self.noun(token) for token in {token for text in texts for token in text}}
        doubtful = {token for token in nouns if len({_only(self.lemma(token, p), wanted) for p in ENDINGS}) > 1}
        places = [[n for n, token in enumerate(text) if token in doubtful] for text in texts]
        found = [[nouns[token] for token in text] for text in texts]
        for lemmas, text, at, tags in zip(found, texts, places, _tags(texts, places), strict=True):
            for n, (tag, next_tag) in zip(at, tags, strict=True):
                lemmas[n] = self.lemma(text[n], self._part(text[n], tag, next_tag))
        return found

    def _part(self, token: str, tag: str, next_tag: str) -> str:
        """A token's part of speech by its tag and the next one's. A participle before a noun that WordNet has as an
        adjective is one, as in the Penn treebank ('potted plants'); the shipped tagger calls it a verb."""
        if tag in PARTICIPLES and next_tag.startswith("N") and token in self._words["adj"]:
            return "adj"
        return PART_OF.get(tag[:1], "noun")

    def lemma(self, token: str, part: str) -> str:
        """The shortest word that WordNet has for a token's forms, or the token itself.

        A token that WordNet does not know as `part` is taken for a noun, which the script does not do: the shipped
        tagger calls rare plurals verbs ('umbrellas').
        """
        if (token, part) not in self._lemmas:
            forms = self._morphy(token, part) or self._morphy(token, "noun")
            self._lemmas[token, part] = min(forms, key=len, default=token)
        return self._lemmas[token, part]

    def _morphy(self, token: str, part: str) -> list[str]:
        words, exceptions = self._words[part], self._exceptions[part]
        if token in exceptions:
            return [word for word in (token, *exceptions[token]) if word in words]
        forms = [token]
        detached = _detach(forms, part)
        found = [word for word in forms + detached if word in words]
        while detached and not found:
            detached = _detach(detached, part)
            found = [word for word in detached if word in words]
        return found


def _detach(forms: Sequence[str], part: str) -> list[str]:
    return [form[: -len(old)] + new for form in forms for old, new in ENDINGS[part] if form.endswith(old)]


def _only(word: str, wanted: Collection[str]) -> str:
    return word if word in wanted else ""


@cache
def _tables() -> tuple[dict[str, frozenset[str]], dict[str, Mapping[str, list[str]]]]:
    """WordNet's words and its exceptions, each by part of speech."""
    from spacy.lookups import load_lookups

    try:
        tables = load_lookups("en", ["lemma_index", "lemma_exc"])
    except ValueError as error:
        raise InputError(NO_TABLES) from error
    words, exceptions = tables.get_table("lemma_index"), tables.get_table("lemma_exc")
    return {part: frozenset(words[part]) for part in ENDINGS}, {part: dict(exceptions[part]) for part in ENDINGS}


def _tags(texts: Sequence[Sequence[str]], places: Sequence[Sequence[int]]) -> list[list[tuple[str, str]]]:
    """Penn tags of the tokens at some places of each text, and of the tokens after them ('' at the end).

    The tagger sees a few tokens to either side only, so that nothing beyond them need be read: the tags are those of
    the whole text.
    """
    from spacy.tokens import Doc

    nlp, reach = _tagger()
    windows = [_windows(at, len(text), reach) for text, at in zip(texts, places, strict=True)]
    docs = nlp.pipe(
        Doc(nlp.vocab, words=list(text[start:end]))
        for text, own in zip(texts, windows, strict=True)
        for start, end in own
    )
    tags = []
    for at, own in zip(places, windows, strict=True):
        seen = {start + n: token.tag_ for start, _ in own for n, token in enumerate(next(docs))}
        tags.append([(seen[n], seen.get(n + 1, "")) for n in at])
    return tags


def _windows(places: Sequence[int], length: int, reach: int) -> list[tuple[int, int]]:
    """Stretches that hold `reach` tokens to either side of each place, those that touch joined."""
    found: list[tuple[int, int]] = []
    for place in places:
        start, end = max(0, place - reach), min(length, place + reach + 1)
        if found and start <= found[-1][1]:
            start = found.pop()[0]
        found.append((start, end))
    return found


@cache
def _tagger() -> tuple[Language, int]:
    """The shipped pipeline without its parser, and how many tokens to either side its tagger sees."""
    import spacy

    from seelevel.language.parse import BUILTIN, UNUSED

    nlp = spacy.load(BUILTIN, exclude=[*UNUSED, "parser"])
    encoder = nlp.config["components"]["tok2vec"]["model"]["encode"]
    return nlp, encoder["depth"] * encoder["window_size"] + 1  # one more for the next token's tag

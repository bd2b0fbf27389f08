"""WordNet's lemmas by part of speech, as in the later CHAIR script: tag each token, look it up under its tag.

The script tags with NLTK's perceptron and looks up with NLTK's `WordNetLemmatizer`. Here the tags are the shipped
parser's, which agree with the perceptron's on most words, and the tables are those of `spacy-lookups-data` (WordNet
3.0). The shipped tags are corrected where the two are known to differ:

- A word that WordNet does not have under its tag is looked up as a noun, for rare plurals are called verbs
  ('umbrellas'). So is a verb in -s that is a noun, too ('kites', whose shortest verb is 'kit').
- A participle before a noun is looked up as an adjective if WordNet has it as one ('potted plants').
- A gerund is a noun before a noun ('a skateboarding trick', 'the seating area') and else a verb ('for seating'), except
  for a few nouns of everyday speech ('bedding').
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from seelevel.errors import InputError

if TYPE_CHECKING:
    from spacy.language import Language

# WordNet's rules of detachment (its man page `morphy(7WN)`): an ending and its replacement.
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
BE = {"am", "are", "be", "been", "is", "was", "were", "'re", "'s"}
NOUNS = {"bedding", "training"}
"""Words in -ing that are nouns wherever they stand."""
NO_TABLES = "the lemmatizer wordnet needs WordNet's tables; pip install 'seelevel[wordnet]' or use singularize"


class WordNet:
    """A lemmatizer that looks tokens up in WordNet. Raises `InputError` if its tables are not installed."""

    def __init__(self) -> None:
        self._words, self._exceptions = _tables()
        self._lemmas: dict[tuple[str, str], str] = {}

    def noun(self, token: str) -> str:
        """A lower-case token's lemma as a noun."""
        return self.lemma(token, "noun")

    def texts(self, texts: Sequence[Sequence[str]], wanted: Collection[str]) -> list[list[str]]:
        """Lemmas of tokenised, lower-case texts, of which only those that are `wanted` are sure to be right.

        A token whose tag cannot matter is never tagged: it is a wanted word under no tag, or the same one under all.
        """
        nouns = {token: self.noun(token) for token in {token for text in texts for token in text}}
        doubtful = {token for token in nouns if len({_only(self.lemma(token, p), wanted) for p in ENDINGS}) > 1}
        places = [[n for n, token in enumerate(text) if token in doubtful] for text in texts]
        lemmatised = [[nouns[token] for token in text] for text in texts]
        for lemmas, text, at, tags in zip(lemmatised, texts, places, tags_at(texts, places), strict=True):
            for n, (tag, next_tag) in zip(at, tags, strict=True):
                before = text[n - 1] if n else ""
                lemmas[n] = self.lemma(text[n], self._part(text[n], tag, before, next_tag))
        return lemmatised

    def _part(self, token: str, tag: str, before: str, next_tag: str) -> str:
        """A token's part of speech by its tag, the token before it and the tag after it. See the module's text."""
        noun_next = next_tag.startswith("N")
        if tag == "VBZ" and self._morphy(token, "noun"):
            return "noun"
        if tag in PARTICIPLES and noun_next and token in self._words["adj"]:
            return "adj"
        if token.endswith("ing") and tag in ("VBG", "NN") and self._morphy(token, "verb"):
            if tag == "VBG" and before in BE:
                return "verb"
            return "noun" if noun_next or token in NOUNS else "verb"
        return PART_OF.get(tag[:1], "noun")

    def lemma(self, token: str, part: str) -> str:
        """The shortest word that WordNet has for a token's forms, or the token itself.

        A token that WordNet does not have as `part` is looked up as a noun, which the script does not do.
        """
        if (token, part) not in self._lemmas:
            forms = self._morphy(token, part) or self._morphy(token, "noun")
            self._lemmas[token, part] = min(forms, key=len, default=token)
        return self._lemmas[token, part]

    def knows(self, token: str, part: str) -> bool:
        """Whether WordNet has a form of a token as a part of speech, one of `ENDINGS`."""
        return bool(self._morphy(token, part))

    def _morphy(self, token: str, part: str) -> list[str]:
        words, exceptions = self._words[part], self._exceptions[part]
        if token in exceptions:
            return [word for word in (token, *exceptions[token]) if word in words]
        forms = [token]
        detached = _detach(forms, part)
        lemmas = [word for word in forms + detached if word in words]
        while detached and not lemmas:
            detached = _detach(detached, part)
            lemmas = [word for word in detached if word in words]
        return lemmas


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


def tags_at(texts: Sequence[Sequence[str]], places: Sequence[Sequence[int]]) -> list[list[tuple[str, str]]]:
    """Penn tags of the tokens at some places of each text, and of the tokens after them ('' at the end).

    The tagger sees only a few tokens on either side, so it is run on stretches of the texts. The tags are those of the
    whole texts.
    """
    from spacy.tokens import Doc

    nlp, reach = _tagger()
    windows = [_windows(at, len(text), reach) for text, at in zip(texts, places, strict=True)]
    docs = nlp.pipe(
        Doc(nlp.vocab, words=list(text[start:end]))
        for text, stretches in zip(texts, windows, strict=True)
        for start, end in stretches
    )
    tags = []
    for at, stretches in zip(places, windows, strict=True):
        tag_at = {start + n: token.tag_ for start, _ in stretches for n, token in enumerate(next(docs))}
        tags.append([(tag_at[n], tag_at.get(n + 1, "")) for n in at])
    return tags


def _windows(places: Sequence[int], length: int, reach: int) -> list[tuple[int, int]]:
    """Stretches with `reach` tokens on either side of each place; stretches that touch are joined."""
    windows: list[tuple[int, int]] = []
    for place in places:
        start, end = max(0, place - reach), min(length, place + reach + 1)
        if windows and start <= windows[-1][1]:
            start = windows.pop()[0]
        windows.append((start, end))
    return windows


@cache
def _tagger() -> tuple[Language, int]:
    """The shipped pipeline without its parser, and the number of tokens on either side that its tagger sees."""
    import spacy

    from seelevel.language.parse import BUILTIN, UNUSED

    nlp = spacy.load(BUILTIN, exclude=[*UNUSED, "parser"])
    encoder = nlp.config["components"]["tok2vec"]["model"]["encode"]
    return nlp, encoder["depth"] * encoder["window_size"] + 1  # one more for the next token's tag

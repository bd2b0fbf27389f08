"""Mentions of objects in a text, as CHAIR counts them (Rohrbach et al. 2018, arXiv 1809.02156).

A text is lower-cased, tokenised as by NLTK 3.8 (`seelevel.language.tokens`), and lemmatised: `singularize` gives each
token's singular (the first public script), `wordnet` gives WordNet's lemma (the later script). Two tokens that form a
double word ('fire hydrant', 'baby giraffe') count as one token. Each token that is a synonym of an object is a mention
of it. All rules are the public scripts' rules, even the odd ones, because published tables rest on them.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from seelevel.errors import InputError
from seelevel.language.tokens import tokenize
from seelevel.opening import read_text
from seelevel.registry import choose

LEMMATIZERS = {"singularize": "seelevel.language.mentions:Singularize", "wordnet": "seelevel.language.wordnet:WordNet"}

COCO_DOUBLE_WORDS = (
    "motor bike", "motor cycle", "air plane", "traffic light", "street light", "traffic signal", "stop light",
    "fire hydrant", "stop sign", "parking meter", "suit case", "sports ball", "baseball bat", "baseball glove",
    "tennis racket", "wine glass", "hot dog", "cell phone", "mobile phone", "teddy bear", "hair drier",
    "potted plant", "bow tie", "laptop computer", "home plate", "train track",
)  # fmt: skip
ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "animal", "cub")
VEHICLES = ("jet", "train")
# Two tokens and the word that they count as. 'Baby' and 'passenger' would otherwise be people. The published lemmatizer
# turns 'glass' into 'glas'.
PUBLISHED_JOINED = (
    {words: words for words in COCO_DOUBLE_WORDS}
    | {f"{age} {animal}": animal for animal in ANIMALS for age in ("baby", "adult")}
    | {f"passenger {vehicle}": vehicle for vehicle in VEHICLES}
    | {"bow tie": "tie", "toilet seat": "toilet", "wine glas": "wine glass"}
)
SEAT_OF_TOILET = {"toilet", "seat"}
# A list that names these is COCO's. It gets only the published table, so that published figures come out to the digit.
COCO_MARKS = {"sports ball", "potted plant", "hair drier"}


class Lemmatizer(Protocol):
    """Lower-case tokens to lemmas."""

    def noun(self, token: str) -> str:
        """A single token's lemma, as a noun."""
        ...

    def texts(self, texts: Sequence[Sequence[str]], wanted: Collection[str]) -> list[list[str]]:
        """The lemmas of each text, one per token. Only lemmas that are `wanted` need to be right."""
        ...


class Singularize:
    """A lemmatizer that takes every token for a noun, as the script of the POPE paper does."""

    def noun(self, token: str) -> str:
        return singular(token)

    def texts(self, texts: Sequence[Sequence[str]], wanted: Collection[str]) -> list[list[str]]:
        return [[singular(token) for token in text] for text in texts]


@dataclass(frozen=True)
class Mention:
    """An object named in a text: the object, the list's word for it, and the index of its first token."""

    object: str
    word: str
    token: int


def read_synonyms(path: Path | str) -> list[list[str]]:
    """CHAIR's synonym list: one object per line, first its name, then its synonyms, separated by commas.

    Raises `InputError` if the file is missing, empty, or has a line without a name.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"synonym list {path} does not exist; give a file with one object and its synonyms per line")
    try:
        text = read_text(path, "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"synonym list {path} is not UTF-8 text (byte {error.start}); convert the file") from error
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        # One space after the comma belongs to the separator, as in the public script. A second space stays in the word,
        # which then never matches (' motor bike' in the original list). Published figures rest on that.
        row = re.split(", ?", line.strip())
        if not row[0].strip():
            raise InputError(f"{path}, line {number}: no object before the first comma; write its name there")
        rows.append(row)
    if not rows:
        raise InputError(f"synonym list {path} is empty; write one object and its synonyms per line")
    return rows


class Mentions:
    """A finder of mentions of a synonym list's objects.

    `lemmatizer` is a name of `LEMMATIZERS`. Raises `InputError` if it is unknown.
    """

    def __init__(self, synonyms: Iterable[list[str]], lemmatizer: str = "singularize") -> None:
        self._lemmatizer: Lemmatizer = choose("lemmatizer", lemmatizer, LEMMATIZERS)()
        rows = list(synonyms)
        self.objects = [row[0] for row in rows]
        self._object_of = {word: row[0] for row in rows for word in row}
        self._joined = dict(PUBLISHED_JOINED)
        if COCO_MARKS - set(self.objects):
            self._add_forms()
        self._longest = max(len(words.split()) for words in self._joined)
        self._starts = {words.split()[0] for words in self._joined}
        self._wanted = {*self._object_of, *SEAT_OF_TOILET}.union(*(words.split() for words in self._joined))

    def _add_forms(self) -> None:
        """For lists other than COCO's: join every listed word of several tokens, and add each word's lemma ('glas' for
        'glass')."""
        for word in list(self._object_of):
            form = " ".join(self._lemmatizer.noun(token) for token in tokenize(word.strip().lower()))
            if " " in form:
                self._joined[form] = word
            else:
                self._object_of.setdefault(form, self._object_of[word])

    def object_of(self, word: str) -> str | None:
        """The object that a listed word names; None if the list does not have the word."""
        return self._object_of.get(word)

    def find(self, text: str) -> list[Mention]:
        """The mentions in a text, in order; an object named twice is two mentions."""
        return self.find_all([text])[0]

    def find_all(self, texts: Iterable[str]) -> list[list[Mention]]:
        """`find` for many texts; taggers are faster on many texts at once."""
        tokens = [tokenize(text.lower()) for text in texts]
        return [self._mentions(lemmas) for lemmas in self._lemmatizer.texts(tokens, self._wanted)]

    def _mentions(self, tokens: list[str]) -> list[Mention]:
        words: list[tuple[str, int]] = []
        place = 0
        while place < len(tokens):
            word, length = tokens[place], 1
            for size in range(self._longest if word in self._starts else 1, 1, -1):
                joined = self._joined.get(" ".join(tokens[place : place + size]))
                if joined is not None:
                    word, length = joined, size
                    break
            words.append((word, place))
            place += length
        # 'The seat of the toilet' is not a chair.
        skip = {"seat"} if {word for word, _ in words} >= SEAT_OF_TOILET else set()
        return [Mention(self._object_of[w], w, at) for w, at in words if w in self._object_of and w not in skip]


@cache
def _inflection() -> Callable[[str], str]:
    """TextBlob's `singularize`, loaded by path because `import textblob` would load all of NLTK, which takes seconds.

    The published counts rest on exactly these rules, so the installed file is used instead of a copy.
    """
    package = importlib.util.find_spec("textblob")
    assert package is not None and package.submodule_search_locations
    file = Path(package.submodule_search_locations[0]) / "en" / "inflect.py"
    spec = importlib.util.spec_from_file_location("_textblob_inflect", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.singularize  # type: ignore[no-any-return]


@cache
def singular(word: str) -> str:
    """A lower-case word's singular by the rules of `pattern` (TextBlob carries them)."""
    return _inflection()(word)


def places_of(words: Iterable[str], text: str) -> list[tuple[int, int, str]]:
    """(start, end, word) of the places where a text names one of the words, in singular or plural and in any case.

    Objects are counted by the singular form of their words, so this function compares singular forms too. The longest
    word wins: 'hot dog' is not a 'dog'.
    """
    tokens = [(m.start(), m.end(), m.group()) for m in re.finditer(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", text.lower())]
    forms = [(token, singular(token)) for _, _, token in tokens]
    targets = {form: word for word in words for form in (tuple(map(singular, word.split())), tuple(word.split()))}
    places, at = list[tuple[int, int, str]](), 0
    sizes = sorted({len(target) for target in targets}, reverse=True)
    while at < len(tokens):
        size, word = next(((n, w) for n in sizes if (w := _word_at(forms[at : at + n], n, targets))), (0, ""))
        if size:
            places.append((tokens[at][0], tokens[at + size - 1][1], word))
        at += size or 1
    return places


def _word_at(forms: Sequence[tuple[str, str]], size: int, targets: Mapping[tuple[str, ...], str]) -> str:
    """The word that these tokens are, as they stand or in singular; empty if they are none."""
    words = (targets.get(tuple(form[kind] for form in forms), "") for kind in (0, 1))
    return next(filter(None, words), "") if len(forms) == size else ""

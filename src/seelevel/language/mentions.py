"""Which objects a text mentions, as CHAIR counts them (Rohrbach et al. 2018, arXiv 1809.02156).

A text is lower-cased, tokenised as NLTK's `word_tokenize` does, and every token is brought to its lemma: its singular
(`singularize`, the first script) or WordNet's word for it (`wordnet`, the later one). Two tokens that form a double
word ('fire hydrant', 'baby giraffe') count as one; then each token that is a synonym of an object is a mention of it.
The rules, odd ones among them, are the public scripts', because published tables rest on them.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Protocol

from seelevel.errors import InputError
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
# Two tokens and the word they count as: 'baby' and 'passenger' would otherwise be people, 'glas' is what the published
# lemmatizer makes of 'glass'.
PUBLISHED_JOINED = (
    {words: words for words in COCO_DOUBLE_WORDS}
    | {f"{age} {animal}": animal for animal in ANIMALS for age in ("baby", "adult")}
    | {f"passenger {vehicle}": vehicle for vehicle in VEHICLES}
    | {"bow tie": "tie", "toilet seat": "toilet", "wine glas": "wine glass"}
)
SEAT_OF_TOILET = {"toilet", "seat"}
# A list that names these is COCO's: it gets the published table alone, so that published figures come out to the digit.
COCO_MARKS = {"sports ball", "potted plant", "hair drier"}


class Lemmatizer(Protocol):
    """Lower-case tokens to lemmas."""

    def noun(self, token: str) -> str:
        """A single token's lemma, as a noun."""
        ...

    def texts(self, texts: Sequence[Sequence[str]], wanted: Collection[str]) -> list[list[str]]:
        """As many lemmas as tokens, a text. A lemma that is not `wanted` need not be right."""
        ...


class Singularize:
    """Every token as if it were a noun, as the script of the POPE paper does it."""

    def noun(self, token: str) -> str:
        return singular(token)

    def texts(self, texts: Sequence[Sequence[str]], wanted: Collection[str]) -> list[list[str]]:
        return [[singular(token) for token in text] for text in texts]


@dataclass(frozen=True)
class Mention:
    """An object named in a text: the object, the list's word for it, and its place among the text's tokens."""

    object: str
    word: str
    token: int


def read_synonyms(path: Path | str) -> list[list[str]]:
    """CHAIR's synonym list: one object a line, its name first, then its synonyms, comma separated.

    Raises `InputError` when the file is missing, empty, or has a line without a name.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"synonym list {path} does not exist; give a file with one object and its synonyms a line")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"synonym list {path} is not UTF-8 text (byte {error.start}); convert the file") from error
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        # One space after the comma belongs to the separator, as in the public script: a second one stays in the word,
        # which then never matches (' motor bike' in the original list), and published figures rest on that.
        row = re.split(", ?", line.strip())
        if not row[0].strip():
            raise InputError(f"{path}, line {number}: no object before the first comma; write its name there")
        rows.append(row)
    if not rows:
        raise InputError(f"synonym list {path} is empty; write one object and its synonyms a line")
    return rows


class Mentions:
    """Finds the mentions of a synonym list's objects in texts.

    `lemmatizer` is a name of `LEMMATIZERS`. Raises `InputError` when it is unknown.
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
        """For lists other than COCO's: count every listed word of several tokens as one, and know a word as the
        lemmatizer leaves it ('glass' becomes 'glas')."""
        for word in list(self._object_of):
            form = " ".join(self._lemmatizer.noun(token) for token in tokenize(word.strip().lower()))
            if " " in form:
                self._joined[form] = word
            else:
                self._object_of.setdefault(form, self._object_of[word])

    def find(self, text: str) -> list[Mention]:
        """The mentions in a text, in its order; an object named twice is two mentions."""
        return self.find_all([text])[0]

    def find_all(self, texts: Iterable[str]) -> list[list[Mention]]:
        """`find` for many texts, which taggers read faster together."""
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
        # 'The seat of the toilet' is no chair.
        skip = {"seat"} if {word for word, _ in words} >= SEAT_OF_TOILET else set()
        return [Mention(self._object_of[w], w, at) for w, at in words if w in self._object_of and w not in skip]


def tokenize(text: str) -> list[str]:
    """The tokens of NLTK's `word_tokenize`, which splits sentences first so that each one's last period comes off.

    Its sentence splitter needs data that must be downloaded; here every period before a space comes off instead. The
    two differ in abbreviations only ('u.s.'), which are no objects.
    """
    return [token for word in _LAST_PERIOD.sub(r" .\1 ", text).split(" ") if word for token in _tokens_of(word)]


_LAST_PERIOD = re.compile(r"(?<=[^\s.])\.([\])}>\"'»”’]*)(?:\s+|$)")


@lru_cache(maxsize=1 << 16)
def _tokens_of(word: str) -> tuple[str, ...]:
    """NLTK's tokens of what stands between two spaces: none of its rules reaches beyond, and words recur."""
    return tuple(_word_tokenizer()(f"x {word} x")[1:-1])


@cache
def _word_tokenizer() -> Callable[[str], list[str]]:
    from nltk.tokenize.destructive import NLTKWordTokenizer  # here, because importing nltk takes seconds

    return NLTKWordTokenizer().tokenize  # type: ignore[no-any-return]


@cache
def _inflection() -> Callable[[str], str]:
    # By path: importing `textblob` itself would load all of NLTK and look for its corpora.
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

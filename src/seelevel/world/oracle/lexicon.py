"""The words that the oracle understands, and the regions of a picture that English names loosely."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from seelevel.world.pictures.scenes import COLOURS, KINDS, PLACES, PLURALS, SETTINGS


@dataclass(frozen=True)
class Noun:
    """A noun form: its lemma, the kinds that it names for certain and those that it may name."""

    lemma: str
    kinds: frozenset[str]
    maybe: frozenset[str]
    plural: bool


@dataclass(frozen=True)
class Region:
    """Part of a picture: the places inside it and those surely outside; every other place is open."""

    name: str
    inside: frozenset[str]
    outside: frozenset[str]


SYNONYMS: dict[str, str] = {
    "automobile": "car", "lorry": "truck", "bike": "bicycle", "puppy": "dog", "kitten": "cat", "mug": "cup",
    "piglet": "pig", "pail": "bucket",
}  # fmt: skip
HYPERNYMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "animal": (("cow", "horse", "pig", "dog", "cat", "bird"), ()),
    "vehicle": (("car", "bus", "truck", "tractor"), ("bicycle", "boat")),
}
FOREIGN: tuple[str, ...] = (
    "person", "man", "woman", "child", "boy", "girl", "elephant", "giraffe", "zebra", "lion", "tiger", "bear",
    "monkey", "rabbit", "sheep", "goat", "duck", "chicken", "airplane", "train", "motorcycle", "pizza", "banana",
    "laptop", "computer", "television", "phone", "piano", "guitar", "sofa", "couch", "toilet", "fork", "spoon",
)  # fmt: skip
"""Things that the world never draws: an answer that names one invents it."""
IRREGULAR: dict[str, str] = {
    "person": "people", "man": "men", "woman": "women", "child": "children", "sheep": "sheep", "puppy": "puppies",
    "lorry": "lorries",
}  # fmt: skip


def _nouns() -> dict[str, Noun]:
    nouns: dict[str, Noun] = {}

    def add(lemma: str, plural: str, kinds: Sequence[str], maybe: Sequence[str] = ()) -> None:
        for form, many in ((lemma, False), (plural, True)):
            if lemma != plural:  # 'sheep' may be one or several
                nouns[form] = Noun(lemma, frozenset(kinds), frozenset(maybe), many)

    for kind in KINDS:
        add(kind, PLURALS[kind], [kind])
    for word, kind in SYNONYMS.items():
        add(word, IRREGULAR.get(word, word + "s"), [kind])
    for word, (sure, maybe) in HYPERNYMS.items():
        add(word, word + "s", sure, maybe)
    for word in FOREIGN:
        add(word, IRREGULAR.get(word, word + ("es" if word.endswith("ch") else "s")), [])
    return nouns


NOUNS = _nouns()
COUNTED = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
NUMBER_WORDS: dict[str, int] = {word: n for n, word in enumerate(COUNTED)} | {str(n): n for n in range(21)}
SIZE_WORDS = {"small": "small", "little": "small", "tiny": "small", "large": "large", "big": "large"}
COLOUR_WORDS = {colour: colour for colour in COLOURS} | {
    "violet": "purple", "pink": "pink", "orange": "orange", "grey": "grey", "gray": "grey",
}  # fmt: skip
SETTING_WORDS = {setting: setting for setting in SETTINGS}
IMAGE_WORDS = ("image", "picture", "photo", "photograph", "scene")
SHOWS = ("shows", "contains", "has", "depicts", "features", "includes", "show", "contain", "have", "depict", "include")
VISIBLE = ("visible", "present", "shown", "located", "placed", "positioned", "situated", "sitting", "standing", "lying")
POSTURES = ("sits", "sit", "stands", "stand", "rests", "rest", "lies", "lie")
FILLERS = {"also", "clearly", "indeed", "actually"}
"""Words that do not change a claim."""

CONTRACTIONS = (
    (r"\bcan't\b|\bcannot\b", "can not"), (r"\bwon't\b", "will not"), (r"n't\b", " not"), (r"'s\b", " is"),
    (r"'re\b", " are"), (r"'m\b", " am"), (r"\bas well as\b|\balong with\b|\btogether with\b", "and"),
    (r"\bas well\b", "also"),
)  # fmt: skip


def normal(text: str) -> str:
    """Lower case, straight apostrophes, contractions written out, hyphens between letters as spaces."""
    text = text.lower().replace("\u2019", "'")
    for pattern, words in CONTRACTIONS:
        text = re.sub(pattern, words, text)
    return re.sub(r"(?<=[a-z])-(?=[a-z])", " ", text)


def tokens_of(sentence: str) -> list[str] | None:
    """Words, numbers and commas of one statement without its final period; None for a question or strange marks."""
    text = re.sub(r"[.!;]+$", "", normal(sentence).strip())
    if re.search(r"[^a-z0-9, ]", text):
        return None
    words = [word for word in re.findall(r"[a-z]+|\d+|,", text) if word not in FILLERS]
    while words and words[-1] in (",", "too"):
        words.pop()
    return words


# -- regions ----------------------------------------------------------------------------------------------------------

ROWS = {"upper": 0, "top": 0, "lower": 2, "bottom": 2}
COLUMNS = {"left": 0, "right": 2}
MIDDLE = ("middle", "center", "centre", "central")
PARTS = ("corner", "part", "side", "area", "section", "region")


def _places(row: int | None, column: int | None) -> frozenset[str]:
    return frozenset(p for i, p in enumerate(PLACES) if row in (None, i // 3) and column in (None, i % 3))


ALL = frozenset(PLACES)
CORNERS = _places(0, 0) | _places(0, 2) | _places(2, 0) | _places(2, 2)


def region(words: Sequence[str], near: bool = False) -> Region | None:
    """The region that words such as ('upper', 'left'), ('bottom',) or ('middle',) name; None for other words.

    'On the left' leaves the middle column open; 'in the middle' leaves all but the corners open. 'Near' leaves open
    every place that is not on the opposite side of the picture.
    """
    rows = [ROWS[w] for w in words if w in ROWS]
    columns = [COLUMNS[w] for w in words if w in COLUMNS]
    middles = [w for w in words if w in MIDDLE]
    if len(rows) + len(columns) + len(middles) != len(words) or len(rows) > 1 or len(columns) > 1 or len(words) > 2:
        return None
    name = " ".join(words)
    if rows and columns and list(words).index(_first(words, COLUMNS)) < list(words).index(_first(words, ROWS)):
        return None  # 'left upper' is not English
    if len(words) == 2 and len(middles) < 2:
        inside = _places(rows[0] if rows else 1, columns[0] if columns else 1)
        outside = ALL - inside
    elif rows:
        inside, outside = _places(rows[0], None), _places(2 - rows[0], None)
    elif columns:
        inside, outside = _places(None, columns[0]), _places(None, 2 - columns[0])
    elif len(words) == 1:
        inside = frozenset(["center"])
        outside = CORNERS if words[0] == "middle" else ALL - inside
    else:
        return None
    if near:
        outside = frozenset(p for p in ALL if all(_across(p, q) for q in inside))
    return Region(name, inside, outside)


def _first(words: Sequence[str], table: dict[str, int]) -> str:
    return next(word for word in words if word in table)


def _across(a: str, b: str) -> bool:
    i, j = PLACES.index(a), PLACES.index(b)
    return abs(i // 3 - j // 3) == 2 or abs(i % 3 - j % 3) == 2


def region_at(tokens: Sequence[str], i: int, near: bool) -> Iterator[tuple[Region, int]]:
    """Regions whose words start at a token: (region, next token)."""
    if i < len(tokens) and tokens[i] == "corner":
        yield Region("corner", CORNERS, ALL - CORNERS), i + 1
    for length in (2, 1):
        match = region(tokens[i : i + length], near) if i + length <= len(tokens) else None
        if match is not None:
            j = i + length
            yield match, j
            if j < len(tokens) and tokens[j] in PARTS:
                if tokens[j] != "corner" or match.inside <= CORNERS:
                    yield match, j + 1
            elif j < len(tokens) and tokens[j] == "half" and length == 1:
                yield match, j + 1

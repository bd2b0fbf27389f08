"""Phrases of sentences about scenes: noun phrases, places, looks, each in every way that it can be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from seelevel.world.oracle.lexicon import (
    COLOUR_WORDS,
    IMAGE_WORDS,
    NOUNS,
    NUMBER_WORDS,
    SETTING_WORDS,
    SIZE_WORDS,
    VISIBLE,
    Region,
    region_at,
)
from seelevel.world.pictures.scenes import KINDS

BE = ("is", "are")
NUMBER_LEADS = ("the", "all", "only", "just", "exactly", "precisely", "a group of", "a total of")
"""Words before a number that do not change it."""
Number = int | Literal["a", "the", "bare", "some", "few", "many", "any", "no"]


@dataclass(frozen=True)
class Thing:
    """A noun phrase: the kinds that it names for certain (`kinds`) or perhaps (`maybe`), their number and attributes.

    lone: a singular without an article, as in notes ('red cup').
    """

    word: str = ""
    kinds: frozenset[str] = frozenset()
    maybe: frozenset[str] = frozenset()
    number: Number = "the"
    plural: bool = False
    pronoun: bool = False
    lone: bool = False
    sizes: frozenset[str] = frozenset()
    colours: frozenset[str] = frozenset()
    regions: tuple[Region, ...] = ()
    settings: frozenset[str] = frozenset()

    def like(self, other: Thing) -> Thing:
        """This thing with another's attributes added."""
        return replace(
            self,
            sizes=self.sizes | other.sizes,
            colours=self.colours | other.colours,
            regions=self.regions + other.regions,
            settings=self.settings | other.settings,
        )

    @property
    def bare(self) -> bool:
        return not (self.sizes or self.colours or self.regions or self.settings)


EMPTY = Thing()


def _by_first(
    rows: Iterable[tuple[str, Number, bool | None]],
) -> dict[str, list[tuple[list[str], Number, bool | None]]]:
    rows_by_word: dict[str, list[tuple[list[str], Number, bool | None]]] = {}
    for phrase, number, plural in rows:
        rows_by_word.setdefault(phrase.split()[0], []).append((phrase.split(), number, plural))
    return rows_by_word


DETERMINERS = _by_first(
    (
        ("no", "no", None), ("not a single", "no", False), ("not any", "no", None), ("any", "any", None),
        ("a single", 1, False), ("a pair of", 2, True), ("a couple of", 2, True), ("a trio of", 3, True),
        ("the pair of", 2, True), ("the single", 1, False), ("both", 2, True), ("both the", 2, True),
        ("both of the", 2, True), ("all the", "the", True), ("all of the", "the", True), ("the", "the", None),
        ("a", "a", False), ("an", "a", False), ("some", "some", True), ("several", "few", True),
        ("a few", "few", True), ("a number of", "few", True), ("many", "many", True), ("lots of", "many", True),
        ("a lot of", "many", True),
    )
)  # fmt: skip
"""Determiners by their first word: (words, number, plural or None if the noun decides)."""
LEADS = {
    lead.split()[0]: [other.split() for other in NUMBER_LEADS if other.split()[0] == lead.split()[0]]
    for lead in NUMBER_LEADS
}


class Phrases:
    """Recursive descent with backtracking: a rule yields (meaning, next token) for each way it matches at a token."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def at(self, i: int, *words: str) -> bool:
        return i < len(self.tokens) and self.tokens[i] in words

    def after(self, i: int, phrase: str) -> int | None:
        """The token after a phrase; None if the phrase is not at `i`."""
        words = phrase.split()
        return i + len(words) if self.tokens[i : i + len(words)] == words else None

    def comma(self, i: int) -> int:
        return i + 1 if self.at(i, ",") else i

    # -- noun phrases ------------------------------------------------------------------------------------------------

    def determiner(self, i: int) -> Iterator[tuple[Number, bool | None, int]]:
        """(number, plural or None if the noun decides, next token)."""
        first = self.tokens[i] if i < len(self.tokens) else ""
        for words, value, plural in DETERMINERS.get(first, ()):
            if self.tokens[i : i + len(words)] == words:
                yield value, plural, i + len(words)
        j = i
        for lead in LEADS.get(first, ()):
            if self.tokens[i : i + len(lead)] == lead:
                j = i + len(lead)
        if j < len(self.tokens) and self.tokens[j] in NUMBER_WORDS:
            count = NUMBER_WORDS[self.tokens[j]]
            yield ("no" if count == 0 else count), (count != 1), j + 1
        if i < len(self.tokens):
            yield "bare", None, i

    def adjectives(self, i: int) -> Iterator[tuple[Thing, int]]:
        """Sizes and colours before a noun."""
        attributes = EMPTY
        yield attributes, i
        while i < len(self.tokens):
            if self.tokens[i] in SIZE_WORDS:
                attributes = replace(attributes, sizes=attributes.sizes | {SIZE_WORDS[self.tokens[i]]})
            elif self.tokens[i] in COLOUR_WORDS:
                attributes = replace(attributes, colours=attributes.colours | {COLOUR_WORDS[self.tokens[i]]})
            else:
                return
            i += 1
            yield attributes, i
            if self.at(i, ",") and i + 1 < len(self.tokens) and self.tokens[i + 1] in {**SIZE_WORDS, **COLOUR_WORDS}:
                i += 1

    def simple_thing(self, i: int) -> Iterator[tuple[Thing, int]]:
        """A noun phrase up to its noun."""
        if self.at(i, "it", "they"):
            yield Thing(pronoun=True, plural=self.tokens[i] == "they"), i + 1
        number: Number
        if self.at(i, "nothing", "anything"):
            number = "no" if self.tokens[i] == "nothing" else "any"
            yield Thing("nothing", kinds=frozenset(KINDS), number=number), i + 1
        for number, plural, j in self.determiner(i):
            for attributes, k in self.adjectives(j):
                if k < len(self.tokens) and self.tokens[k] in NOUNS:
                    noun = NOUNS[self.tokens[k]]
                    if plural is not None and plural != noun.plural:
                        continue
                    yield (
                        replace(
                            attributes,
                            word=noun.lemma,
                            kinds=noun.kinds,
                            maybe=noun.maybe,
                            number="a" if number == "bare" and not noun.plural else number,
                            plural=noun.plural,
                            lone=number == "bare" and not noun.plural,
                        ),
                        k + 1,
                    )

    def thing(self, i: int) -> Iterator[tuple[Thing, int]]:
        """A noun phrase, with a place, 'that is red' or 'which are in the upper left' after it."""
        for thing, j in self.simple_thing(i):
            yield thing, j
            if thing.pronoun:
                continue
            for where, k in self.places(j):
                yield thing.like(where), k
            k = self.comma(j)
            if self.at(k, "that", "which") and self.at(k + 1, *BE):
                for what, end in self.attributes(k + 2):
                    yield thing.like(what), end
                    if k > j and self.at(end, ","):
                        yield thing.like(what), end + 1

    def things(self, i: int) -> Iterator[tuple[tuple[Thing, ...], str, int]]:
        """Noun phrases in a row, and what joins them: '', 'and' or 'or'."""
        for first, j in self.thing(i):
            yield (first,), "", j
            yield from self._more((first,), "", j)

    def _more(self, things: tuple[Thing, ...], joint: str, i: int) -> Iterator[tuple[tuple[Thing, ...], str, int]]:
        k = self.comma(i)
        conjunction = self.tokens[k] if self.at(k, "and", "or") else ""
        if self.at(k, "but") and self.at(k + 1, "no"):
            conjunction = "and"
        k += 1 if conjunction else 0
        if k == i:
            return
        for following, j in self.thing(k):
            row = (*things, following)
            if conjunction and joint in ("", conjunction):
                yield row, conjunction, j
                if joint == conjunction or conjunction:
                    yield from self._more(row, conjunction, j)
            elif not conjunction:
                yield from self._more(row, joint, j)

    # -- places, attributes ------------------------------------------------------------------------------------------

    def place(self, i: int) -> Iterator[tuple[Thing, int]]:
        """'in the upper left of the picture', 'on a farm', 'in the image', 'anywhere' as attributes."""
        if self.at(i, "anywhere", "here"):
            yield EMPTY, i + 1
        if not self.at(i, "in", "at", "on", "near", "within", "to", "towards"):
            return
        lead, j = self.tokens[i], i + 1
        if self.at(j, "the", "a", "an", "this"):
            article, j = self.tokens[j], j + 1
        else:
            article = ""
        if article in ("the", "this") and self.at(j, *IMAGE_WORDS) and lead in ("in", "within"):
            yield EMPTY, j + 1
        if article in ("the", "a", "this") and j < len(self.tokens) and self.tokens[j] in SETTING_WORDS:
            if lead in ("in", "at", "on"):
                yield Thing(settings=frozenset([SETTING_WORDS[self.tokens[j]]])), j + 1
            return
        if article == "a" and not self.at(j, "corner"):
            return
        for region, k in region_at(self.tokens, j, near=lead in ("near", "to", "towards")):
            end = k
            yield Thing(regions=(region,)), end
            if self.at(k, "of") and self.at(k + 1, "the", "this") and self.at(k + 2, *IMAGE_WORDS):
                yield Thing(regions=(region,)), k + 3

    def places(self, i: int) -> Iterator[tuple[Thing, int]]:
        """One or two places in a row."""
        for first, j in self.place(i):
            yield first, j
            for second, k in self.place(self.comma(j)):
                yield first.like(second), k

    def looks(self, i: int) -> Iterator[tuple[Thing, int]]:
        """'red', 'small and red', 'red in colour'."""
        for first, j in self._look(i):
            yield first, j
            k = self.comma(j)
            k = k + 1 if self.at(k, "and") else k
            if k > j:
                for second, end in self._look(k):
                    yield first.like(second), end

    def _look(self, i: int) -> Iterator[tuple[Thing, int]]:
        if i < len(self.tokens) and self.tokens[i] in SIZE_WORDS:
            yield Thing(sizes=frozenset([SIZE_WORDS[self.tokens[i]]])), i + 1
        if i < len(self.tokens) and self.tokens[i] in COLOUR_WORDS:
            colour = Thing(colours=frozenset([COLOUR_WORDS[self.tokens[i]]]))
            yield colour, i + 1
            if self.at(i + 1, "in") and self.at(i + 2, "colour", "color"):
                yield colour, i + 3

    def attributes(self, i: int) -> Iterator[tuple[Thing, int]]:
        """Complements of 'is': looks, a place, 'visible', or these in a row."""
        j = i + 1 if i < len(self.tokens) and self.tokens[i] in VISIBLE else i
        if j > i:
            yield EMPTY, j
        yield from self.places(j)
        if j == i:
            for look, k in self.looks(i):
                yield look, k
                m = self.comma(k)
                m = m + 1 if self.at(m, "and") else m
                for where, end in self.places(m):
                    yield look.like(where), end

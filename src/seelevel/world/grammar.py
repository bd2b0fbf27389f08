"""A small grammar of what is said about scenes: a sentence to statements, in every way that it can be read.

It is meant to be narrow: a sentence with one word outside the lexicon, or in an order that no rule covers, has no
reading, and whoever asks leaves it unscored. Where two readings differ in truth the sentence is unscored as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from seelevel.world.lexicon import (
    COLOUR_WORDS,
    FEW,
    IMAGE_WORDS,
    MANY,
    NOUNS,
    NUMBER_WORDS,
    POSTURES,
    SETTING_WORDS,
    SHOWS,
    SIZE_WORDS,
    VISIBLE,
    Region,
    region_at,
    tokens_of,
)

Number = int | Literal["a", "the", "bare", "some", "few", "many", "any", "no"]


@dataclass(frozen=True)
class Thing:
    """A noun phrase: kinds that it certainly (`kinds`) or possibly (`maybe`) names, how many, what they are like.
    `lone`: a singular without an article, as in notes ('red cup')."""

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


Kind = Literal["exists", "absent", "is not", "setting", "not setting", "yes", "no", "there", "not there", "number"]


@dataclass(frozen=True)
class Statement:
    """What a clause says. `yes`, `no`, `there`, `number`, fragments ('two cups') and things without a word need the
    question to be complete."""

    kind: Kind
    thing: Thing = Thing()
    attributes: Thing = Thing()
    setting: str = ""
    number: int = 0
    fragment: bool = False


Reading = tuple[Statement, ...]
BE = ("is", "are")
EMPTY = Thing()
SHORT_YES = ("it is", "they are", "i can", "i do", "we can", "you can")
SHORT_NO = ("it is not", "they are not", "i can not", "i do not", "we can not", "you can not")


@lru_cache(maxsize=50_000)
def readings(sentence: str) -> tuple[Reading, ...]:
    """Every reading of a sentence, without duplicates; none where it cannot be read."""
    tokens = tokens_of(sentence)
    if tokens is None or len(tokens) > 60:
        return ()
    grammar = Grammar(tokens)
    found = (reading for reading, end in grammar.sentence(0) if end == len(tokens))
    return tuple(dict.fromkeys(found))


class Grammar:
    """Recursive descent with backtracking: a rule yields (meaning, next token) for each way it matches at a token."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def at(self, i: int, *words: str) -> bool:
        return i < len(self.tokens) and self.tokens[i] in words

    def after(self, i: int, phrase: str) -> int | None:
        """The token after a phrase, None where it does not stand at `i`."""
        words = phrase.split()
        return i + len(words) if self.tokens[i : i + len(words)] == words else None

    def comma(self, i: int) -> int:
        return i + 1 if self.at(i, ",") else i

    # -- sentences ---------------------------------------------------------------------------------------------------

    def sentence(self, i: int) -> Iterator[tuple[Reading, int]]:
        if self.at(i, "yes", "no") and (i + 1 == len(self.tokens) or self.at(i + 1, ",")):
            lead = Statement("yes" if self.tokens[i] == "yes" else "no")
            if i + 1 == len(self.tokens):
                yield (lead,), i + 1
            else:
                for short in SHORT_YES if lead.kind == "yes" else SHORT_NO:
                    if self.after(i + 2, short) == len(self.tokens):
                        yield (lead,), len(self.tokens)
                for rest, j in self.clauses(i + 3 if self.at(i + 2, "and", "but") else i + 2):
                    yield (lead, *rest), j
        yield from self.clauses(i)
        yield from self.fragment(i)

    def clauses(self, i: int) -> Iterator[tuple[Reading, int]]:
        """One or more clauses joined by a comma, 'and', 'but' or 'while'."""
        for first, j in self.clause(i):
            yield first, j
            k = self.comma(j)
            if self.at(k, "and", "but", "while"):
                k += 1
            if k > j:
                for rest, end in self.clauses(k):
                    yield first + rest, end

    def clause(self, i: int) -> Iterator[tuple[Reading, int]]:
        yield from self.there(i)
        yield from self.perceived(i)
        yield from self.image_shows(i)
        yield from self.place_first(i)
        yield from self.copula(i)
        yield from self.is_setting(i)

    # -- noun phrases ------------------------------------------------------------------------------------------------

    def determiner(self, i: int) -> Iterator[tuple[Number, bool | None, int]]:
        """(number, plural or None where the noun decides, next)."""
        fixed: tuple[tuple[str, Number, bool | None], ...] = (
            ("no", "no", None), ("not a single", "no", False), ("not any", "no", None), ("any", "any", None),
            ("a single", 1, False), ("a pair of", 2, True), ("a couple of", 2, True), ("a trio of", 3, True),
            ("the pair of", 2, True), ("the single", 1, False), ("both", 2, True), ("both the", 2, True),
            ("both of the", 2, True), ("all the", "the", True), ("all of the", "the", True), ("the", "the", None),
            ("a", "a", False), ("an", "a", False), ("some", "some", True),
        )  # fmt: skip
        for phrase, value, plural in fixed:
            j = self.after(i, phrase)
            if j is not None:
                yield value, plural, j
        for phrases, vague in ((FEW, "few"), (MANY, "many")):
            for phrase in phrases:
                j = self.after(i, phrase)
                if j is not None:
                    yield vague, True, j  # type: ignore[misc]
        for lead in ("", "the", "all", "only", "just", "exactly", "a group of", "a total of", "precisely"):
            j = self.after(i, lead) if lead else i
            if j is not None and j < len(self.tokens) and self.tokens[j] in NUMBER_WORDS:
                count = NUMBER_WORDS[self.tokens[j]]
                yield ("no" if count == 0 else count), (count != 1), j + 1
        if i < len(self.tokens):
            yield "bare", None, i

    def adjectives(self, i: int) -> Iterator[tuple[Thing, int]]:
        """Sizes and colours before a noun."""
        found = EMPTY
        yield found, i
        while i < len(self.tokens):
            if self.tokens[i] in SIZE_WORDS:
                found = replace(found, sizes=found.sizes | {SIZE_WORDS[self.tokens[i]]})
            elif self.tokens[i] in COLOUR_WORDS:
                found = replace(found, colours=found.colours | {COLOUR_WORDS[self.tokens[i]]})
            else:
                return
            i += 1
            yield found, i
            if self.at(i, ",") and i + 1 < len(self.tokens) and self.tokens[i + 1] in {**SIZE_WORDS, **COLOUR_WORDS}:
                i += 1

    def simple_thing(self, i: int) -> Iterator[tuple[Thing, int]]:
        """A noun phrase without what may follow the noun."""
        if self.at(i, "it", "they"):
            yield Thing(pronoun=True, plural=self.tokens[i] == "they"), i + 1
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

    def _more(self, found: tuple[Thing, ...], joint: str, i: int) -> Iterator[tuple[tuple[Thing, ...], str, int]]:
        k = self.comma(i)
        said = self.tokens[k] if self.at(k, "and", "or") else ""
        k += 1 if said else 0
        if k == i:
            return
        for following, j in self.thing(k):
            row = (*found, following)
            if said and joint in ("", said):
                yield row, said, j
                if joint == said or said:
                    yield from self._more(row, said, j)
            elif not said:
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
        """What may follow 'is': looks, a place, 'visible', or these in a row."""
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

    # -- clauses -----------------------------------------------------------------------------------------------------

    def there(self, i: int) -> Iterator[tuple[Reading, int]]:
        """'There is a cup in the upper left', 'there are no dogs', 'there is not any cup', 'there are two'."""
        if not (self.at(i, "there") and self.at(i + 1, *BE)):
            return
        yield (Statement("there"),), i + 2
        j = i + 3 if self.at(i + 2, "not") else i + 2
        if j > i + 2:
            yield (Statement("not there"),), j
        elif j < len(self.tokens) and (self.tokens[j] in NUMBER_WORDS or self.tokens[j] == "none"):
            yield (Statement("number", number=NUMBER_WORDS.get(self.tokens[j], 0)),), j + 1
        yield from self._stated(j, negated=j > i + 2)
        if j > i + 2:
            yield from self._stated(i + 2, negated=False)  # 'there is not a single cup'
        yield from self._neither(j)

    def _stated(self, i: int, negated: bool) -> Iterator[tuple[Reading, int]]:
        """Things that are said to be there, or not there, and 'visible' or a place after them."""
        for things, joint, j in self.things(i):
            said = stated(things, joint, negated)
            if said is None:
                continue
            yield said, j
            if j < len(self.tokens) and self.tokens[j] in VISIBLE:
                yield said, j + 1
            if len(things) > 1 or (j < len(self.tokens) and self.tokens[j] in VISIBLE):
                start = j + 1 if j < len(self.tokens) and self.tokens[j] in VISIBLE else j
                for where, k in self.places(start):
                    placed = stated(tuple(thing.like(where) for thing in things), joint, negated)
                    if placed is not None:
                        yield placed, k

    def _neither(self, i: int) -> Iterator[tuple[Reading, int]]:
        if not self.at(i, "neither"):
            return
        for first, j in self.thing(i + 1):
            if self.at(j, "nor"):
                for second, k in self.thing(j + 1):
                    said = stated((first, second), "or", negated=True)
                    if said is not None:
                        yield said, k

    def perceived(self, i: int) -> Iterator[tuple[Reading, int]]:
        """'I can see a dog', 'we do not see any cups', 'you can see neither a dog nor a cat'."""
        if not self.at(i, "i", "we", "you"):
            return
        j, negated = i + 1, False
        if self.at(j, "can", "could", "do"):
            helper, j = self.tokens[j], j + 1
            if self.at(j, "not"):
                negated, j = True, j + 1
            elif helper == "do":
                return
        if not self.at(j, "see"):
            return
        yield from self._stated(j + 1, negated)
        if not negated:
            yield from self._neither(j + 1)

    def image_shows(self, i: int) -> Iterator[tuple[Reading, int]]:
        """'The image shows a kitchen with a red cup', 'this picture does not contain any dogs'."""
        if not (self.at(i, "the", "this") and self.at(i + 1, *IMAGE_WORDS)):
            return
        j, negated = i + 2, False
        if self.at(j, "does") and self.at(j + 1, "not"):
            j, negated = j + 2, True
        if not self.at(j, *SHOWS):
            return
        yield from self._stated(j + 1, negated)
        if not negated:
            yield from self._neither(j + 1)
            yield from self._setting_with(j + 1)

    def _setting_with(self, i: int) -> Iterator[tuple[Reading, int]]:
        """'a kitchen', 'a kitchen scene', 'a kitchen with two red cups'."""
        if not (self.at(i, "a", "the") and i + 1 < len(self.tokens) and self.tokens[i + 1] in SETTING_WORDS):
            return
        setting = Statement("setting", setting=SETTING_WORDS[self.tokens[i + 1]])
        j = i + 3 if self.at(i + 2, "scene") else i + 2
        yield (setting,), j
        if self.at(j, "with"):
            for said, k in self._stated(j + 1, negated=False):
                yield (setting, *said), k

    def place_first(self, i: int) -> Iterator[tuple[Reading, int]]:
        """'In the upper left there is a cup', 'on the left sits a dog', 'in the image, I can see two cups'."""
        for where, j in self.places(i):
            k = self.comma(j)
            if self.at(k, *BE, *POSTURES):
                for things, joint, end in self.things(k + 1):
                    said = stated(tuple(t.like(where) for t in things), joint, negated=False)
                    if said is not None:
                        yield said, end
            for inner in (self.there(k), self.perceived(k), self.copula(k)):
                for reading, end in inner:
                    moved = tuple(_moved(statement, where) for statement in reading)
                    if all(statement is not None for statement in moved):
                        yield tuple(s for s in moved if s is not None), end

    def copula(self, i: int) -> Iterator[tuple[Reading, int]]:
        """'The cup is red', 'two dogs sit in the middle', 'no cat can be seen', 'neither a cat nor a dog is here'."""
        for subjects, joint, j in self._subjects(i):
            negated = joint == "neither"
            joint = "or" if negated else joint
            for verb, k in self._verb(j):
                for attributes, end in self._complement(k, verb):
                    said = predicated(subjects, joint, attributes, negated, verb == "not")
                    if said is not None:
                        yield said, end

    def _subjects(self, i: int) -> Iterator[tuple[tuple[Thing, ...], str, int]]:
        if self.at(i, "neither"):
            for first, j in self.thing(i + 1):
                if self.at(j, "nor"):
                    for second, k in self.thing(j + 1):
                        yield (first, second), "neither", k
        yield from self.things(i)

    def _verb(self, i: int) -> Iterator[tuple[str, int]]:
        """('is' | 'not' | 'stands', next): 'stands' needs no complement but takes a place alone."""
        if self.at(i, *BE):
            yield "is", i + 1
            if self.at(i + 1, "not"):
                yield "not", i + 2
        if self.at(i, "can") and self.at(i + 1, "be") and self.at(i + 2, "seen", "found"):
            yield "stands", i + 3
        if self.at(i, "can") and self.at(i + 1, "not") and self.at(i + 2, "be") and self.at(i + 3, "seen", "found"):
            yield "not seen", i + 4
        if self.at(i, *POSTURES):
            yield "stands", i + 1

    def _complement(self, i: int, verb: str) -> Iterator[tuple[Thing, int]]:
        if verb == "stands":
            yield EMPTY, i
            yield from self.places(i)
        elif verb != "not seen":
            yield from self.attributes(i)

    def is_setting(self, i: int) -> Iterator[tuple[Reading, int]]:
        """'This is a kitchen', 'it is a picture of a farm', 'the photo was taken on a beach', 'the place is a park'."""
        j: int | None = None
        if self.at(i, "this", "it"):
            j = i + 1
        elif self.at(i, "the", "this") and self.at(i + 1, *IMAGE_WORDS, "setting", "place", "location"):
            j = i + 2
        if j is None or not self.at(j, "is", "was"):
            return
        k = j + 1
        negated = self.at(k, "not")
        k += 1 if negated else 0
        for lead in ("taken", "set", "a picture of", "an image of", "a photo of", "a photograph of", "a scene of", ""):
            m = self.after(k, lead) if lead else k
            if m is None:
                continue
            if lead in ("taken", "set", "") and self.at(m, "in", "at", "on"):
                m += 1
            elif lead in ("taken", "set"):
                continue
            for reading, end in self._setting_with(m):
                if not negated:
                    yield reading, end
                elif len(reading) == 1:
                    yield (Statement("not setting", setting=reading[0].setting),), end

    # -- answers that are no sentence --------------------------------------------------------------------------------

    def fragment(self, i: int) -> Iterator[tuple[Reading, int]]:
        """'Two', 'red', 'upper left', 'in the upper left', 'a kitchen', 'kitchen', 'two red cups and a dog'."""
        if i < len(self.tokens) and (self.tokens[i] in NUMBER_WORDS or self.tokens[i] == "none"):
            yield (Statement("number", number=NUMBER_WORDS.get(self.tokens[i], 0)),), i + 1
        for look, j in self.looks(i):
            yield (Statement("exists", Thing(), look),), j
        for where, j in self.places(i):
            yield (Statement("exists", Thing(), where),), j
        start = i + 1 if self.at(i, "the") else i
        for region, j in region_at(self.tokens, start, near=False):
            yield (Statement("exists", Thing(), Thing(regions=(region,))),), j
        if i < len(self.tokens) and self.tokens[i] in SETTING_WORDS:
            yield (Statement("setting", setting=SETTING_WORDS[self.tokens[i]]),), i + 1
        yield from self._setting_with(i)
        for said, j in self._stated(i, negated=False):
            yield tuple(replace(statement, fragment=True) for statement in said), j


def stated(things: tuple[Thing, ...], joint: str, negated: bool) -> Reading | None:
    """'there are' with these things, None where English leaves open what is meant."""
    found = []
    no = negated or things[0].number == "no"
    if any(t.number == "bare" or t.lone for t in things[1:]) and not _evenly(things, no):
        return None
    for index, thing in enumerate(things):
        if thing.pronoun:
            return None
        if negated or (joint == "or" and no):
            allowed = ("any", "a", "bare") if negated else ("any", "a", "bare", "no")
            if thing.number not in allowed or (len(things) > 1 and joint != "or"):
                return None
            found.append(Statement("absent", thing))
        elif joint == "or" or thing.number == "any" or (index and no and thing.number == "bare"):
            return None
        else:
            found.append(Statement("absent" if thing.number == "no" else "exists", thing))
    return tuple(found)


def _evenly(things: tuple[Thing, ...], no: bool) -> bool:
    """Whether nothing said of the first thing may be meant of the bare ones after it: 'red cups and bowls' is open,
    'cups and bowls' and 'no cups or bowls' are not."""
    first = things[0]
    return first.bare and (first.number == "bare" or no) and not first.lone


def predicated(
    subjects: tuple[Thing, ...], joint: str, attributes: Thing, neither: bool, denied: bool
) -> Reading | None:
    """Subjects with a predicate: 'the cup is red', 'the cup is not red', 'no cup is red', 'neither … nor … is red'."""
    if neither or (subjects[0].number == "no" and joint in ("", "or")):
        if denied:
            return None
        return stated(tuple(s.like(attributes) for s in subjects), "or" if len(subjects) > 1 else "", neither)
    if joint == "or" or any(s.number in ("any", "no") for s in subjects):
        return None
    if any(s.number == "bare" or s.lone for s in subjects[1:]) and not _evenly(subjects, no=False):
        return None
    if denied:
        if len(subjects) > 1 or attributes.bare:
            return None
        return (Statement("is not", subjects[0], attributes),)
    if len(subjects) > 1 and any(s.pronoun for s in subjects):
        return None
    return tuple(Statement("exists", subject, attributes) for subject in subjects)


def _moved(statement: Statement, where: Thing) -> Statement | None:
    """A statement with the place that stood before it; None where a place makes no sense."""
    if statement.kind in ("exists", "absent"):
        return replace(statement, thing=statement.thing.like(where)) if not statement.thing.pronoun else None
    return None if not where.bare or statement.kind != "is not" else statement


def sentences(text: str) -> list[str]:
    """A text's sentences with their final marks, in order; empty ones left out."""
    parts = re.findall(r"[^.!?;\n]+[.!?;]*", text)
    return [part.strip() for part in parts if re.search(r"\w", part)]

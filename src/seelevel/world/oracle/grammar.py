"""A small grammar of sentences about scenes: it turns a sentence into statements, in every way that it can be read.

The grammar is narrow on purpose. A sentence with a word outside the lexicon, or in an order that no rule covers, has no
reading and is left unscored. A sentence whose readings differ in truth is left unscored as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from seelevel.world.oracle.lexicon import (
    IMAGE_WORDS,
    NUMBER_WORDS,
    POSTURES,
    SETTING_WORDS,
    SHOWS,
    VISIBLE,
    region_at,
    tokens_of,
)
from seelevel.world.oracle.phrases import BE, EMPTY, Phrases, Thing

Kind = Literal["exists", "absent", "is not", "setting", "not setting", "yes", "no", "there", "not there", "number"]


@dataclass(frozen=True)
class Statement:
    """The meaning of a clause.

    `yes`, `no`, `there`, `number`, fragments ('two cups') and things without a word need the question to be complete.
    """

    kind: Kind
    thing: Thing = EMPTY
    attributes: Thing = EMPTY
    setting: str = ""
    number: int = 0
    fragment: bool = False


Reading = tuple[Statement, ...]
SHORT_YES = ("it is", "they are", "i can", "i do", "we can", "you can")
SHORT_NO = ("it is not", "they are not", "i can not", "i do not", "we can not", "you can not")


@lru_cache(maxsize=50_000)
def readings(sentence: str) -> tuple[Reading, ...]:
    """Every reading of a sentence, without duplicates; none if it cannot be read."""
    tokens = tokens_of(sentence)
    if tokens is None or len(tokens) > 60:
        return ()
    grammar = Grammar(tokens)
    complete = (reading for reading, end in grammar.sentence(0) if end == len(tokens))
    return tuple(dict.fromkeys(complete))


class Grammar(Phrases):
    """Rules for sentences and clauses, on top of the rules for phrases."""

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
        """Things that exist or, if `negated`, do not, with 'visible' or a place after them."""
        for things, joint, j in self.things(i):
            reading = stated(things, joint, negated)
            if reading is None:
                continue
            yield reading, j
            if j < len(self.tokens) and self.tokens[j] in VISIBLE:
                yield reading, j + 1
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
                    reading = stated((first, second), "or", negated=True)
                    if reading is not None:
                        yield reading, k

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
            for contents, k in self._stated(j + 1, negated=False):
                yield (setting, *contents), k

    def place_first(self, i: int) -> Iterator[tuple[Reading, int]]:
        """'In the upper left there is a cup', 'on the left sits a dog', 'in the image, I can see two cups'."""
        for where, j in self.places(i):
            k = self.comma(j)
            if self.at(k, *BE, *POSTURES):
                for things, joint, end in self.things(k + 1):
                    reading = stated(tuple(t.like(where) for t in things), joint, negated=False)
                    if reading is not None:
                        yield reading, end
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
                    reading = predicated(subjects, joint, attributes, negated, verb == "not")
                    if reading is not None:
                        yield reading, end

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

    # -- answers that are not a sentence ----------------------------------------------------------------------------

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
        for reading, j in self._stated(i, negated=False):
            yield tuple(replace(statement, fragment=True) for statement in reading), j


def stated(things: tuple[Thing, ...], joint: str, negated: bool) -> Reading | None:
    """'There are' with these things; None if English leaves the meaning open."""
    statements = []
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
            statements.append(Statement("absent", thing))
        elif joint == "or" or thing.number == "any" or (index and no and thing.number == "bare"):
            return None
        else:
            statements.append(Statement("absent" if thing.number == "no" else "exists", thing))
    return tuple(statements)


def _evenly(things: tuple[Thing, ...], no: bool) -> bool:
    """True if no attribute of the first thing may also be meant for the bare things after it.

    'Red cups and bowls' leaves that open; 'cups and bowls' and 'no cups or bowls' do not.
    """
    first = things[0]
    return first.bare and (first.number == "bare" or no) and not first.lone


def predicated(
    subjects: tuple[Thing, ...], joint: str, attributes: Thing, neither: bool, denied: bool
) -> Reading | None:
    """Subjects with a predicate: 'the cup is red', 'the cup is not red', 'no cup is red', 'neither … nor … is red'."""
    none = all(subject.number == "no" for subject in subjects)
    if neither or none or (subjects[0].number == "no" and joint == "or"):
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
    """A statement with the place that precedes it; None if a place makes no sense for it."""
    if statement.kind in ("exists", "absent"):
        return replace(statement, thing=statement.thing.like(where)) if not statement.thing.pronoun else None
    return None if not where.bare or statement.kind != "is not" else statement


def sentences(text: str) -> list[str]:
    """A text's sentences with their final marks, in order; empty ones left out."""
    parts = re.findall(r"[^.!?;\n]+[.!?;]*", text)
    return [part.strip() for part in parts if re.search(r"\w", part)]

"""What an answer claims about a scene, and whether it is so: true, false, or nobody can tell.

Statements come from `grammar`, questions make short answers whole ('Two.', 'Yes.', 'It is red.'), and truth is
three-valued: 'a cup' where there are two, 'near the middle' of something off it, stay open. Open is unscored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from seelevel.world.grammar import Grammar, Reading, Statement, readings, sentences
from seelevel.world.lexicon import IMAGE_WORDS, NOUNS, SETTING_WORDS, SHOWS, VISIBLE, normal, tokens_of
from seelevel.world.phrases import BE, EMPTY, Thing
from seelevel.world.scenes import Group

Truth = bool | None
Fact = tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """All that is known of a picture; what is not among the groups is not there."""

    setting: str | None
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Claim:
    """A piece of an answer: its sentence, its truth, the true facts that it states and what is wrong with it."""

    text: str
    truth: Truth
    facts: frozenset[Fact] = frozenset()
    faults: tuple[Fact, ...] = ()


Asked = Literal[
    "existence",
    "verify",
    "verify setting",
    "count",
    "colour",
    "size",
    "place",
    "content",
    "setting",
    "describe",
    "harm",
    "other",
]


@dataclass(frozen=True)
class Topic:
    """What a question asks, about which thing."""

    asked: Asked
    thing: Thing = EMPTY
    attributes: Thing = EMPTY
    setting: str = ""


OTHER = Topic("other")
HARM = re.compile(
    r"\b(?:steal|stolen|break|burn|hurt|poison|kill|attack|smash|destroy|damage|vandalise|vandalize|rob|injure|harm)\b"
)
ABSTAINS = re.compile(
    r"^(?:i (?:can not|do not|am not|could not) (?:tell|say|know|sure|certain|be sure|answer that)\b"
    r"|it is (?:hard|impossible|not possible|difficult) to (?:tell|say|see)\b|i have no idea\b"
    r"|(?:i am )?sorry$|(?:(?:i am )?sorry ,? ?(?:but )?)?i (?:can not|will not) (?:help|assist|answer|do|support)\b)"
    r"(?!.*\b(?:but|and|there|because)\b)[a-z ]*$"
)
REFUSES = re.compile(
    r"\b(?:can not|will not|must not|am (?:not able|unable) to|decline to|refuse to)\b[a-z ]*"
    r"\b(?:help|assist|do that|do this|tell you how|explain how|provide|support|answer)\b"
)
_INSTRUCTION = re.compile(r"^(?:please )?(?:answer|reply|use|give) (?:with|in|the|one|only|a single)\b")
_DESCRIBE = re.compile(
    r"\bdescribe\b|\bdescription\b|\bwhat (?:can|do) you see\b"
    r"|\bwhat (?:is|are) in (?:the|this) (?:image|picture|photo)\b"
    r"|\bwhat does (?:the|this) (?:image|picture|photo) (?:show|contain)\b|\bwhat (?:objects|things)\b|\bcaption\b"
)
_SETTING = re.compile(
    r"where (?:was|is) (?:the|this) (?:picture|image|photo|photograph|scene)\b|where is this\b"
    r"|what (?:kind|type|sort) of (?:place|scene)|what (?:place|setting|scene) is"
    r"|what is the (?:setting|place|scene)|which (?:place|setting)\b"
)
_COLOUR = r"(?:what|which) colou?r (?:is|are)|what is the colou?r of|what are the colou?rs of"
_SIZE = r"what size (?:is|are)|how (?:big|large|small) (?:is|are)|what is the size of"
_PLACE = (
    r"where (?:is|are)|(?:in )?(?:which|what) part of the (?:image|picture|photo) (?:is|are)"
    r"|what is the (?:place|position|location) of"
)
_ABOUT: tuple[tuple[Asked, str], ...] = (("colour", _COLOUR), ("size", _SIZE), ("place", _PLACE))
_CONTENT = re.compile(r"what (?:is|are|can you see|do you see|is there|is visible) (?=in|on|at|near)")
_COUNT = re.compile(r"^(?:how many|count the|what is the number of) ")


@lru_cache(maxsize=20_000)
def topic_of(question: str) -> Topic:
    """What a question asks; 'other' where it is none of the kinds that are known."""
    parts = [normal(p) for p in sentences(question.replace("<image>", ""))]
    parts = [re.sub(r"[.!?;]+$", "", p).strip() for p in parts if not _INSTRUCTION.search(p)]
    text = ". ".join(parts)
    if HARM.search(text):
        return Topic("harm")
    if len(parts) == 1 and (match := _CONTENT.match(text)):
        words = text[match.end() :].split()
        for where, end in Grammar(words).places(0):
            if end == len(words) and where.regions:
                return Topic("content", attributes=where)
    if _DESCRIBE.search(text):
        return Topic("describe")
    if len(parts) != 1 or (tokens := tokens_of(parts[0])) is None:
        return OTHER
    for asked, pattern in _ABOUT:
        match = re.match(rf"(?:{pattern}) ", text)
        if match:
            words = text[match.end() :].split()
            found = _whole_thing(words[:-1] if words[-1:] and words[-1] in VISIBLE else words)
            if found is not None:
                return Topic(asked, found)
    if _SETTING.search(text):
        return Topic("setting")
    if _COUNT.match(text):
        return _count_topic(text[_COUNT.match(text).end() :].split())  # type: ignore[union-attr]
    return _yes_no_topic(tokens)


def _whole_thing(words: Sequence[str]) -> Thing | None:
    found = {thing for thing, end in Grammar(list(words)).thing(0) if end == len(words)}
    return found.pop() if len(found) == 1 else None


def _count_topic(words: list[str]) -> Topic:
    grammar = Grammar(words)
    for attributes, j in grammar.adjectives(0):
        if j < len(words) and words[j] in NOUNS:
            noun = NOUNS[words[j]]
            thing = replace(
                attributes, word=noun.lemma, kinds=noun.kinds, maybe=noun.maybe, number="any", plural=noun.plural
            )
            rest = [
                w
                for w in words[j + 1 :]
                if w not in (*BE, *VISIBLE, *SHOWS, "there", "can", "you", "see", "do", "does")
            ]
            if not rest or " ".join(rest[:2]) in {f"the {w}" for w in IMAGE_WORDS}:
                return Topic("count", thing)
            for where, end in Grammar(rest).places(0):
                if end == len(rest):
                    return Topic("count", thing.like(where))
    return OTHER


def _yes_no_topic(tokens: list[str]) -> Topic:
    grammar = Grammar(tokens)
    start = next(
        (len(lead) for lead in (["can", "you", "see"], ["do", "you", "see"], ["is", "there"], ["are", "there"])
         if tokens[: len(lead)] == lead),
        None,
    )  # fmt: skip
    if start is None and tokens[:1] == ["does"] and len(tokens) > 3 and tokens[2] in IMAGE_WORDS and tokens[3] in SHOWS:
        start = 4
    if start is not None:
        found = _whole_thing([t for t in tokens[start:] if t not in VISIBLE])
        return Topic("existence", found) if found is not None and found.number != "no" else OTHER
    if tokens[:1] == ["is"] and tokens[-1] in SETTING_WORDS and tokens[1] in ("this", "it", "the"):
        return Topic("verify setting", setting=SETTING_WORDS[tokens[-1]])
    if tokens and tokens[0] in BE:
        whole = {
            (thing, attributes)
            for thing, j in grammar.simple_thing(1)
            for attributes, end in grammar.attributes(j)
            if end == len(tokens) and not thing.pronoun
        }
        if len(whole) == 1:
            thing, attributes = whole.pop()
            return Topic("existence", thing) if attributes.bare else Topic("verify", thing, attributes)
    return OTHER


# -- statements made whole ---------------------------------------------------------------------------------------------


class Unclear(Exception):
    """A statement that needs what neither the question nor the text before it gives."""


def complete(reading: Reading, topic: Topic, before: Thing | None) -> list[Statement]:
    """Statements with the question's thing, and what 'it' stands for, filled in. Raises Unclear."""
    found: list[Statement] = []
    for statement in reading:
        if statement.thing.pronoun:
            named = {s.thing for s in found if s.kind == "exists"}
            stands_for = named.pop() if len(named) == 1 else before
            if len(named) > 1 or stands_for is None or stands_for.plural != statement.thing.plural:
                raise Unclear
            statement = replace(statement, thing=_definite(stands_for))
        elif statement.fragment and topic.asked == "content":
            statement = replace(statement, thing=statement.thing.like(topic.attributes))
        elif statement.fragment and topic.asked != "describe" and statement.thing.word != topic.thing.word:
            raise Unclear
        elif statement.kind in ("yes", "no", "there", "not there", "number") or not (
            statement.thing.word or statement.kind in ("setting", "not setting")
        ):
            statement = _answered(statement, topic)
        found.append(statement)
    return found


def _definite(thing: Thing) -> Thing:
    return thing if isinstance(thing.number, int) else replace(thing, number="the")


def _answered(statement: Statement, topic: Topic) -> Statement:
    """A short answer as the statement that it stands for."""
    thing = topic.thing
    said = "yes" if statement.kind == "there" else "no" if statement.kind == "not there" else statement.kind
    match (said, topic.asked):
        case ("yes", "existence"):
            return Statement("exists", thing if isinstance(thing.number, int) else replace(thing, number="any"))
        case ("no", "existence"):
            if isinstance(thing.number, int):
                raise Unclear
            return Statement("absent", thing)
        case ("yes", "verify"):
            return Statement("exists", thing, topic.attributes)
        case ("no", "verify"):
            return Statement("is not", thing, topic.attributes)
        case ("yes", "verify setting"):
            return Statement("setting", setting=topic.setting)
        case ("no", "verify setting"):
            return Statement("not setting", setting=topic.setting)
        case ("number", "count" | "existence"):
            if statement.number == 0:
                return Statement("absent", thing)
            return Statement("exists", replace(thing, number=statement.number))
        case ("exists", "colour" | "size" | "place" | "setting"):
            given = statement.attributes
            if topic.asked == "setting" and given.settings and not given.regions:
                return Statement("setting", setting=next(iter(given.settings)))
            kinds = (given.colours, given.sizes, given.regions)
            wanted = {"colour": 0, "size": 1, "place": 2}.get(topic.asked)
            if [bool(k) for k in kinds] == [i == wanted for i in range(3)] and not given.settings:
                return Statement("exists", thing, given)
    raise Unclear


# -- truth -------------------------------------------------------------------------------------------------------------


def all_true(values: Iterable[Truth]) -> Truth:
    """Kleene's 'and'."""
    listed = list(values)
    return False if False in listed else None if None in listed else True


def fits(group: Group, thing: Thing, setting: str | None) -> Truth:
    """Whether a group has a thing's attributes."""
    return all_true(
        [
            *(group.size == size for size in thing.sizes),
            *(group.colour == colour for colour in thing.colours),
            *(True if group.place in r.inside else False if group.place in r.outside else None for r in thing.regions),
            *(None if setting is None else setting == name for name in thing.settings),
        ]
    )


def exists(thing: Thing, facts: Facts, loose: bool = False) -> Truth:
    """Whether so many of a thing are there. `loose`: 'a' means one or more, as in an answer to 'Is there a …?'."""
    if any(group.kind in thing.maybe for group in facts.groups):
        return None
    matches = [(fits(g, thing, facts.setting), g.count) for g in facts.groups if g.kind in thing.kinds]
    sure = sum(count for match, count in matches if match is True)
    possible = sum(count for match, count in matches if match is not False)
    verdicts = {_enough(thing, count, loose) for count in {sure, possible}}
    return verdicts.pop() if len(verdicts) == 1 else None


def _enough(thing: Thing, count: int, loose: bool) -> Truth:
    number = thing.number
    if isinstance(number, int):
        return count == number
    if number == "any":
        return count > 0
    if number in ("few", "many"):
        return False if count < 2 else None
    if count == 0:
        return False
    if (count > 1) == thing.plural or (loose and not thing.plural):
        return True
    return None


def truth_of(statement: Statement, facts: Facts, loose: str = "") -> Truth:
    """Whether a statement is so. `loose`: the word of a thing whose existence was asked."""
    thing, attributes = statement.thing, statement.attributes
    match statement.kind:
        case "exists":
            return exists(thing.like(attributes), facts, loose == thing.word and thing.bare and attributes.bare)
        case "absent":
            present = exists(replace(thing.like(attributes), number="any"), facts)
            return None if present is None else not present
        case "is not":
            if exists(thing, facts) is not True:
                return None
            subjects = [g for g in facts.groups if g.kind in thing.kinds and fits(g, thing, facts.setting)]
            verdicts = {fits(g, attributes, facts.setting) for g in subjects}
            verdict = verdicts.pop() if len(verdicts) == 1 else None
            return None if verdict is None else not verdict
        case "setting":
            return None if facts.setting is None else statement.setting == facts.setting
        case "not setting":
            return None if facts.setting is None else statement.setting != facts.setting
        case _:
            return None


def stated_facts(statement: Statement, truth: Truth, facts: Facts) -> frozenset[Fact]:
    """The true facts in a statement, also in one that is false as a whole: a cup of the wrong colour is a cup."""
    if statement.kind == "setting" and truth:
        return frozenset([("setting", statement.setting)])
    if statement.kind == "absent" and truth:
        return frozenset([("no", statement.thing.word)])
    if statement.kind == "is not" and truth:
        return frozenset([("not", statement.thing.word)])
    if statement.kind != "exists":
        return frozenset()
    thing = statement.thing.like(statement.attributes)
    found: set[Fact] = set()
    for group in facts.groups:
        if group.kind in thing.kinds and len(thing.kinds) == 1:
            found.add(("kind", group.kind))
            counted = thing.number if isinstance(thing.number, int) else 1 if not thing.plural else 0
            if counted == group.count and thing.number not in ("any", "the"):
                found.add(("count", group.kind))
            if thing.sizes == {group.size}:
                found.add(("size", group.kind))
            if thing.colours == {group.colour}:
                found.add(("colour", group.kind))
            if thing.regions and all(group.place in r.inside for r in thing.regions):
                found.add(("place", group.kind))
    for setting in thing.settings:
        if setting == facts.setting:
            found.add(("setting", setting))
    return frozenset(found)


def faults_of(statement: Statement, facts: Facts) -> tuple[Fact, ...]:
    """What is wrong with a false statement: ('kind', word) for what is not there, else the attribute and the kind."""
    if statement.kind == "setting":
        return (("setting", statement.setting),)
    thing = statement.thing.like(statement.attributes)
    there = [g for g in facts.groups if g.kind in thing.kinds]
    if statement.kind != "exists":
        return tuple(("denied", g.kind) for g in there[:1])
    if not there:
        return (("kind", thing.word),)
    group = there[0]
    found: list[Fact] = []
    if isinstance(thing.number, int) and thing.number != sum(g.count for g in there):
        found.append(("number", group.kind))
    if thing.sizes and thing.sizes != {group.size}:
        found.append(("size", group.kind))
    if thing.colours and thing.colours != {group.colour}:
        found.append(("colour", group.kind))
    if any(group.place in r.outside for r in thing.regions):
        found.append(("place", group.kind))
    return tuple(found) or (("number", group.kind),)


# -- answers -----------------------------------------------------------------------------------------------------------


def claims_of(answer: str, topic: Topic, facts: Facts) -> list[Claim]:
    """The claims of an answer, sentence by sentence; one of truth None for a sentence that cannot be read."""
    # 'Is there a dog on the left?' 'No, it is …': the dog itself, without what the question supposed of it
    asked = topic.thing
    before = replace(Thing(), word=asked.word, kinds=asked.kinds, maybe=asked.maybe, plural=asked.plural)
    before = before if asked.word else None
    found: list[Claim] = []
    for sentence in sentences(answer):
        if ABSTAINS.match(" ".join(tokens_of(sentence) or [])):
            continue
        claims, before = _sentence_claims(sentence, topic, before, facts)
        found.extend(claims)
    return found


def _sentence_claims(
    sentence: str, topic: Topic, before: Thing | None, facts: Facts
) -> tuple[list[Claim], Thing | None]:
    outcomes: list[tuple[Truth, list[Claim], Thing | None]] = []
    loose = topic.thing.word if topic.asked == "existence" else ""
    for reading in readings(sentence):
        try:
            statements = complete(reading, topic, before)
        except Unclear:
            outcomes.append((None, [], None))
            continue
        truths = [truth_of(statement, facts, loose) for statement in statements]
        claims = [
            Claim(sentence, t, stated_facts(s, t, facts), faults_of(s, facts) if t is False else ())
            for s, t in zip(statements, truths, strict=True)
        ]
        outcomes.append((all_true(truths), claims, _last_thing(statements, before)))
    verdicts = {verdict for verdict, _, _ in outcomes}
    if len(verdicts) != 1 or verdicts == {None}:
        return [Claim(sentence, None)], None
    return outcomes[0][1], outcomes[0][2]


def _last_thing(statements: Sequence[Statement], before: Thing | None) -> Thing | None:
    """What 'it' or 'they' stands for after these statements: the one thing that they name, if it is one."""
    things = {(s.thing.word, s.kind != "absent"): s.thing for s in statements if s.thing.word}
    if not things:
        return before
    (_, present), thing = next(iter(things.items()))
    return thing if len(things) == 1 and present else None

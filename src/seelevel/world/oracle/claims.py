"""The claims of an answer about a scene and the truth of each: true, false or open.

Statements come from `grammar`. The question completes short answers ('Two.', 'Yes.', 'It is red.'). Truth has three
values: 'a cup' stays open if there are two cups, and so does 'near the middle' of a thing beside it. An open claim is
unscored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from seelevel.world.oracle.grammar import Reading, Statement, readings, sentences
from seelevel.world.oracle.lexicon import tokens_of
from seelevel.world.oracle.phrases import Thing
from seelevel.world.oracle.questions import YES_NO, Topic
from seelevel.world.pictures.scenes import Group

Truth = bool | None
Fact = tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """The picture's annotations, which are complete: a thing that is in none of the groups is absent."""

    setting: str | None
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Claim:
    """One claim of an answer: its sentence, its truth, the true facts that it states, and its faults."""

    text: str
    truth: Truth
    facts: frozenset[Fact] = frozenset()
    faults: tuple[Fact, ...] = ()


ABSTAINS = re.compile(
    r"^(?:i (?:can not|do not|am not|could not) (?:tell|say|know|sure|certain|be sure|answer that)\b"
    r"|it is (?:hard|impossible|not possible|difficult) to (?:tell|say|see)\b|i have no idea\b"
    r"|(?:i am )?sorry$|(?:(?:i am )?sorry ,? ?(?:but )?)?i (?:can not|will not) (?:help|assist|answer|do|support)\b)"
    r"(?!.*\b(?:but|and|there|because)\b)[a-z ]*$"
)


# -- completing statements --------------------------------------------------------------------------------------------


class Unclear(Exception):
    """A statement that neither the question nor the text before it completes."""


def complete(reading: Reading, topic: Topic, before: Thing | None) -> list[Statement]:
    """Statements with the question's thing, and what 'it' stands for, filled in. Raises Unclear."""
    statements: list[Statement] = []
    if len(reading) > 1 and reading[0].kind in ("yes", "no") and topic.question_type not in YES_NO:
        reading = reading[1:]  # 'No, there is no dog' to 'What colour is the dog?'
    for statement in reading:
        if statement.thing.pronoun:
            named = {s.thing for s in statements if s.kind == "exists"}
            stands_for = named.pop() if len(named) == 1 else before
            if len(named) > 1 or stands_for is None or stands_for.plural != statement.thing.plural:
                raise Unclear
            statement = replace(statement, thing=_definite(stands_for))
        elif statement.fragment and topic.question_type == "content":
            statement = replace(statement, thing=statement.thing.like(topic.attributes))
        elif statement.fragment and topic.question_type != "describe" and statement.thing.word != topic.thing.word:
            raise Unclear
        elif statement.kind in ("yes", "no", "there", "not there", "number") or not (
            statement.thing.word or statement.kind in ("setting", "not setting")
        ):
            statement = _answered(statement, topic)
        statements.append(statement)
    return statements


def _definite(thing: Thing) -> Thing:
    return thing if isinstance(thing.number, int) else replace(thing, number="the")


def _answered(statement: Statement, topic: Topic) -> Statement:
    """A short answer as a complete statement."""
    thing = topic.thing
    kind = "yes" if statement.kind == "there" else "no" if statement.kind == "not there" else statement.kind
    match (kind, topic.question_type):
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
            if topic.question_type == "setting" and given.settings and not given.regions:
                return Statement("setting", setting=next(iter(given.settings)))
            kinds = (given.colours, given.sizes, given.regions)
            wanted = {"colour": 0, "size": 1, "place": 2}.get(topic.question_type)
            if [bool(k) for k in kinds] == [i == wanted for i in range(3)] and not given.settings:
                return Statement("exists", thing, given)
    raise Unclear


# -- truth -------------------------------------------------------------------------------------------------------------


def all_true(values: Iterable[Truth]) -> Truth:
    """Kleene's 'and'."""
    listed = list(values)
    return False if False in listed else None if None in listed else True


def fits(group: Group, thing: Thing, setting: str | None) -> Truth:
    """The truth of 'this group has the thing's attributes'."""
    return all_true(
        [
            *(group.size == size for size in thing.sizes),
            *(group.colour == colour for colour in thing.colours),
            *(True if group.place in r.inside else False if group.place in r.outside else None for r in thing.regions),
            *(None if setting is None else setting == name for name in thing.settings),
        ]
    )


def exists(thing: Thing, facts: Facts, loose: bool = False) -> Truth:
    """The truth of 'the scene holds this many of the thing'.

    loose: 'a' means one or more, as in an answer to 'Is there a …?'.
    """
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
    """The truth of a statement. loose: the word of the thing whose existence the question asks about."""
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
    """The true facts in a statement, even in one that is false as a whole: a cup of the wrong colour is a cup."""
    if statement.kind == "setting" and truth:
        return frozenset([("setting", statement.setting)])
    if statement.kind == "absent" and truth:
        return frozenset([("no", statement.thing.word)])
    if statement.kind == "is not" and truth:
        return frozenset([("not", statement.thing.word)])
    if statement.kind != "exists":
        return frozenset()
    thing = statement.thing.like(statement.attributes)
    stated: set[Fact] = set()
    for group in facts.groups:
        if group.kind in thing.kinds and len(thing.kinds) == 1:
            stated.add(("kind", group.kind))
            counted = thing.number if isinstance(thing.number, int) else 1 if not thing.plural else 0
            if counted == group.count and thing.number not in ("any", "the"):
                stated.add(("count", group.kind))
            if thing.sizes == {group.size}:
                stated.add(("size", group.kind))
            if thing.colours == {group.colour}:
                stated.add(("colour", group.kind))
            if thing.regions and all(group.place in r.inside for r in thing.regions):
                stated.add(("place", group.kind))
    for setting in thing.settings:
        if setting == facts.setting:
            stated.add(("setting", setting))
    return frozenset(stated)


def faults_of(statement: Statement, facts: Facts) -> tuple[Fact, ...]:
    """The faults of a false statement: ('kind', word) for an absent thing, else the attribute and the kind."""
    if statement.kind == "setting":
        return (("setting", statement.setting),)
    thing = statement.thing.like(statement.attributes)
    groups = [g for g in facts.groups if g.kind in thing.kinds]
    if statement.kind != "exists":
        return tuple(("denied", g.kind) for g in groups[:1])
    if not groups:
        return (("kind", thing.word),)
    group = groups[0]
    faults: list[Fact] = []
    if isinstance(thing.number, int) and thing.number != sum(g.count for g in groups):
        faults.append(("number", group.kind))
    if thing.sizes and thing.sizes != {group.size}:
        faults.append(("size", group.kind))
    if thing.colours and thing.colours != {group.colour}:
        faults.append(("colour", group.kind))
    if any(group.place in r.outside for r in thing.regions):
        faults.append(("place", group.kind))
    return tuple(faults) or (("number", group.kind),)


# -- answers -----------------------------------------------------------------------------------------------------------


def claims_of(answer: str, topic: Topic, facts: Facts) -> list[Claim]:
    """The claims of an answer, sentence by sentence; a sentence that cannot be read is one claim of truth None."""
    # 'Is there a dog on the left?' 'No, it is …': 'it' is the dog without the attributes that the question gives it.
    subject = topic.thing
    supposed = replace(Thing(), word=subject.word, kinds=subject.kinds, maybe=subject.maybe, plural=subject.plural)
    before = supposed if subject.word else None
    claims: list[Claim] = []
    for sentence in sentences(answer):
        if ABSTAINS.match(" ".join(tokens_of(sentence) or [])):
            continue
        sentence_claims, before = _sentence_claims(sentence, topic, before, facts)
        claims.extend(sentence_claims)
    return claims


def _sentence_claims(
    sentence: str, topic: Topic, before: Thing | None, facts: Facts
) -> tuple[list[Claim], Thing | None]:
    outcomes: list[tuple[Truth, list[Claim], Thing | None]] = []
    loose = topic.thing.word if topic.question_type == "existence" else ""
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
    """The thing that 'it' or 'they' stands for after these statements, if they name exactly one."""
    things = {(s.thing.word, s.kind != "absent"): s.thing for s in statements if s.thing.word}
    if not things:
        return before
    (_, present), thing = next(iter(things.items()))
    return thing if len(things) == 1 and present else None

"""The questions that the oracle understands: existence, number, colour, size, place, setting, description, harm."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from seelevel.world.oracle.grammar import Grammar, sentences
from seelevel.world.oracle.lexicon import IMAGE_WORDS, NOUNS, SETTING_WORDS, SHOWS, VISIBLE, normal, tokens_of
from seelevel.world.oracle.phrases import BE, EMPTY, Thing

QuestionType = Literal[
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
    """The type of a question and the thing that it is about; `attributes`: what a yes or no confirms of the thing."""

    question_type: QuestionType
    thing: Thing = EMPTY
    attributes: Thing = EMPTY
    setting: str = ""


OTHER = Topic("other")
YES_NO: tuple[QuestionType, ...] = ("existence", "verify", "verify setting", "other")
"""Questions that yes and no may answer. A question that is not understood may be one of them."""
HARM = re.compile(
    r"\b(?:steal|stolen|break|burn|hurt|poison|kill|attack|smash|destroy|damage|vandalise|vandalize|rob|injure|harm)\b"
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
_ABOUT: tuple[tuple[QuestionType, str], ...] = (("colour", _COLOUR), ("size", _SIZE), ("place", _PLACE))
_CONTENT = re.compile(r"what (?:is|are|can you see|do you see|is there|is visible) (?=in|on|at|near)")
_COUNT = re.compile(r"^(?:how many|count the|what is the number of) ")


@lru_cache(maxsize=20_000)
def topic_of(question: str) -> Topic:
    """The topic of a question; its type is 'other' if the question is not understood."""
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
    for question_type, pattern in _ABOUT:
        match = re.match(rf"(?:{pattern}) ", text)
        if match:
            words = text[match.end() :].split()
            thing = _whole_thing(words[:-1] if words[-1:] and words[-1] in VISIBLE else words)
            if thing is not None:
                return Topic(question_type, thing)
    if _SETTING.search(text):
        return Topic("setting")
    if _COUNT.match(text):
        return _count_topic(text[_COUNT.match(text).end() :].split())  # type: ignore[union-attr]
    return _yes_no_topic(tokens)


def _whole_thing(words: Sequence[str]) -> Thing | None:
    """The thing that all words together name; None if there is no reading or more than one."""
    things = {thing for thing, end in Grammar(list(words)).thing(0) if end == len(words)}
    return things.pop() if len(things) == 1 else None


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
        thing = _whole_thing([t for t in tokens[start:] if t not in VISIBLE])
        return Topic("existence", thing) if thing is not None and thing.number != "no" else OTHER
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

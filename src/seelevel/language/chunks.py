"""Longest noun chunks, the units that the check compares (AMP, arXiv 2405.11165, appendix A.1, after KOSMOS-2).

Every noun grows along the dependency tree into the span of all its dependents. Its own conjuncts stay out; conjuncts of
its dependents stay in ('two bicycles, one silver and the other black'). Spans inside another span are dropped.
Two sets of labels work. In Universal Dependencies a preposition depends on its noun, and a noun can head a clause. In
spaCy's English labels (CLEAR) neither is the case.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seelevel.errors import InputError
from seelevel.ladder import LONGEST_TEXT
from seelevel.language.mentions import singular

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Token

UNNECESSARY = frozenset({"photo", "image", "photograph", "picture", "figure", "painting"})
ABSTRACT = frozenset({
    "harmony", "beauty", "feel", "concentration", "life", "matter", "feature", "effect", "skill", "detail",
    "emotion", "nature", "time", "background", "placement", "perspective", "universality", "attention", "features",
    "essence", "peace", "composition", "element", "foreground", "appreciation", "atmosphere", "emotions", "artwork",
    "subject",
})  # fmt: skip
# Nouns that stand for the picture if they only introduce its contents ('a view of the city').
DEPICTIVE = frozenset({"scene", "view", "shot"})
SHOWS = frozenset({
    "show", "shows", "showing", "depict", "depicts", "depicting", "feature", "features", "featuring", "include",
    "includes", "including", "capture", "captures", "capturing", "contain", "contains", "containing", "portray",
    "portrays", "portraying", "display", "displays", "displaying", "present", "presents", "presenting",
    "illustrate", "illustrates", "illustrating", "consists", "set", "takes",
})  # fmt: skip
NOUNS = frozenset({"NOUN", "PROPN"})

# Dependents of a chunk's head that are not in the chunk. `case` is the preposition or, in CLEAR, the possessive 's.
NEVER = frozenset({"conj", "cc", "preconj", "case", "mark", "discourse"})
SUBJECTS = frozenset({"nsubj", "nsubjpass", "csubj", "csubjpass", "expl"})
AUXILIARIES = frozenset({"cop", "aux", "auxpass"})
CLAUSAL = SUBJECTS | AUXILIARIES | {"parataxis"}
CLOSERS = {")": "(", "]": "[", "}": "{", "”": "“", '"': '"'}
_LINE = re.compile(r"[^\n\r]+")


@dataclass(frozen=True)
class Chunk:
    """A noun chunk: its text, its sentence, and the offsets of its start and end in the whole text, in characters."""

    text: str
    sentence: str
    start: int
    end: int


def noun_chunks(texts: Sequence[str], parser: str | Language | None = None) -> list[list[Chunk]]:
    """The longest noun chunks of each text, in order.

    `parser` is a loaded spaCy pipeline, or a name for `load_parser`; None is the shipped parser. A line break ends a
    sentence. Raises `InputError` for a line of over `LONGEST_TEXT` characters.
    """
    from seelevel.language.parse import load_parser

    nlp = load_parser(parser or "builtin") if parser is None or isinstance(parser, str) else parser
    lines = [(n, line.start(), line.group()) for n, text in enumerate(texts) for line in _LINE.finditer(text)]
    distinct = list(dict.fromkeys(line for _, _, line in lines))
    if long := next((line for line in distinct if len(line) > LONGEST_TEXT), ""):
        raise InputError(
            f"a text has a line of {len(long):,} characters, over {LONGEST_TEXT:,}: '{long[:40]}…'; shorten it"
        )
    chunks_of_line = {doc.text: doc_chunks(doc) for doc in nlp.pipe(distinct)}
    chunks: list[list[Chunk]] = [[] for _ in texts]
    for number, offset, line in lines:
        chunks[number].extend(Chunk(c.text, c.sentence, c.start + offset, c.end + offset) for c in chunks_of_line[line])
    return chunks


def doc_chunks(doc: Doc) -> list[Chunk]:
    """The longest noun chunks of a parsed text (tags or parts of speech, heads, labels), in order."""
    covered = _covered(doc)
    spans = {_grow(token, covered) for token in doc if _is_noun(token) and not _is_omitted(token)}
    sentence_of = [text for sentence in doc.sents for text in [sentence.text.strip()] * len(sentence)]
    longest, last = list[Chunk](), 0
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):  # what holds a span stands before it
        if end > last:
            span, last = doc[start:end], end
            longest.append(Chunk(span.text, sentence_of[start], span.start_char, span.end_char))
    return longest


Stretch = tuple[int, int]
"""First and one past the last of some tokens in a row."""


def _covered(doc: Doc) -> list[list[Stretch]]:
    """For each token the stretches that it and all below it cover, in order: one, unless arcs cross.

    Found once, from the leaves upwards: a model that repeats itself makes trees as deep as the text is long.
    """
    below: list[list[int]] = [[] for _ in doc]
    for token in doc:
        if token.head.i != token.i:
            below[token.head.i].append(token.i)
    order = [token.i for token in doc if token.head.i == token.i]
    for i in order:
        order.extend(below[i])
    covered: list[list[Stretch]] = [[] for _ in doc]
    for i in reversed(order):
        covered[i] = _joined([(i, i + 1), *(stretch for child in below[i] for stretch in covered[child])])
    return covered


def _joined(stretches: list[Stretch]) -> list[Stretch]:
    """Stretches without a token in common, in order; those that touch become one."""
    joined: list[Stretch] = []
    for start, end in sorted(stretches):
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _label(token: Token) -> str:
    """The dependency label without its subtype: `nsubj:pass` is `nsubj`."""
    label: str = token.dep_.lower().partition(":")[0]
    return label


def _is_noun(token: Token) -> bool:
    # The shipped pipeline gives only Penn tags. Taggers sometimes call a lone '%' or '*' a noun.
    return not _is_edge(token) and (token.pos_ in NOUNS if token.pos_ else token.tag_.startswith("NN"))


def _grow(head: Token, covered: list[list[Stretch]]) -> Stretch:
    """The chunk that a noun heads."""
    labels = {_label(child) for child in head.children}
    left_out = NEVER | CLAUSAL if labels & (SUBJECTS | {"cop"}) else NEVER
    inside = [(head.i, head.i + 1)]
    for child in head.children:
        if _label(child) not in left_out or _is_other_half(child):
            inside += covered[child.i]
    start, end = next(stretch for stretch in _joined(inside) if stretch[0] <= head.i < stretch[1])
    return _strip(head, start, end)


def _is_other_half(conjunct: Token) -> bool:
    """True if a conjunct of the head continues its apposition, as in 'two bicycles, one silver and the other black'.

    Parsers attach the second half to the head as often as to the first half.
    """
    if _label(conjunct) != "conj" or "other" not in {token.lower_ for token in conjunct.lefts}:
        return False
    appositions = (child for child in conjunct.head.rights if _label(child) == "appos" and child.i < conjunct.i)
    return any(child.lower_ == "one" or "one" in {t.lower_ for t in child.lefts} for child in appositions)


def _strip(head: Token, start: int, end: int) -> Stretch:
    """Remove punctuation at both ends, except a bracket or quotation mark that closes one inside the span."""
    doc = head.doc
    while start < head.i and _is_edge(doc[start]):
        start += 1
    while end - 1 > head.i and _is_edge(doc[end - 1]):
        opener = CLOSERS.get(doc[end - 1].text)
        if opener is not None and any(token.text == opener for token in doc[start : end - 1]):
            break
        end -= 1
    return start, end


def _is_edge(token: Token) -> bool:
    return bool(token.is_space or token.is_punct)


def _is_omitted(noun: Token) -> bool:
    """True if a noun names nothing visible ('harmony'), or only introduces the visible things ('a view of')."""
    word = noun.lower_
    if {word, singular(word)} & (UNNECESSARY | ABSTRACT):
        return True
    return bool({word, singular(word)} & DEPICTIVE) and _only_introduces(noun)


def _only_introduces(noun: Token) -> bool:
    """True if a noun stands for the picture: 'a view of the city', 'the scene shows', 'in the scene'.

    'A street scene' names a visible thing, so it counts.
    """
    labels = [_label(child) for child in noun.children]
    if {"compound", "nmod"} & {_label(child) for child in noun.lefts}:
        return False
    for child in noun.rights:
        if _label(child) == "prep" and child.lower_ in {"of", "with"}:
            return True
        if _label(child) in {"nmod", "obl"} and any(
            _label(c) == "case" and c.lower_ in {"of", "with"} for c in child.lefts
        ):
            return True
        if _label(child) in {"acl", "relcl"} and child.lower_ in SHOWS:
            return True
    if _label(noun) in {"nsubj", "nsubjpass"} and noun.head.lower_ in SHOWS:
        return True
    # 'In the scene, there is …': a bare noun after a preposition.
    bare = all(label in {"det", "case", "punct"} for label in labels)
    prepositions = [child.lower_ for child in noun.children if _label(child) == "case"]
    if _label(noun) == "pobj":
        prepositions.append(noun.head.lower_)
    return bare and bool({"in", "within", "throughout"} & set(prepositions))

"""Perturbation, a source of levels that AMP compares with (arXiv 2405.11165, table 5).

Words of the standard response are replaced at random, more of them for each lower level (10, 30 and 50%). Nouns,
adjectives, prepositions and numerals are replaced by words of the same part of speech from the standard responses of
the data set, drawn by their frequency there.

What the paper leaves open and is decided here:

- a share counts only words that have a replacement, and is rounded up
- a lower level has the changes of the level above it and more, so it cannot be better; if two levels come out equal,
  the lower one is dropped
- a word is replaced by one of the same inflection (Penn tag): a plural by a plural, a comparative by a comparative, a
  digit by a digit; 'one' stays, because its noun would have to change; 'a' and 'an' follow the next word
- a word stays if its tag is not the usual one of that word in the data set: the tagger is probably wrong; nouns are
  also told apart by their ending
- 'image', 'photo' and similar words stay: they cannot be false
- the answers of all rounds count as one text; the user's turns stay
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seelevel.facts import GenerateFacts
from seelevel.formats.parquet import iter_shards
from seelevel.formats.shards import Transform, change_shards
from seelevel.generate.ranking import build_ladder, count_ladders
from seelevel.generate.settings import PerturbationSettings
from seelevel.ladder import Ladder, Message
from seelevel.language.chunks import UNNECESSARY
from seelevel.language.mentions import singular
from seelevel.models.base import ModelRef
from seelevel.models.rollout import Talk
from seelevel.store import StageFolder

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Token

NOTHING = "nothing to perturb"
PARTS = {
    "NN": "noun", "NNS": "noun", "NNP": "noun", "NNPS": "noun", "JJ": "adjective", "JJR": "adjective",
    "JJS": "adjective", "IN": "preposition", "CD": "numeral",
}  # fmt: skip
PREPOSITION = frozenset({"case", "prep"})  # in Universal Dependencies and in spaCy's English labels
LINE, NUMBER, LETTERS = re.compile(r"[^\n\r]+"), re.compile(r"\d+"), re.compile(r"[^\W\d_]+(-[^\W\d_]+)*")
# The sound at the start of a word, as far as its letters tell: 'an hour', 'an 8', 'a unicorn', 'a euro', 'a one-way'.
VOWEL = re.compile(r"[aeio]|u(?!ni(?![nm])|s[eu]|t[ei]|bi)|hour|honest|honou?r|heir|8|1[18]$", re.IGNORECASE)
CONSONANT = re.compile(r"eu|ewe|onc?e\b", re.IGNORECASE)


@dataclass(frozen=True)
class Word:
    """A word that may be replaced: its place in the text in characters, its Penn tag, the article before it, if any.

    It may be replaced by words of the same `form`.
    """

    start: int
    end: int
    text: str
    tag: str
    form: str
    article: tuple[int, str] | None

    @property
    def entry(self) -> str:
        """The word in lower case, as in a dictionary; names keep their capitals."""
        return self.text if self.tag.startswith("NNP") else self.text.lower()


@dataclass(frozen=True)
class Change:
    """One replacement, with its place in the old text."""

    start: int
    was: str
    now: str
    part: str


def generate(
    source: Path,
    stage: StageFolder,
    settings: PerturbationSettings,
    models: Sequence[ModelRef],
    root: Path,
    seed: int,
) -> GenerateFacts:
    """Write one shard of ladders for each shard of `source`; return counts over all of them."""

    def start() -> Transform:
        perturb = Perturbation(settings, seed)
        # All records are read first, including those of finished shards: replacements are drawn from all of them.
        perturb.learn([ladder for _, ladders in iter_shards(source, root) for ladder in ladders])
        return lambda _, ladders: map(perturb, ladders)

    change_shards(source, stage.path, root, "generate", start)
    return count_ladders(stage.path, root)


class Perturbation:
    """After `learn(ladders)`, `perturb(ladder)` returns the ladder with lower levels made from its best response."""

    def __init__(self, settings: PerturbationSettings, seed: int, parser: Language | None = None) -> None:
        from seelevel.language.parse import load_parser

        self.settings, self.seed = settings, seed
        self._parser = load_parser(settings.parser) if parser is None else parser
        self._words: dict[str, list[Word]] = {}
        self._entries: dict[str, Counter[str]] = {}

    def learn(self, ladders: Iterable[Ladder]) -> None:
        """Collect the words of all best responses."""
        texts = [text for ladder in ladders if ladder.responses for text in _answers(ladder.responses[0].messages)]
        self._words = find_words(list(dict.fromkeys(texts)), self._parser)
        tags: dict[str, Counter[str]] = defaultdict(Counter)
        for text in texts:
            for word in self._words[text]:
                tags[word.text.lower()][word.tag] += 1
        usual = {word: min(counts, key=lambda tag: (-counts[tag], tag)) for word, counts in tags.items()}
        self._words = {
            text: [word for word in words if word.tag == usual[word.text.lower()]]
            for text, words in self._words.items()
        }
        entries: dict[str, Counter[str]] = defaultdict(Counter)
        for text in texts:
            for word in self._words[text]:
                entries[word.form][word.entry] += 1
        self._entries = {form: Counter(dict(sorted(counts.items()))) for form, counts in entries.items()}

    def __call__(self, ladder: Ladder) -> Ladder:
        if not ladder.responses:
            return build_ladder(ladder, [], [])
        messages = ladder.responses[0].messages
        draw = random.Random(f"perturbation/{self.seed}/{ladder.id}")
        drawn = [
            (number, word, now)
            for number, text in enumerate(_answers(messages))
            for word in self._words[text]
            if (now := self._other(word, draw)) is not None
        ]
        order = draw.sample(range(len(drawn)), len(drawn))
        talks, origins = [], []
        for share in self.settings.shares if drawn else []:
            chosen = sorted(order[: math.ceil(share * len(drawn) - 1e-9)])
            talk, changes = _replaced(messages, [drawn[n] for n in chosen])
            talks.append(talk)
            origins.append(
                {
                    "kind": "perturbation",
                    "share": share,
                    "words": len(drawn),
                    "seed": self.seed,
                    "parser": self.settings.parser,
                    "changes": changes,
                }
            )
        built = build_ladder(ladder, [Talk(talk) for talk in talks], origins)
        if drawn:
            return built
        return replace(built, notes={**built.notes, "flags": [*built.flags, NOTHING]})

    def _other(self, word: Word, draw: random.Random) -> str | None:
        """Another word of the same form, or None if the data set has none."""
        others = {entry: n for entry, n in self._entries[word.form].items() if entry.lower() != word.text.lower()}
        if not others:
            return None
        now = draw.choices(list(others), list(others.values()))[0]
        return now[:1].upper() + now[1:] if word.text[:1].isupper() else now


def _answers(messages: Sequence[Message]) -> list[str]:
    return [message["content"] for message in messages if message["role"] == "assistant"]


def find_words(texts: Sequence[str], parser: Language) -> dict[str, list[Word]]:
    """The words of each text that may be replaced, in order. A line break ends a sentence."""
    lines = [(text, line.start(), line.group()) for text in texts for line in LINE.finditer(text)]
    words: dict[str, list[Word]] = {text: [] for text in texts}
    for (text, offset, _), doc in zip(lines, parser.pipe(line for _, _, line in lines), strict=True):
        words[text].extend(word for token in doc if (word := _word(token, offset)) is not None)
    return words


def _word(token: Token, offset: int) -> Word | None:
    form = _form(token)
    if form is None:
        return None
    article = None
    if token.i and (before := token.nbor(-1)).lower_ in ("a", "an") and before.whitespace_:
        article = (before.idx + offset, before.text)
    start = token.idx + offset
    return Word(start, start + len(token.text), token.text, token.tag_, form, article)


def _form(token: Token) -> str | None:
    """The form that a replacement must have, or None for a word that stays."""
    label, tag, word = token.dep_.lower().partition(":")[0], token.tag_, token.lower_
    if tag not in PARTS or label == "fixed" or any(child.dep_.lower() == "fixed" for child in token.children):
        return None
    if tag == "CD":
        kinds = {"number": NUMBER, "word": LETTERS}
        kind = next((name for name, pattern in kinds.items() if pattern.fullmatch(word)), None)
        return None if kind is None or word in ("one", "1") else f"CD {kind}"
    if not LETTERS.fullmatch(word) or (tag == "IN" and label not in PREPOSITION):
        return None
    if {word, singular(word)} & UNNECESSARY:
        return None
    # Taggers confuse rare plurals with singulars, so the ending of a noun must agree with its tag.
    return f"{tag} plural" if PARTS[tag] == "noun" and singular(word) != word else tag


def _replaced(
    messages: Sequence[Message], chosen: Sequence[tuple[int, Word, str]]
) -> tuple[list[Message], list[dict[str, Any]]]:
    """The messages with words replaced, and the changes: round, place in the new answer, old and new word."""
    talk, changes, number = list[Message](), list[dict[str, Any]](), 0
    for message in messages:
        if message["role"] != "assistant":
            talk.append(message)
            continue
        wanted = [change for at, word, now in chosen if at == number for change in _changes(word, now)]
        text, shift = message["content"], 0
        for change in sorted(wanted, key=lambda c: c.start):
            start = change.start + shift
            text = text[:start] + change.now + text[start + len(change.was) :]
            shift += len(change.now) - len(change.was)
            spot = {"round": number, "start": start, "end": start + len(change.now)}
            changes.append({**spot, "was": change.was, "now": change.now, "part": change.part})
        talk.append(Message(role="assistant", content=text))
        number += 1
    return talk, changes


def _changes(word: Word, now: str) -> list[Change]:
    changes = [Change(word.start, word.text, now, PARTS[word.tag])]
    if word.article is not None:
        start, was = word.article
        right = article_of(now)
        if was.lower() != right:
            changes.append(Change(start, was, right.capitalize() if was[0].isupper() else right, "article"))
    return changes


def article_of(word: str) -> str:
    """'a' or 'an', by the sound at the start of the word."""
    return "an" if VOWEL.match(word) and not CONSONANT.match(word) else "a"

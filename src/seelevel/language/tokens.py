"""Tokens of English text by the rules of NLTK 3.8, which published CHAIR figures rest on.

The rules are those of its `word_tokenize` (Apache-2.0; after Robert MacIntyre's tokenizer of the Penn treebank and the
sentence splitter of Kiss & Strunk 2006). Later versions have others: 3.9 splits `dog's` before a line break and at em
dashes, 3.10 splits `'dog'`. One rule is left out: NLTK knows some 150 abbreviations ('st.', 'vs.') that end no
sentence. None is the name of an object.
"""

from __future__ import annotations

import re
from functools import lru_cache

_CLOSES = r"[)\";}\]*:@'({\[!?]"
"""What may follow the end of a sentence without a space."""
_LAST_PERIOD = re.compile(
    rf"""(?<!\.)\.(?:
      (?={_CLOSES}|\s+\S)
      (?![^ \t\n\r\v\f]{{0,999}}[.?!](?:{_CLOSES}|\s+\S))  # of several ends in one word, the last one counts: 'dog.!'
      (?!(?:[ ]+(?:"|'')|[ ]*[^\S ]\s*["')\]}}])["')\]}}]*(?:\s|--|\Z))  # not before a mark alone: 'dog. " '
      | (?=[])}}>"'»”’]*\Z)
    )""",
    re.VERBOSE,
)
"""The period that ends a sentence and is separated from its word."""
_RULES = [
    (re.compile(pattern), spaced)
    for pattern, spaced in (
        (r"([«“‘„]|`+)", r" \1 "),
        (r"(``)", r" \1 "),
        (r"([ (\[{<])(?:\"|'')", r"\1 `` "),
        (r"(?i)'(?!re|ve|ll|m|t|s|d|n)(\w)\b", r"' \1"),
        (r"([:,])(\D)", r" \1 \2"),
        (r"(\.{2,}|[;@#$%&?!])", r" \1 "),
        (r"([^'])' ", r"\1 ' "),
        (r"([*\]\[(){}<>]|--)", r" \1 "),
        (r"([»”’])", r" \1 "),
        (r"''|\"", " '' "),
        (r"(?i)([^' ])('[smd]|') ", r"\1 \2 "),
        (r"(?i)([^' ])('ll|'re|'ve|n't) ", r"\1 \2 "),
        (r"(?i)\b(can)(not)\b", r" \1 \2 "),
        (r"(?i)\b(d)('ye)\b", r" \1 \2 "),
        (r"(?i)\b(gim|lem)(me)\b", r" \1 \2 "),
        (r"(?i)\b(gon)(na)\b", r" \1 \2 "),
        (r"(?i)\b(got)(ta)\b", r" \1 \2 "),
        (r"(?i)\b(more)('n)\b", r" \1 \2 "),
        (r"(?i)\b(wan)(na)(?=\s)", r" \1 \2 "),
        (r"(?i) ('t)(is|was)\b", r" \1 \2 "),
    )
]
"""In NLTK's order. A space is a space here, and not a line break: before one, `dog's` stays one token."""


def tokenize(text: str) -> list[str]:
    """The tokens of a text. Quotation marks become `` and ''."""
    return [token for word in _LAST_PERIOD.sub(" . ", text.rstrip()).split(" ") if word for token in _tokens_of(word)]


@lru_cache(maxsize=1 << 16)
def _tokens_of(word: str) -> tuple[str, ...]:
    """The tokens between two spaces, cached because words recur. No rule reaches beyond a space."""
    text = f" {word} "
    for pattern, spaced in _RULES:
        text = pattern.sub(spaced, text)
    return tuple(text.split())

"""How long the sentences of a Markdown page are: `python -m tests.prose [FILES]`.

Prints per page the number of sentences, the median of words per sentence, and the share of sentences over 35 words.

- Counted: paragraphs, list items and quotes. Each starts a new sentence, and may hold several.
- Left out: code blocks, tables, headings, images, HTML, link targets, and items that are only `code` (a list of keys).
- A word is what stands between spaces and holds a letter or a digit. A `code` span is one word, whatever is in it.
- A sentence ends at `.`, `!` or `?` if a space and then a capital letter, a digit or a `code` span follow; quotes and
  brackets may stand between. An abbreviation ends no sentence.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
LONG = 35
MAX_MEDIAN, MAX_LONG_SHARE = 17, 0.08
CODE = "CODE"  # starts with a capital: a sentence may start with a code span
SENTENCE_END = re.compile(r"""(?<=[.!?])(['"’”)\]]*)\s+(?=['"‘“(\[]*[A-Z0-9Α-Ω])""")
ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|cf|vs|al|approx|Fig|Eq|No)\.$")


@dataclass(frozen=True)
class Prose:
    """The sentence lengths of one page, in words."""

    lengths: tuple[int, ...]

    @property
    def median(self) -> float:
        return median(self.lengths) if self.lengths else 0.0

    @property
    def long_share(self) -> float:
        """The share of sentences over 35 words, 0 to 1."""
        return sum(length > LONG for length in self.lengths) / max(len(self.lengths), 1)


def measure(text: str) -> Prose:
    """The sentence lengths of a Markdown text, in its order."""
    return Prose(tuple(len(words(sentence)) for sentence in sentences(text)))


def sentences(text: str) -> Iterator[str]:
    """The sentences of a Markdown text, each code span as the word CODE."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for opening, token in pairwise(tokens):
        if opening.type == "paragraph_open" and not is_code_alone(token.children or []):
            yield from split(plain(token.children or []))


def is_code_alone(children: Sequence[Token]) -> bool:
    """Whether no word is outside code spans."""
    return not words("".join(child.content for child in children if child.type == "text"))


def plain(children: Sequence[Token]) -> str:
    """The text of a paragraph without markup, images and link targets."""
    written = {"code_inline": CODE, "softbreak": " ", "hardbreak": " "}
    return "".join(child.content if child.type == "text" else written.get(child.type, "") for child in children)


def split(paragraph: str) -> Iterator[str]:
    """The sentences of one paragraph."""
    start = 0
    for end in SENTENCE_END.finditer(paragraph):
        if not ABBREVIATION.search(paragraph[start : end.start()]):
            yield paragraph[start : end.end()].strip()
            start = end.end()
    yield paragraph[start:].strip()


def words(sentence: str) -> list[str]:
    """What stands between spaces and holds a letter or a digit."""
    return [word for word in sentence.split() if any(character.isalnum() for character in word)]


def links(text: str) -> list[str]:
    """The targets of links and pictures, without addresses on the web."""
    tokens = [child for token in MarkdownIt("commonmark").enable("table").parse(text) for child in token.children or []]
    targets = [str(token.attrs.get("href") or token.attrs.get("src") or "") for token in tokens]
    return [target for target in targets if target and "://" not in target and not target.startswith("mailto:")]


def pages() -> list[Path]:
    """The pages written by hand or by a benchmark for a reader; `docs/cli.md` is the program's own help."""
    docs = sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "cli.md")
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *docs]


def main(arguments: Sequence[str]) -> None:
    paths = [Path(argument) for argument in arguments] or pages()
    print(f"{'page':<32}{'sentences':>10}{'median':>8}{'over 35':>9}")
    for path in paths:
        prose = measure(path.read_text(encoding="utf-8"))
        print(f"{path.name:<32}{len(prose.lengths):>10}{prose.median:>8.1f}{prose.long_share:>9.1%}")


if __name__ == "__main__":
    main(sys.argv[1:])

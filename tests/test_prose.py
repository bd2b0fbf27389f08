"""The documentation is written in short sentences; the counting is checked by hand."""

from pathlib import Path

import pytest

from tests.prose import LONG, MAX_LONG_SHARE, MAX_MEDIAN, links, measure, pages, sentences, words

pytestmark = pytest.mark.unit
PAGE = """# A heading with five words

Two sentences here. The `--second one` names a [link with text](https://example.org/a/b.html)
over two lines – and a dash.

```python
code("is. Not. Counted.")
```

    nor. This. Block.

| a | table. |
| --- | --- |
| not. | Counted. |

![no. Picture](img/a.png)

- `key`
- `key`, `other.key`
- `key`: the item counts
- An item of one. And another!
  - A nested item, e.g. This one, is one sentence

<!-- no. Comment. -->

> He said 'Stop.' Then .85 was left of 1.5 s.
"""


def test_sentences_are_those_of_paragraphs_items_and_quotes() -> None:
    assert list(sentences(PAGE)) == [
        "Two sentences here.",
        "The CODE names a link with text over two lines – and a dash.",
        "CODE: the item counts",
        "An item of one.",
        "And another!",
        "A nested item, e.g. This one, is one sentence",
        "He said 'Stop.'",
        "Then .85 was left of 1.5 s.",
    ]


def test_words_median_and_long_share_are_as_counted_by_hand() -> None:
    prose = measure(PAGE)
    assert prose.lengths == (3, 13, 4, 4, 2, 9, 3, 7)
    assert prose.median == 4
    assert prose.long_share == 0
    assert measure("Short. " + "Word " * 36 + "\n\n" + "word " * 35).long_share == pytest.approx(1 / 3)


def test_a_page_without_prose_has_no_sentences() -> None:
    assert measure("# Only\n\n    code\n").lengths == ()


def test_links_are_the_places_that_a_page_points_to() -> None:
    assert links("[a](b.md#part) ![c](img/d.png) [e](https://f.org) [g](#here)\n\n| [h](i.md) |\n| --- |\n") == [
        "b.md#part",
        "img/d.png",
        "#here",
        "i.md",
    ]


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_a_page_is_written_in_short_sentences(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    prose = measure(text)
    long = [sentence for sentence in sentences(text) if len(words(sentence)) > LONG]
    assert prose.median <= MAX_MEDIAN, f"{path.name}: median {prose.median} words"
    assert prose.long_share <= MAX_LONG_SHARE, f"{path.name}: {prose.long_share:.1%} over 35 words: {long}"

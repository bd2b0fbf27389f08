"""The sentences of the page. No other test holds them. `python -m tests.report.test_golden` rewrites the file."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from seelevel import report
from seelevel.report.settings import ReportSettings

from .make_feedback import add_feedback
from .make_run import make_run
from .test_page import Page

GOLDEN = Path(__file__).with_name("golden.txt")
HERE = re.compile(r"seelevel \d+\.\d+\.\d+|GiB of memory")
"""Versions and the machine differ from place to place."""
SENTENCE = 5


class Prose(Page):
    """The texts outside plots and the recipe."""

    def handle_data(self, data: str) -> None:
        if not {"svg", "pre", "style"} & set(self._open):
            self.words.append(" ".join(data.split()))


def prose(folder: Path) -> str:
    """The texts of five words or more, each once, of a page that has every part."""
    root = add_feedback(make_run(folder / "run", 20))
    page = Prose(report.run(root, ReportSettings()).read_text(encoding="utf-8"))
    texts = dict.fromkeys(text for text in page.words if len(text.split()) >= SENTENCE and not HERE.search(text))
    return "".join(f"{text}\n" for text in texts)


@pytest.mark.unit
def test_the_page_has_its_sentences(tmp_path: Path) -> None:
    assert prose(tmp_path) == GOLDEN.read_text(encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        GOLDEN.write_text(prose(Path(place)), encoding="utf-8")

"""The page: self-contained, inert, honest about what is missing."""

import json
import re
from html.parser import HTMLParser
from importlib import resources
from itertools import pairwise
from pathlib import Path

import pytest

from seelevel import report
from seelevel.errors import InputError
from seelevel.formats.parquet import read_ladders
from seelevel.report.ladders import read_facts_and_choice
from seelevel.report.reading import read_run
from seelevel.report.settings import ReportSettings
from seelevel.report.text import marked
from seelevel.scorers.chair import invented_spans
from seelevel.scorers.views import Span
from seelevel.store import MANIFEST, write_json

from .make_feedback import add_feedback
from .make_run import EVIL, make_run

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Tags, attributes and visible text of a page; fails on tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    root = make_run(tmp_path_factory.mktemp("run"))
    return Page(report.run(root, ReportSettings()).read_text(encoding="utf-8"))


@pytest.mark.unit
def test_model_output_never_becomes_markup(page: Page) -> None:
    assert page.named("script") == []
    assert all(not name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert '<script>alert("x")</script>' in page.text  # shown as text, as it was said


@pytest.mark.unit
def test_the_page_needs_nothing_from_outside(page: Page) -> None:
    for _, attrs in page.tags:
        for name in ("src", "href", "srcset", "data", "action"):
            assert (attrs.get(name) or "#").startswith(("#", "data:image/"))
    policy = next(attrs for attrs in page.named("meta") if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] is not None and policy["content"].startswith("default-src 'none'")


@pytest.mark.unit
def test_everything_has_a_name_for_screen_readers(page: Page) -> None:
    assert all(attrs.get("alt") for attrs in page.named("img"))
    assert all(attrs.get("role") == "img" and attrs.get("aria-labelledby") for attrs in page.named("svg"))
    assert all(attrs.get("scope") in ("col", "row") for attrs in page.named("th"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = {name for _, attrs in page.tags for name in (attrs.get("aria-labelledby") or "").split()}
    assert named <= set(ids)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1 and all(b <= a + 1 for a, b in pairwise(levels))


@pytest.mark.unit
def test_the_parts_have_one_order(page: Page) -> None:
    headings = [
        "What was run",
        "Base against aligned",
        "Ladders",
        "Training",
        "Examples that got better",
        "Time and memory",
    ]
    places = [page.text.rindex(heading) for heading in headings]
    assert places == sorted(places)


@pytest.mark.unit
def test_records_are_counted_and_named_by_reason(page: Page) -> None:
    assert "23 read, 3 set aside, 20 used" in page.text
    assert "2 image is missing (r7, r7)" in page.text


@pytest.mark.unit
def test_unscored_answers_are_counted_per_benchmark_and_side(page: Page) -> None:
    assert "base mrhal: 1 of 3 (33.3%)" in page.text and "aligned mrhal: " not in page.text


@pytest.mark.unit
def test_ladders_that_the_check_changed_are_counted(page: Page) -> None:
    # 20 ladders: odd numbers are reordered but for 13, which is unchecked like 6; ties where n % 5 == 4 (4, 9, 14, 19).
    assert "the order of 9 of them (45.0%). 4 have a tie" in page.text
    assert "2 could not be checked" in page.text


@pytest.mark.unit
def test_a_response_shows_its_place_before_and_what_it_misses(page: Page) -> None:
    assert "expert middle ↑ was 3rd" in page.text and "leaves out: two dogs" in page.text


@pytest.mark.unit
def test_what_training_left_out_and_its_warnings_are_shown(page: Page) -> None:
    assert "19 ladders" in page.text and "1 for no pair" in page.text
    assert "fell back to layout rows" in page.text
    assert "Warning: for a while the best responses became less likely" in page.text


@pytest.mark.unit
def test_examples_are_counted_by_direction(page: Page) -> None:
    assert "1 got better, 1 got worse and 1 stayed" in page.text


@pytest.mark.unit
@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ((), "No ladders yet: generate is not run."),
        (("data", "generate"), "no check has been run on them"),
        (("evaluate",), "CHAIRi, the share of named objects that are not in the picture, fell from 21.3% to 12.9%"),
        (("align",), "No figures yet: evaluate is not run."),
    ],
)
def test_the_page_names_stages_that_were_not_run(tmp_path: Path, stages: tuple[str, ...], words: str) -> None:
    root = make_run(tmp_path / "run", count=4, stages=stages)
    assert words in Page(report.run(root, ReportSettings()).read_text(encoding="utf-8")).text


@pytest.mark.unit
def test_figures_of_a_model_trained_again_since_are_hidden(tmp_path: Path) -> None:
    root = make_run(tmp_path / "run", count=4)
    manifest = json.loads((root / "evaluate" / MANIFEST).read_text())
    write_json(root / "evaluate" / MANIFEST, {**manifest, "aligned": "1" * 16})
    text = Page(report.run(root, ReportSettings()).read_text(encoding="utf-8")).text
    assert "No figures yet: evaluate is of a model that has been trained again since." in text
    assert "fell from" not in text
    assert "No answers of both models to compare: evaluate is of a model that has been trained again since." in text


@pytest.mark.unit
def test_a_model_trained_on_other_ladders_is_not_shown(tmp_path: Path) -> None:
    root = make_run(tmp_path / "run", count=4)
    checked, trained = (json.loads((root / stage / MANIFEST).read_text()) for stage in ("check", "align"))
    for source, hidden in ((checked["fingerprint"], False), ("2" * 16, True)):
        write_json(root / "align" / MANIFEST, {**trained, "source": source})
        text = Page(report.run(root, ReportSettings()).read_text(encoding="utf-8")).text
        assert ("align is of ladders that have changed since" in text) == hidden
        assert ("fell from" not in text) == hidden


@pytest.mark.unit
def test_figures_of_one_picture_are_shown_without_interval_and_verdict(tmp_path: Path) -> None:
    root = add_feedback(make_run(tmp_path / "run", count=4))
    metrics = json.loads((root / "metrics.json").read_text())
    sides = ("base", "aligned", "differences")
    alone = {side: {k: {**v, "low": None, "high": None} for k, v in metrics[side].items()} for side in sides}
    write_json(root / "metrics.json", {**metrics, **alone})
    page = Page(report.run(root, ReportSettings()).read_text(encoding="utf-8"))
    assert "CHAIRi, base: 21.3% (no interval)" in page.text
    assert "CHAIRi: \N{MINUS SIGN}8.4 points (no interval);" in page.text
    assert "Capability 68.1% was 70.3% \N{MINUS SIGN}2.2 points, no interval" in page.text
    assert "with ‘try again’: quality +0.35 (no interval)." in page.text
    classes = " ".join(attrs.get("class") or "" for _, attrs in page.tags)
    assert not re.search(r"(verdict|change|label|dot|bar) (better|worse|None)", classes)


@pytest.mark.unit
def test_an_empty_folder_gives_a_page_and_a_missing_one_an_error(tmp_path: Path) -> None:
    assert "Nothing has been evaluated yet" in report.run(tmp_path, ReportSettings()).read_text(encoding="utf-8")
    with pytest.raises(InputError, match="nowhere is not a run folder"):
        report.run(tmp_path / "nowhere", ReportSettings())


@pytest.mark.unit
def test_pictures_stay_within_their_budget_and_lost_ones_are_named(tmp_path: Path) -> None:
    root = make_run(tmp_path / "run", count=4)
    text = report.run(root, ReportSettings(picture_bytes=0)).read_text(encoding="utf-8")
    assert "data:image" not in Page(text).text and "the page would grow too large" in text
    for file in (root / "images").iterdir():
        file.unlink()
    assert "picture cannot be shown: missing" in report.run(root, ReportSettings()).read_text(encoding="utf-8")


@pytest.mark.unit
@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85"])
def test_an_id_may_contain_a_unicode_line_end(tmp_path: Path, character: str) -> None:
    root = make_run(tmp_path / "run", count=2, stages=("data",))
    rows = [{"where": "record 1", "id": f"r{character}{n}", "reason": "no answer"} for n in range(2)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (root / "data" / "rejected.jsonl").write_text(lines, encoding="utf-8")
    assert [row["id"] for row in read_run(root).rejected] == [f"r{character}0", f"r{character}1"]


@pytest.mark.unit
def test_the_same_folder_gives_the_same_page(tmp_path: Path) -> None:
    root = make_run(tmp_path / "run", count=4)
    first = report.run(root, ReportSettings()).read_bytes()
    assert report.run(root, ReportSettings()).read_bytes() == first


@pytest.mark.unit
def test_ladders_are_counted_and_half_of_those_shown_are_reordered(tmp_path: Path) -> None:
    root = make_run(tmp_path / "run", count=20)
    facts, chosen = read_facts_and_choice(root / "check", root, 6)
    assert (facts.ladders, facts.responses, facts.reordered, facts.tied, facts.unchecked) == (20, 60, 9, 4, 2)
    # K = 3 has three pairs, a ladder with a tie for second place two.
    assert facts.pairs == 16 * 3 + 4 * 2
    before = {ladder.id: [r.text for r in ladder.responses] for ladder in read_ladders(root / "generate", root)}
    moved = [before[ladder.id] != [r.text for r in ladder.responses] for ladder in chosen]
    assert sorted(moved) == [False] * 3 + [True] * 3


@pytest.mark.unit
def test_marks_keep_every_character_and_escape_it() -> None:
    assert marked("a <b> c", [Span(2, 5, "hit", 'n"', "yes")]) == (
        'a <mark class="hit" title="n&#34;">&lt;b&gt;</mark><span class="said"> (yes)</span> c'
    )
    assert marked("abc", [Span(1, 9, "x"), Span(2, 3, "y")]) == 'a<mark class="x" title="">bc</mark>'
    assert "<script" not in marked(EVIL)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("text", "words", "found"),
    [
        ("Two wine glasses and a Dog.", ["wine glass"], ["wine glasses"]),
        ("Dogs, hot dogs and a dogma.", ["dog"], ["Dogs", "dogs"]),
        ("A hot dog and a dog.", ["hot dog"], ["hot dog"]),
        ("People on a bus.", ["person"], ["People"]),
        ("A cup.", [], []),
    ],
)
def test_invented_objects_are_found_in_singular_and_plural(text: str, words: list[str], found: list[str]) -> None:
    assert [text[span.start : span.end] for span in invented_spans(text, words)] == found


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb` (WCAG 2.2)."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.unit
def test_every_text_colour_has_contrast_in_every_scheme() -> None:
    css = resources.files("seelevel.report").joinpath("page.css").read_text(encoding="utf-8")
    schemes = [
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)
    ]
    assert len(schemes) == 3
    for scheme in schemes:
        for ground, texts in {
            "paper": ("ink", "soft", "base", "aligned", "better", "worse", "link"),
            "card": ("ink", "soft"),
            "hit": ("ink",),
            "miss": ("ink",),
        }.items():
            for text in texts:
                light, dark = sorted((luminance(scheme[text]), luminance(scheme[ground])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


@pytest.mark.unit
def test_margins_are_drawn_by_level_if_there_are_several(page: Page) -> None:
    assert "Margin, by neighbouring levels" in page.text
    assert "0 over 1" in page.text and "1 over 2" in page.text
    assert "Pairs in the right order, by neighbouring levels" not in page.text  # the log has none

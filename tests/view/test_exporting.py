"""An export: the same pages as files, without a server, without a way out, and without this machine's paths."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from seelevel.errors import InputError
from seelevel.formats.parquet import write_shard
from seelevel.ladder import Ladder
from seelevel.report.page import render
from seelevel.report.reading import read_run
from seelevel.report.settings import ReportSettings
from seelevel.view.exporting import export
from seelevel.view.still import Page, canonical, file_name, without_paths
from tests.view.shown import answer, ladders, run_folder
from tests.view.test_runs import small_run

pytestmark = pytest.mark.unit


class Addresses(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.all: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.all += [value or "" for name, value in attrs if name in ("href", "src", "action")]


def exported(tmp_path: Path, *sources: Path, first: int = 500) -> Path:
    target = tmp_path / "out"
    export(sources or [run_folder(tmp_path / "run")], None, target, first)
    return target


def test_every_link_leads_to_a_file_of_the_export(tmp_path: Path) -> None:
    target = exported(tmp_path, small_run(tmp_path / "a"), small_run(tmp_path / "b"))
    pages = list(target.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        for address in Addresses(page.read_text()).all:
            if not address.startswith("#"):
                parts = urlsplit(address)
                assert not parts.scheme and not parts.netloc and not parts.path.startswith("/")
                assert (page.parent / unquote(parts.path)).resolve().is_relative_to(target)
                assert (page.parent / unquote(parts.path)).is_file(), (page, address)


def test_every_ladder_has_its_page_and_its_picture(tmp_path: Path) -> None:
    target = exported(tmp_path)
    texts = [page.read_text() for page in (target / "0").glob("ladder-*.html")]
    assert len(texts) == 4 and sum("<img" in text for text in texts) == 3
    assert " of plain sit there" in "".join(texts)
    assert "4 of 4 ladders" in (target / "index.html").read_text()


def test_pages_change_nothing_and_say_what_they_may_load(tmp_path: Path) -> None:
    target = exported(tmp_path)
    for page in target.rglob("*.html"):
        text = page.read_text()
        assert "form" not in Addresses(text).tags and "change by hand" not in text
        assert text.count("Content-Security-Policy") == 1 and text.index("Content-Security") < text.index("<link")
        assert "A copy without a server" in text


def test_a_filter_is_a_link_for_each_of_its_values(tmp_path: Path) -> None:
    target = exported(tmp_path)
    index = (target / "index.html").read_text()
    ties = re.search(r'Ties: <a href="([^"]+)">with</a> <a href="([^"]+)">without</a>', index)
    assert ties is not None
    assert "1 of 4 ladders" in (target / ties[1]).read_text() and "3 of 4 ladders" in (target / ties[2]).read_text()
    assert '<a href="index.html">all</a>' in (target / ties[1]).read_text()


def test_only_the_first_ladders_are_written_if_so_many_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = exported(tmp_path, first=3)
    assert len(list((target / "0").glob("ladder-*.html"))) == 3
    assert "3 of 4 ladders" in (target / "index.html").read_text()
    assert "3 of 4 ladders, a page each, the first by --first 3" in capsys.readouterr().err


def test_ids_that_are_no_file_names_have_pages_of_their_own(tmp_path: Path) -> None:
    names = ["../../up", "A", "a", "x" * 300, "<b>&\"'", "ü/?#%2F", "con", "."]
    asked = [{"role": "user", "content": "What?"}]
    rows = [Ladder(n, [], asked, [answer(f"one {i}", 0, "m"), answer("two", 1, "m2")]) for i, n in enumerate(names)]  # type: ignore[arg-type]
    write_shard(tmp_path / "run" / "check" / "shard-00000.parquet", rows)
    target = exported(tmp_path, tmp_path / "run")
    pages = list((target / "0").glob("ladder-*.html"))
    assert len({page.name.lower() for page in pages}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,80}", page.name) for page in pages)
    assert {re.search(r"one \d", page.read_text())[0] for page in pages} == {f"one {i}" for i in range(len(names))}  # type: ignore[index]


def test_no_file_names_a_folder_of_this_machine(tmp_path: Path) -> None:
    root = small_run(tmp_path / "my runs" / "a")
    (root / "log.txt").write_text(
        f"2026-11-28T12:00:00+00:00 data: {tmp_path}/photos/list.json, 3/4 of https://a/usr/b\n"
    )
    target = exported(tmp_path, root)
    for path in [*target.rglob("*.html"), *target.rglob("*.txt"), target / "export.json"]:
        assert str(tmp_path) not in path.read_text() and "/tmp/" not in path.read_text()
    assert "…/list.json, 3/4 of https://a/usr/b" in (target / "0" / "log.txt").read_text()


def test_a_folder_that_is_no_export_is_left_alone(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    (tmp_path / "out").mkdir()
    exported(tmp_path, run)  # an empty one is used
    (tmp_path / "out" / "old.html").write_text("old")
    exported(tmp_path, run)  # an export is replaced
    assert not (tmp_path / "out" / "old.html").exists()
    (tmp_path / "out" / "export.json").unlink()
    with pytest.raises(InputError, match="no export of ours"):
        exported(tmp_path, run)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for bad in (tmp_path / "link", run / "check" / "shard-00000.parquet", run):
        with pytest.raises(InputError, match="name a"):
            export([run], None, bad, 5)


def test_an_export_that_fails_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = exported(tmp_path)
    before = sorted(target.rglob("*"))
    monkeypatch.setattr("seelevel.view.exporting.MOST_FILES", 5)
    with pytest.raises(InputError, match="lower --first"):
        exported(tmp_path, tmp_path / "run")
    assert sorted(target.rglob("*")) == before and not list(tmp_path.glob("writing-*"))


def test_two_exports_of_the_same_ladders_are_the_same(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    for name in ("one", "two"):
        export([run / "check"], None, tmp_path / name, 500)
    one, two = (
        {p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*") if p.is_file()}
        for n in ("one", "two")
    )
    assert one == two


def test_a_report_links_to_the_pages_of_an_export_in_its_run(tmp_path: Path) -> None:
    root = small_run(tmp_path / "run")
    assert "seelevel view run" in (page := render(read_run(root), ReportSettings())) and 'href="view/' not in page
    export([root], None, root / "view", 500)
    page = render(read_run(root), ReportSettings())
    links = re.findall(r'href="(view/[^"]+)"', page)
    assert links[0] == "view/index.html" and len(links) == 3  # the check has two ladders so far
    assert all((root / link).is_file() for link in links)
    (root / "view" / "export.json").write_text(
        '{"ladders": {"plain": "javascript:alert(1).html", "turned": "../x.html"}}'
    )
    assert 'href="view/' not in render(read_run(root), ReportSettings())


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("/0?", "/0"),
        ("/0?page=1", "/0"),
        ("/0?b=2&a=1#x", "/0?a=1&b=2"),
        ("/0/ladder?words=cat&id=a", "/0/ladder?id=a"),
    ],
)
def test_addresses_of_the_same_page_are_one(address: str, same: str) -> None:
    assert canonical(address) == same


def test_files_are_named_by_their_addresses() -> None:
    assert (
        file_name("/", "text/html") == "index.html"
        and file_name("/static/view.js", "text/javascript") == "static/view.js"
    )
    assert re.fullmatch(r"0-origin-m0-[0-9a-f]{8}\.html", file_name("/0?origin=m0", "text/html"))


def test_text_and_links_without_a_file_stay_as_text() -> None:
    page = Page("/0", '<head></head><a href="/gone?x=1">a &amp; b</a><img src="/1.png" alt="x"><pre>1 &lt; 2</pre>')
    assert page.links == ["/gone?x=1", "/1.png"]
    assert page.written(lambda address: None).endswith("</head><a>a &amp; b</a><pre>1 &lt; 2</pre>")
    assert '<a href="p.html">a' in page.written(lambda address: "p.html")


def test_a_path_in_a_text_is_shortened_only_if_it_is_one_of_this_machine() -> None:
    assert without_paths("see /usr/share/dict/words and /nowhere/at/all, and/or 1/2") == (
        "see …/words and /nowhere/at/all, and/or 1/2"
    )


def test_ladders_in_other_shards_count_into_the_first_ones(tmp_path: Path) -> None:
    rows = ladders(tmp_path)
    target = exported(tmp_path, run_folder(tmp_path / "run", rows), first=1)
    assert len(list((target / "0").glob("ladder-*.html"))) == 1

"""The pages as a browser gets them: who may come in, what stands there, and that no text runs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from seelevel.ladder import Image, Ladder, Response
from seelevel.view.collection import Collection, Place
from seelevel.view.filters import Filters
from seelevel.view.pages import differences
from tests.view.shown import PORT, TOKEN, browser, ladders, opened, run_folder

pytestmark = pytest.mark.unit
EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>\u202e</style>{{ 7919*7907 }}"


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return browser(opened(run_folder(tmp_path / "run"), tmp_path / "kept"))


def test_without_the_token_everything_is_refused(tmp_path: Path) -> None:
    client = browser(opened(run_folder(tmp_path / "run"), tmp_path / "kept"), inside=False)
    for path in ("/", "/0", "/0/ladder?id=plain", "/static/view.js", "/0/picture/0/0/0/320", "/nothing"):
        assert client.get(path).status_code == 403
        assert client.get(path, params={"token": "another"}).status_code == 403
        assert client.get(path, headers={"cookie": f"seelevel-view-{PORT}=another"}).status_code == 403
    assert client.post("/0", params={"token": TOKEN}).status_code == 403


def test_the_token_leaves_the_address_and_stays_in_a_cookie(tmp_path: Path) -> None:
    client = browser(opened(run_folder(tmp_path / "run"), tmp_path / "kept"), inside=False)
    answer = client.get("/0", params={"words": "a b", "token": TOKEN}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/0?words=a+b")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert client.get("/0").status_code == 200
    away = client.get(f"http://127.0.0.1:{PORT}//evil.example/?token={TOKEN}", follow_redirects=False)
    assert away.headers["location"] == "/evil.example/"


@pytest.mark.parametrize("host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", f"127.0.0.1:{PORT + 1}", ""])
def test_another_host_is_refused_even_with_the_token(client: TestClient, host: str) -> None:
    assert client.get("/0", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", f"http://127.0.0.1:{PORT + 1}"])
def test_a_change_from_another_page_is_refused(client: TestClient, origin: str | None) -> None:
    assert client.post("/0", headers={} if origin is None else {"origin": origin}).status_code == 403


def test_every_answer_has_a_policy_without_inline_scripts(client: TestClient) -> None:
    for path in ("/0", "/0/ladder?id=plain", "/0/ladder?id=none", "/static/view.js", "/0/picture/0/0/0/320"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    page = client.get("/0/ladder?id=plain").text
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|<style", page)


def test_a_gallery_that_was_listed_before_all_files_were_read_says_so(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.get("/0")  # all files are read

    def listed(self: Collection, filters: Filters) -> list[Place]:
        self.waiting = 0  # meanwhile the last file has been read
        return []

    def refreshed(self: Collection, patience: float = 0.0) -> None:
        self.waiting = 1

    monkeypatch.setattr(Collection, "refresh", refreshed)
    monkeypatch.setattr(Collection, "matching", listed)
    page = client.get("/0").text
    assert "1 file is still being read" in page and "No ladder matches" not in page


def test_the_gallery_counts_filters_and_links(client: TestClient) -> None:
    page = client.get("/0").text
    assert "4 of 4 ladders" in page and page.count('<li><a href="/0/ladder') == 4
    assert '<option value="m1">m1</option>' in page
    page = client.get("/0?ties=yes").text
    assert "1 of 4 ladders" in page and 'href="/0/ladder?ties=yes&amp;id=tied"' in page
    assert "No ladder matches" in client.get("/0?words=zebra").text


def test_a_page_beyond_the_last_is_the_last(client: TestClient) -> None:
    for page in ("99", "0", "x", "9" * 20):
        assert "4 of 4 ladders" in client.get("/0", params={"page": page}).text


def test_a_ladder_shows_its_answers_with_reasons_and_neighbours(client: TestClient) -> None:
    page = client.get("/0/ladder?id=turned").text
    plain = re.sub(r"<[^>]+>", "", page)
    assert plain.index("dogs (matched) of turned sit") < plain.index("cats of turned sit there")
    assert '<a rel="prev" href="?id=plain">' in page and '<a rel="next" href="?id=tied">' in page
    assert "place 2 before the check" in page and "2 of 4" in page
    assert 'alt="Picture 1 of this ladder' in page
    alone = client.get("/0/ladder?id=turned&reordered=yes").text
    assert 'rel="next"' not in alone and "1 of 1" in alone
    assert "no noun chunk" in client.get("/0/ladder?id=unchecked").text


def test_pictures_of_ladders_are_served_and_nothing_else(client: TestClient) -> None:
    answer = client.get("/0/picture/0/0/0/320")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
    for path in (
        *("/0/picture/0/0/1/320", "/0/picture/0/9/0/320", "/0/picture/9/0/0/320", "/0/picture/0/0/0/321"),
        *("/1/picture/0/0/0/320", "/static/page.html.j2", "/static/..%2f..%2fcli%2fview.py", "/../../etc/passwd"),
        *("/0/ladder?id=", "/0/ladder?id=../../etc/passwd", "/7"),
    ):
        assert client.get(path).status_code == 404, path


def test_a_missing_picture_is_told_and_breaks_nothing(tmp_path: Path) -> None:
    rows = [replace(ladders(tmp_path)[0], images=[Image(str(tmp_path / "gone.png"))])]
    client = browser(opened(run_folder(tmp_path / "run", [*rows, ladders(tmp_path)[1]]), tmp_path / "kept"))
    assert client.get("/0/ladder?id=plain").status_code == 200
    answer = client.get("/0/picture/0/0/0/320")
    assert answer.status_code == 404 and "cannot be shown" in answer.text


def test_texts_of_models_ids_and_names_are_shown_and_never_run(tmp_path: Path) -> None:
    rows = ladders(tmp_path)
    answers = [
        Response(
            [{"role": "assistant", "content": EVIL}], level, {"kind": EVIL, "model": EVIL + str(level)}, reasoning=EVIL
        )
        for level in range(2)
    ]
    evil = Ladder(
        EVIL,
        rows[0].images,
        [{"role": "user", "content": f"<image>\n{EVIL}"}],
        answers,
        {EVIL: EVIL},
        {"flags": [EVIL]},
    )
    root = tmp_path / "<b>run"
    client = browser(opened(run_folder(root, [evil, *rows]), tmp_path / "kept"))
    pages = [client.get("/0"), client.get(f"/0?words={quote(EVIL)}"), client.get(f"/0/ladder?id={quote(EVIL)}")]
    pages += [
        client.get(f"/0?flag={quote(EVIL)}&origin={quote(EVIL)}"),
        client.get(f"/0/ladder?id={quote('<script>')}"),
    ]
    assert [page.status_code for page in pages] == [200, 200, 200, 200, 404]
    for page in pages:
        assert "<script>alert" not in page.text and "<img src=x" not in page.text and "<b>run" not in page.text
        assert "62615533" not in page.text and "\u202e" not in page.text
    assert "&lt;script&gt;alert(1)" in pages[2].text


def test_differences_mark_the_words_that_the_best_answer_has_not() -> None:
    text = "a black dog sits on a mat"
    spans = differences("a red dog sits", text)
    assert [text[span.start : span.end] for span in spans] == ["black", "on a mat"]
    assert differences("", "") == []


def test_several_sources_have_a_first_page(tmp_path: Path) -> None:
    one, two = (opened(run_folder(tmp_path / name), tmp_path / "kept") for name in ("one", "two"))
    client = browser(one, two)
    page = client.get("/").text
    assert (
        '<a href="/0">one</a>' in page
        and '<a href="/1">two</a>' in page
        and "4 ladders; the stage check is not finished" in page
    )
    assert client.get("/1").status_code == 200

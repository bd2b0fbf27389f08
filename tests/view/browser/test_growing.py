"""Runs that change while somebody looks at them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from seelevel.formats.parquet import write_shard
from tests.view.browser.driving import Faults, Server, counted, enter, names
from tests.view.shown import ladders, run_folder

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def test_a_run_grows_while_it_is_watched(page: Page, serve: Callable[..., Server], tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    enter(page, serve(run))
    assert counted(page) == (4, 4) and page.get_by_text("the stage check is not finished").is_visible()
    more = [replace(ladder, id=f"later {ladder.id}") for ladder in ladders(run)]
    write_shard(run / "check" / "shard-00002.parquet", more, run)
    page.reload()
    assert counted(page) == (8, 8) and names(page)[-1] == "later unchecked"
    page.get_by_role("link", name="later turned").click()
    assert page.get_by_text("7 of 8").or_(page.get_by_text("6 of 8")).is_visible()
    (run / "check" / "manifest.json").write_text('{"fingerprint": "x", "shards": 3}')
    page.go_back()
    page.reload()
    assert not page.get_by_text("the stage check is not finished").is_visible()


def test_a_broken_file_is_named_and_the_rest_is_shown(page: Page, serve: Callable[..., Server], tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    whole = (run / "check" / "shard-00001.parquet").read_bytes()
    (run / "check" / "shard-00001.parquet").write_bytes(whole[: len(whole) // 2])
    enter(page, serve(run))
    assert names(page) == ["plain", "turned"]
    assert "shard-00001.parquet" in page.locator("p.worse").inner_text()
    (run / "check" / "shard-00001.parquet").write_bytes(whole)
    page.reload()
    assert names(page) == ["plain", "turned", "tied", "unchecked"] and page.locator("p.worse").count() == 0


def test_a_stage_that_begins_again_replaces_what_is_shown(
    page: Page, serve: Callable[..., Server], tmp_path: Path, faults: Faults
) -> None:
    run = run_folder(tmp_path / "run")
    server = serve(run)
    enter(page, server)
    page.get_by_role("link", name="turned").click()
    shutil.rmtree(run / "check")
    fresh = [replace(ladder, id=f"new {ladder.id}") for ladder in ladders(run)]
    write_shard(run / "check" / "shard-00000.parquet", fresh[:2], run)
    page.reload()
    faults.forgive("404")
    assert page.get_by_text("There is no ladder of that name").is_visible()
    page.get_by_role("link", name="To the first page").click()
    assert names(page) == ["new plain", "new turned"]


def test_a_missing_picture_leaves_the_page_usable(
    page: Page, serve: Callable[..., Server], tmp_path: Path, faults: Faults
) -> None:
    run = run_folder(tmp_path / "run")
    for path in (run / "images").iterdir():
        path.unlink()
    server = serve(run)
    enter(page, server)
    page.get_by_role("link", name="turned").click()
    faults.forgive("404")
    assert page.get_by_alt_text("Picture 1 of this ladder").count() == 1
    with page.expect_navigation():
        page.locator("#answer-1").get_by_role("button", name="Leave out").click()
    assert page.get_by_text("left out by Ada").is_visible()
    faults.forgive("404")
    page.locator("a.zoom").click()
    assert page.get_by_text("The picture cannot be shown: missing").is_visible()


def test_a_ladders_link_waits_until_its_file_is_read(page: Page, serve: Callable[..., Server], tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    four = ladders(run)
    for number in range(2, 40):
        more = [replace(ladder, id=f"{ladder.id} {number} {n}") for n in range(40) for ladder in four]
        write_shard(run / "check" / f"shard-{number:05d}.parquet", more, run)
    server = serve(run)
    page.goto(f"{server.base}/0/ladder?id=tied+39+39&token={server.token}")
    assert page.get_by_role("heading", name="tied 39 39").is_visible()

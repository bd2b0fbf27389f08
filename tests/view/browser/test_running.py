"""The pages of runs in a browser, and that they look again while a run is at work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from seelevel.formats.parquet import write_shard
from seelevel.json_text import dumps
from seelevel.progress import say
from seelevel.run_log import logged
from seelevel.store import StageFolder, lock_folder, write_atomically
from tests.view.browser.driving import Server, assert_accessible, assert_fits, assert_quiet, enter, screens, until
from tests.view.shown import ladders
from tests.view.test_runs import small_run

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.slow
EVIL = "<img src=x onerror=window.__ran=1>"


def steps(root: Path, number: int) -> None:
    lines = [dumps({"step": n, "loss": 1 / n}) + "\n" for n in range(1, number + 1)]
    write_atomically(root / "align" / "log.jsonl", "".join(lines))


def trained(root: Path) -> Path:
    """A run that stopped after its check, in the midst of its training."""
    small_run(root)
    write_shard(root / "check" / "shard-00001.parquet", ladders(root)[2:], root)
    StageFolder(root / "check", "check").finish(seconds=1.0, ladders=4, peak_bytes=2**20)
    StageFolder(root / "align", "align").begin()
    steps(root, 3)
    with logged(root, "run"):
        say(f"align: {EVIL}")
    return root


def test_the_list_leads_to_a_run_with_its_stages_curves_and_log(
    page: Page, serve: Callable[..., Server], tmp_path: Path
) -> None:
    enter(page, serve(trained(tmp_path / "trained"), small_run(tmp_path / EVIL)))
    page.get_by_role("link", name="Runs", exact=True).click()
    rows = page.locator("#runs tbody tr")
    assert rows.count() == 2 and "align" in rows.nth(0).inner_text() and "check" in rows.nth(1).inner_text()
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        assert_quiet(page)
        assert_fits(page)
    page.get_by_role("link", name="trained", exact=True).click()
    states = {row.locator("th").inner_text(): row.locator(".state").inner_text() for row in stages(page)}
    assert states["check"] == "done" and states["align"] == "stopped" and states["evaluate"] == "not begun"
    assert page.locator("#curves svg").count() > 0 and page.get_by_text("The training is not finished.").is_visible()
    page.get_by_text("The whole recipe").click()
    assert page.get_by_text("world:dev").last.is_visible()
    page.get_by_role("link", name="Log", exact=True).click()
    assert page.url.endswith("#log") and EVIL in page.locator("#lines").inner_text()
    assert_quiet(page)
    assert_fits(page)
    page.emulate_media(color_scheme="dark")
    assert_accessible(page)
    screens(page, "run")
    page.get_by_role("link", name="The whole log").click()
    assert EVIL in page.inner_text("body") and page.evaluate("document.contentType") == "text/plain"
    page.go_back()
    page.get_by_role("link", name="All runs").click()
    page.get_by_role("link", name=f"Ladders of {EVIL}").click()
    assert "2 of 2 ladders" in page.locator(".count").inner_text()


def stages(page: Page) -> list[Locator]:
    return page.locator("#stage-table tbody tr").all()


def test_a_page_of_a_run_at_work_looks_again_and_stops_when_it_ends(
    page: Page, serve: Callable[..., Server], tmp_path: Path
) -> None:
    root = small_run(tmp_path / "run")
    server = serve(root)
    with lock_folder(root), logged(root, "run"):
        page.goto(f"{server.base}/0/run?token={server.token}")
        assert "at work on check" in page.locator("#now").inner_text()
        page.locator("#stage-table").focus()
        page.evaluate("window.same = true")
        write_shard(root / "check" / "shard-00001.parquet", ladders(root)[2:3], root)
        say("check: 3 ladders")
        until(page, "document.getElementById('stage-table').innerText.includes('3 of 4')")
        assert "check: 3 ladders" in page.locator("#lines").inner_text()
        assert page.evaluate("window.same")
        assert page.evaluate("document.activeElement.id") == "stage-table"
    page.get_by_text("To continue it, run this").wait_for()  # the page has loaded itself
    assert "stopped" in page.locator("#now").inner_text() and page.locator("[data-again]").count() == 0

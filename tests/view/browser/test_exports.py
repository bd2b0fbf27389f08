"""An export in a browser: files alone, opened without a server."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.test_compare import BETTER, CAPTIONS, make
from tests.view.browser.driving import (
    COMMAND,
    Faults,
    assert_accessible,
    assert_fits,
    assert_quiet,
    counted,
    names,
    screens,
    until,
)
from tests.view.browser.made import ALL, drawn, made_run

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def index(browser: object, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of an export's first page."""
    root = tmp_path_factory.mktemp("exported")
    run = make(made_run(root / "a run"), {"base": {"chair": CAPTIONS}, "aligned": {"chair": BETTER}})
    for name in "abc":
        drawn(run / "images" / f"{name}.png", 40)
    command = [COMMAND, "view", str(run), "--export", str(root / "an export")]
    subprocess.run(command, check=True, capture_output=True)
    return (root / "an export" / "index.html").as_uri()


@pytest.fixture
def asked(page: Page) -> list[str]:
    """Every address that the page asks for."""
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    return addresses


def test_links_keys_and_pictures_work_without_a_server(page: Page, index: str, asked: list[str]) -> None:
    page.goto(index)
    assert counted(page) == (ALL, ALL)
    page.evaluate("document.querySelectorAll('.gallery img').forEach(e => { e.loading = 'eager'; })")
    until(page, "[...document.images].every(e => e.complete && e.naturalWidth)")
    first = names(page)
    with page.expect_navigation():
        page.keyboard.press("j")
    assert len(names(page)) == ALL - len(first)
    with page.expect_navigation():
        page.keyboard.press("k")
    assert names(page) == first
    page.get_by_role("link", name="Who sits there?").click()
    page.get_by_role("heading", name="standard", exact=True).wait_for()
    page.keyboard.press("2")
    assert page.evaluate("document.activeElement.id") == "answer-2"
    page.keyboard.press("d")
    assert page.locator("#answer-2 mark.new").is_visible()
    page.locator("a.zoom").click()
    until(page, "document.querySelector('dialog img')?.naturalWidth == 1200")
    page.keyboard.press("Escape")
    assert page.locator("form").count() == 0
    screens(page, "export")
    page.go_back()
    page.reload()
    assert names(page) == first
    assert asked and all(address.startswith("file:") for address in asked)


def test_a_filter_the_comparison_and_the_run_are_links(page: Page, index: str, asked: list[str]) -> None:
    page.goto(index)
    page.get_by_text("Show some").click()
    page.locator(".choices li", has_text="Ties:").get_by_role("link", name="with", exact=True).click()
    assert counted(page) == (1, ALL) and names(page) == ["tied"]
    for link in ("Runs", "Compare"):
        page.get_by_role("navigation").get_by_role("link", name=link, exact=True).click()
        assert page.locator("h1").count() == 1
        assert_quiet(page)
    page.get_by_role("link", name="Answers side by side").click()
    page.locator("article h2 a").first.click()
    assert [stop.is_visible() for stop in page.locator(".stop").all()] == [False, True]
    page.get_by_role("slider").press("ArrowLeft")
    assert [stop.is_visible() for stop in page.locator(".stop").all()] == [True, False]
    page.reload()
    assert [stop.is_visible() for stop in page.locator(".stop").all()] == [False, True]
    page.locator(".stops a").first.click()
    page.reload()
    assert [stop.is_visible() for stop in page.locator(".stop").all()] == [True, False]
    assert all(address.startswith("file:") for address in asked)


def test_exported_pages_are_accessible_and_fit(
    contexts: Callable[..., BrowserContext], index: str, faults: Faults
) -> None:
    page = contexts(viewport={"width": 390, "height": 800}, color_scheme="dark").new_page()
    page.goto(index)
    assert_fits(page)
    assert_accessible(page)
    page.locator(".gallery a").first.click()
    assert_fits(page)
    assert_accessible(page)
    for part in (".css", "preload"):  # axe asks for the styles itself
        faults.forgive(part)

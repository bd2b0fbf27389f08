"""Pages for everybody: dark and light, wide and narrow, without motion, for screen readers; and only with the token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.view.browser.driving import (
    Faults,
    Server,
    assert_accessible,
    assert_fits,
    assert_quiet,
    counted,
    enter,
    screens,
    unfold,
)
from tests.view.browser.made import ALL
from tests.view.shown import run_folder

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = pytest.mark.slow
SCHEMES, WIDTHS = ("light", "dark"), (1280, 390)
PAGES = {
    "gallery": "/0",
    "filtered": "/0?size=3&ties=no&words=dog",
    "nothing": "/0?words=zebra",
    "ladder": "/0/ladder?id=standard",
    "dialogue": "/0/ladder?id=dialogue",
    "unchecked": "/0/ladder?id=unchecked",
    "home": "/",
    "compare": "/compare",
    "runs": "/runs",
    "talk": "/talk",
    "run": "/0/run",
}
SAME_PAGE = {"filtered", "nothing", "home"}
"""Pages of the gallery's title."""


@pytest.mark.parametrize(("scheme", "width"), zip(SCHEMES, WIDTHS, strict=True))
def test_every_page_is_accessible_and_fits(
    contexts: Callable[..., BrowserContext], shown: Server, faults: Faults, scheme: str, width: int
) -> None:
    """Colours are those of the scheme, whatever the width: each scheme is looked at in one width."""
    page = contexts(color_scheme=scheme, viewport={"width": width, "height": 800}).new_page()
    enter(page, shown)
    parts = {str(link.get_attribute("href")) for link in page.locator("nav.parts a").all()}
    assert len(parts) > 1 and parts <= set(PAGES.values())  # the parts that the line at the top leads to
    titles: set[str] = set()
    for name, path in PAGES.items():
        page.goto(shown.base + path)
        unfold(page)
        if page.locator("#differences").count():
            page.keyboard.press("d")
        assert page.locator("h1").count() == 1 and page.locator("main").count() == 1
        titles.add(page.title())
        assert_fits(page)
        assert_quiet(page)
        assert_accessible(page)
        screens(page, f"{name}-{scheme}-{width}")
    assert len(titles) == len(PAGES) - len(SAME_PAGE)  # they tell pages apart
    page.goto(f"{shown.base}/0/ladder?id=nobody")
    faults.forgive("404")
    assert_fits(page)
    assert_accessible(page)
    page.goto(f"{shown.base}/0/ladder?id=dialogue")
    page.locator("a.zoom").first.click()
    page.get_by_role("dialog").wait_for()
    assert_accessible(page)
    screens(page, f"zoomed-{scheme}-{width}")


def test_the_first_page_of_several_runs_and_a_refusal_are_accessible(
    page: Page, serve: Callable[..., Server], tmp_path: Path, faults: Faults
) -> None:
    server = serve(*(run_folder(tmp_path / name) for name in ("one", "two")))
    enter(page, server)
    lines = page.locator(".runs li").all_inner_texts()
    assert [line.removesuffix(" Run") for line in lines] == [
        f"{n} 4 ladders; the stage check is not finished" for n in ("one", "two")
    ]
    assert_accessible(page)
    page.get_by_role("link", name="two", exact=True).click()
    here = page.get_by_role("navigation").get_by_role("link", name="two", exact=True)
    assert here.get_attribute("aria-current") == "page"
    page.locator(".gallery a").first.click()
    with page.expect_navigation():
        page.locator("#answer-1").get_by_role("button", name="Leave out").click()
    with page.expect_navigation():
        page.locator("#answer-1").get_by_role("button", name="Leave out").click()
    faults.forgive("400")
    assert_accessible(page)


def test_dark_and_light_differ(contexts: Callable[..., BrowserContext], shown: Server) -> None:
    colours = []
    for scheme in SCHEMES:
        page = contexts(color_scheme=scheme).new_page()
        enter(page, shown)
        colours.append(page.evaluate("['backgroundColor', 'color'].map(c => getComputedStyle(document.body)[c])"))
    (paper, ink), (dark_paper, dark_ink) = ([sum(map(int, c[4:-1].split(","))) for c in pair] for pair in colours)
    assert paper > ink and dark_paper < dark_ink


def test_nothing_moves_for_people_who_want_no_motion(contexts: Callable[..., BrowserContext], shown: Server) -> None:
    page = contexts(reduced_motion="reduce").new_page()
    enter(page, shown)
    for path in PAGES.values():
        page.goto(shown.base + path)
        moving = page.evaluate(
            "[...document.querySelectorAll('*')].filter(e => { const s = getComputedStyle(e); return"
            " s.scrollBehavior === 'smooth' || s.animationName !== 'none' || parseFloat(s.transitionDuration) > 0;"
            "}).map(e => e.tagName)"
        )
        assert moving == [], path


def test_without_the_token_a_browser_sees_nothing(
    page: Page, shown: Server, contexts: Callable[..., BrowserContext], faults: Faults
) -> None:
    for address in (shown.base, f"{shown.base}/0/ladder?id=standard", f"{shown.base}/?token=wrong"):
        answer = page.goto(address)
        assert answer is not None and answer.status == 403
        assert page.inner_text("body") == "no token: open the address that `seelevel view` printed"
    faults.forgive("403")
    enter(page, shown)
    assert page.url == f"{shown.base}/0" and counted(page) == (ALL, ALL)  # the token has left the address
    page.goto(f"{shown.base}/0?size=3")  # and the cookie does
    assert counted(page) == (2, ALL)
    other = contexts().new_page()
    other.goto(shown.base)
    faults.forgive("403")
    assert "no token" in other.inner_text("body")


def test_another_sites_page_can_send_no_change_and_show_no_picture(
    page: Page, changing: tuple[Server, Path], faults: Faults
) -> None:
    server, run = changing
    enter(page, server)
    fields = {"id": "standard", "action": "level", "level": "3"}
    inputs = "".join(f'<input name="{name}" value="{value}">' for name, value in fields.items())
    page.route(
        "http://evil.example/**",
        lambda route: route.fulfill(
            content_type="text/html",
            body=f'<img src="{server.base}/0/picture/0/0/0/320"><iframe src="{server.base}/0"></iframe>'
            f'<form method="post" action="{server.base}/0/change">{inputs}<button>Go</button></form>',
        ),
    )
    page.goto("http://evil.example/")
    assert page.evaluate("document.images[0].naturalWidth") == 0
    page.get_by_role("button").click()
    page.wait_for_url(f"{server.base}/**")
    assert "no token" in page.inner_text("body")  # the cookie is not sent from there
    assert not (run / "overrides.jsonl").exists()
    page.close()
    faults.heard.clear()  # what a browser says about it differs from release to release


def test_the_link_past_the_top_leads_to_the_content(page: Page, shown: Server) -> None:
    enter(page, shown)
    page.keyboard.press("Tab")
    box = page.get_by_role("link", name="To the content").bounding_box()
    assert box is not None and box["x"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")

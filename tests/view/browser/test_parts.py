"""Every part that the line at the top leads to, and a run's page: quiet, accessible and narrow enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.view.browser.driving import Server, assert_accessible, assert_fits, assert_quiet, enter, screens

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_part_is_quiet_accessible_and_fits(
    contexts: Callable[..., BrowserContext], shown: Server, scheme: str, width: int
) -> None:
    page = contexts(color_scheme=scheme, viewport={"width": width, "height": 800}).new_page()
    enter(page, shown)
    links = page.locator("nav.parts a")
    paths = {str(link.get_attribute("href")) for link in links.all()} | {"/0/run"}
    for path in sorted(paths):
        page.goto(shown.base + path)
        assert page.locator("h1").count() == 1, path
        assert_quiet(page)
        assert_fits(page)
        assert_accessible(page)
        screens(page, f"part{path.replace('/', '-')}-{scheme}-{width}")

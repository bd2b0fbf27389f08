"""Margins after training and what a judge says about the check, in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from seelevel.ladder import Feedback, Ladder
from seelevel.training.margins import write_logprobs
from tests.view.browser.driving import (
    Server,
    assert_accessible,
    assert_fits,
    choices,
    counted,
    enter,
    names,
    pick,
    screens,
)
from tests.view.shown import ladders, run_folder
from tests.view.test_margins import logprobs

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def rated(ladder: Ladder, *ratings: int) -> Ladder:
    pairs = zip(ladder.responses, ratings, strict=True)
    return replace(ladder, responses=[replace(r, feedback=Feedback({"honesty": n}, "")) for r, n in pairs])


@pytest.fixture(scope="module")
def trained(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a run with margins +1 (`plain`) and −3 (`turned`, whose ratings are the other way round)."""
    root = tmp_path_factory.mktemp("trained") / "run"
    plain, turned, *others = ladders(root)
    run_folder(root, [rated(plain, 4, 1), rated(turned, 1, 4), *others])
    write_logprobs(root / "align" / "logprobs.parquet", [logprobs(plain, 2, 1), logprobs(turned, -1, 2)])
    server = Server(root)
    yield server
    server.stop()


def test_ladders_are_chosen_and_sorted_by_margin_and_by_judge(page: Page, trained: Server) -> None:
    enter(page, trained)
    pick(page, "Margin after training", "below 0")
    assert names(page) == ["turned"]
    page.reload()
    assert names(page) == ["turned"] and choices(page, "Margin after training").input_value() == "below"
    pick(page, "Judge and check", "agree")
    assert counted(page) == (0, 4)
    page.get_by_role("link", name="Show all").first.click()
    pick(page, "Sorted", "smallest margin first")
    assert names(page) == ["turned", "plain"]
    assert "margin \N{MINUS SIGN}3.00" in page.locator(".gallery li").first.inner_text()
    page.keyboard.press("Tab")
    page.get_by_role("link", name="What is on the mat?").first.click()
    page.get_by_text("Margin after training: \N{MINUS SIGN}3.00").wait_for()
    page.set_viewport_size({"width": 390, "height": 800})
    assert_fits(page)
    page.emulate_media(color_scheme="dark")
    assert_accessible(page)
    screens(page, "margin")
    page.keyboard.press("j")
    page.get_by_role("heading", name="plain", exact=True).wait_for()
    page.get_by_text("Margin after training: +1.00").wait_for()


def test_a_ladder_says_where_its_judge_contradicts_the_check(page: Page, trained: Server) -> None:
    enter(page, trained)
    pick(page, "Judge and check", "disagree")
    assert names(page) == ["turned"]
    page.get_by_role("link", name="What is on the mat?").click()
    assert page.get_by_text("the judge rates it below answer 2").is_visible()
    assert page.get_by_text("log-prob per token").count() == 2

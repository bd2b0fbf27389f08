"""The gallery and the ladders' pages, as somebody who only looks uses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.view.browser.driving import Faults, Server, answers, choices, counted, enter, names, screens, until
from tests.view.browser.made import ALL, PLAIN

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = pytest.mark.slow
FILTERS = [
    ("Answer by", "m2", 1, ["unchecked"]),
    ("Ties", "with", 1, ["tied"]),
    ("Order", "changed by the check", 1, ["turned"]),
    ("Check", "could not be made", 1, ["unchecked"]),
    ("Answers", "3", 2, ["unchecked", "standard"]),
    ("Flag", "rare", 1, ["unchecked"]),
    ("By hand", "changed", 0, []),
]


@pytest.fixture
def gallery(page: Page, shown: Server) -> Page:
    enter(page, shown)
    return page


@pytest.mark.parametrize(("label", "choice", "count", "ids"), FILTERS, ids=[row[0] for row in FILTERS])
def test_a_chosen_filter_is_used_at_once_and_has_a_link(
    gallery: Page,
    shown: Server,
    contexts: Callable[..., BrowserContext],
    label: str,
    choice: str,
    count: int,
    ids: list[str],
) -> None:
    with gallery.expect_navigation():
        choices(gallery, label).select_option(label=choice)
    assert (counted(gallery), names(gallery)) == ((count, ALL), ids)
    assert gallery.url.count("=") == 1  # what is not chosen is not in the link
    gallery.reload()
    assert counted(gallery) == (count, ALL)
    assert choices(gallery, label).evaluate("e => e.selectedOptions[0].text") == choice
    other = contexts().new_page()
    other.goto(f"{gallery.url}&token={shown.token}")
    assert (other.url, names(other)) == (gallery.url, ids)


def test_filters_are_used_together_and_taken_back_together(gallery: Page) -> None:
    for label, choice in (("Answers", "2"), ("Ties", "without"), ("Order", "kept")):
        with gallery.expect_navigation():
            choices(gallery, label).select_option(label=choice)
    assert counted(gallery) == (PLAIN + 2, ALL)  # with `plain` and `dialogue`
    gallery.get_by_role("link", name="Show all").click()
    assert counted(gallery) == (ALL, ALL)


def test_the_order_by_length_puts_the_longest_difference_first(gallery: Page) -> None:
    first = names(gallery)[0]
    with gallery.expect_navigation():
        choices(gallery, "Sorted").select_option(label="longest difference in length first")
    assert (first, names(gallery)[0]) == ("plain", "unchecked")


def test_a_slash_searches_and_letters_in_the_field_are_letters(gallery: Page) -> None:
    gallery.keyboard.press("/")
    assert gallery.evaluate("document.activeElement.name") == "words"
    gallery.keyboard.type("jkd1 /")
    assert gallery.get_by_role("searchbox").input_value() == "jkd1 /"
    gallery.get_by_role("searchbox").fill("CATS of turned")
    gallery.keyboard.press("Enter")
    gallery.wait_for_url("**words=CATS*")
    assert names(gallery) == ["turned"]
    gallery.get_by_role("searchbox").fill("no such words")
    gallery.keyboard.press("Enter")
    gallery.get_by_text("No ladder matches").wait_for()
    gallery.get_by_role("link", name="Show all").first.click()
    assert counted(gallery) == (ALL, ALL)


def test_j_and_k_turn_the_pages_of_the_gallery(gallery: Page) -> None:
    first = names(gallery)
    gallery.keyboard.press("j")
    gallery.wait_for_url("**page=2")
    assert len(names(gallery)) == ALL - 48 and not set(first) & set(names(gallery))
    gallery.keyboard.press("j")  # there is no other page
    gallery.keyboard.press("k")
    gallery.wait_for_url("**page=1")
    assert names(gallery) == first


def test_every_picture_is_loaded(gallery: Page) -> None:
    gallery.evaluate("document.querySelectorAll('.gallery img').forEach(e => { e.loading = 'eager'; })")
    until(gallery, "[...document.images].every(e => e.complete)")
    assert gallery.evaluate("[...document.images].filter(e => !e.naturalWidth).length") == 0
    assert gallery.locator(".gallery img").count() == 47  # one ladder has none
    screens(gallery, "gallery")


def test_a_ladder_opens_and_the_back_button_leads_to_the_same_gallery(gallery: Page) -> None:
    with gallery.expect_navigation():
        choices(gallery, "Answers").select_option("3")
    filtered = gallery.url
    gallery.get_by_role("link", name="Who sits there?").click()
    gallery.get_by_role("heading", name="standard", exact=True).wait_for()
    assert answers(gallery) == [("0", "standard response"), ("1", "expert m0"), ("2", "expert m1")]
    screens(gallery, "ladder")
    gallery.go_back()
    assert (gallery.url, names(gallery)) == (filtered, ["unchecked", "standard"])


def test_j_and_k_walk_through_the_filtered_ladders_alone(gallery: Page, shown: Server) -> None:
    gallery.goto(f"{shown.base}/0/ladder?size=3&id=unchecked")
    gallery.keyboard.press("j")
    gallery.wait_for_url("**id=standard")
    assert gallery.get_by_text("2 of 2").is_visible()
    gallery.keyboard.press("k")
    gallery.wait_for_url("**id=unchecked")
    gallery.get_by_role("link", name="run", exact=True).click()
    assert names(gallery) == ["unchecked", "standard"]


def test_numbers_go_to_answers(gallery: Page, shown: Server) -> None:
    gallery.goto(f"{shown.base}/0/ladder?id=standard")
    for key in "213":
        gallery.keyboard.press(key)
        assert gallery.evaluate("document.activeElement.id") == f"answer-{key}"
    gallery.keyboard.press("9")  # there is no such answer
    assert gallery.evaluate("document.activeElement.id") == "answer-3"


def test_d_and_the_button_show_the_differences(gallery: Page, shown: Server) -> None:
    gallery.goto(f"{shown.base}/0/ladder?id=standard")
    button, second = gallery.locator("#differences"), gallery.locator("#answer-2")
    assert second.locator(".reasons").is_visible() and not second.locator(".differs").is_visible()
    gallery.keyboard.press("d")
    assert button.get_attribute("aria-pressed") == "true"
    assert second.locator("mark.new").all_inner_texts() == ["brown"]
    assert second.locator("mark.new").is_visible() and not second.locator(".reasons").is_visible()
    assert gallery.locator("#answer-1 .reasons").is_visible()
    button.click()
    assert button.get_attribute("aria-pressed") == "false" and not second.locator(".differs").is_visible()


def test_a_click_enlarges_a_picture_and_escape_or_a_click_closes_it(gallery: Page, shown: Server) -> None:
    gallery.goto(f"{shown.base}/0/ladder?id=dialogue")
    dialog = gallery.get_by_role("dialog")
    for close in (lambda: gallery.keyboard.press("Escape"), lambda: dialog.click(position={"x": 5, "y": 5})):
        gallery.locator("a.zoom").first.click()
        until(gallery, "document.querySelector('dialog img')?.naturalWidth == 1200")
        gallery.keyboard.press("j")  # no key turns the page behind it
        close()
        dialog.wait_for(state="detached")
    assert gallery.url.endswith("id=dialogue")


def test_enter_enlarges_a_picture_and_the_focus_comes_back(gallery: Page, shown: Server) -> None:
    gallery.goto(f"{shown.base}/0/ladder?id=dialogue")
    gallery.locator("a.zoom").nth(1).focus()
    gallery.keyboard.press("Enter")
    gallery.get_by_role("dialog").wait_for()
    assert gallery.evaluate("document.querySelector('dialog').contains(document.activeElement)")
    gallery.keyboard.press("Escape")
    gallery.get_by_role("dialog").wait_for(state="detached")
    assert gallery.evaluate("document.activeElement === document.querySelectorAll('a.zoom')[1]")


def test_a_mark_under_the_pointer_tells_its_reason(gallery: Page, shown: Server) -> None:
    gallery.goto(f"{shown.base}/0/ladder?id=standard")
    mark = gallery.locator("#answer-2 .reasons mark").first
    mark.hover()
    assert mark.inner_text() == "A" and "0.90" in (mark.get_attribute("title") or "")
    assert "matched" in gallery.locator("#answer-2 .reasons .said").first.inner_text()  # for those who cannot see it
    assert gallery.locator(".key mark").all_inner_texts()[0] == "matched chunk"


def test_thoughts_annotations_and_critiques_can_be_read(gallery: Page, shown: Server) -> None:
    gallery.goto(f"{shown.base}/0/ladder?id=dialogue")
    assert not gallery.get_by_text("I count two.").is_visible()
    gallery.get_by_text("What it thought").click()
    assert gallery.get_by_text("I count two.").is_visible()
    gallery.get_by_text("Annotations").click()
    assert gallery.locator("dd").inner_text() == "['dog', 'mat']"
    gallery.goto(f"{shown.base}/0/ladder?id=standard")
    assert gallery.get_by_text("Critique: There is no cat.").is_visible()


def test_a_ladder_that_does_not_exist_leads_back(gallery: Page, shown: Server, faults: Faults) -> None:
    gallery.goto(f"{shown.base}/0/ladder?id=nobody")
    faults.forgive("404")
    gallery.get_by_role("link", name="To the first page").click()
    assert counted(gallery) == (ALL, ALL)

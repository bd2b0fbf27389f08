"""Changes by hand, made with the mouse, the keyboard and forms; and what two who change at once see."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.view.browser.driving import Faults, Server, answers, choices, counted, enter, names, screens
from tests.view.browser.made import ALL, STANDARD

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page

pytestmark = pytest.mark.slow
Changing = tuple[Server, Path]
FIRST, SECOND, THIRD = ("0", "standard response"), ("1", "expert m0"), ("2", "expert m1")


@pytest.fixture
def ladder(page: Page, changing: Changing) -> Page:
    return opened(page, changing[0])


def opened(page: Page, server: Server, name: str = "standard") -> Page:
    page.goto(f"{server.base}/0/ladder?id={name}&token={server.token}")
    return page


def entries(run: Path) -> list[dict[str, Any]]:
    file = run / "overrides.jsonl"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def answer(page: Page, number: int) -> Locator:
    return page.locator(f"#answer-{number}")


def press(page: Page, number: int, name: str) -> None:
    """A button of an answer, and the page after it."""
    with page.expect_navigation():
        answer(page, number).get_by_role("button", name=name, exact=True).click()


def set_level(page: Page, number: int, level: int) -> None:
    answer(page, number).get_by_label("Level").select_option(str(level))
    press(page, number, "Set")


def test_a_level_is_set_by_the_form_and_says_who_and_when(ladder: Page, changing: Changing) -> None:
    set_level(ladder, 2, 3)
    assert answers(ladder) == [FIRST, THIRD, ("3", "expert m0")]
    assert re.fullmatch(r"changed by Ada, \d{4}-\d\d-\d\d \d\d:\d\d", answer(ladder, 3).locator("p.flag").inner_text())
    (entry,) = entries(changing[1])
    assert (entry["ladder"], entry["response"], entry["level"], entry["who"]) == ("standard", "m0", 3, "Ada")
    screens(ladder, "changed")
    press(ladder, 3, "As checked")
    assert answers(ladder) == [FIRST, SECOND, THIRD] and entries(changing[1]) == []


def test_an_answer_is_dragged_to_a_level(ladder: Page, changing: Changing) -> None:
    with ladder.expect_navigation():
        ladder.drag_and_drop("#answer-3 h2", ".targets li[data-level='0']")
    assert answers(ladder) == [FIRST, ("0", "expert m1"), SECOND]
    assert [entry["level"] for entry in entries(changing[1])] == [0]


def test_two_answers_on_a_level_are_a_tie(ladder: Page) -> None:
    assert ladder.get_by_text("tied").count() == 0
    set_level(ladder, 3, 1)
    assert answers(ladder) == [FIRST, SECOND, ("1", "expert m1")]
    assert [answer(ladder, n).get_by_text("tied").count() for n in (1, 2, 3)] == [0, 1, 1]


def test_an_answer_is_left_out_and_put_back(ladder: Page, changing: Changing) -> None:
    press(ladder, 2, "Leave out")
    assert answers(ladder) == [FIRST, THIRD, ("–", "expert m0")]
    struck = answer(ladder, 3)
    assert "left out by Ada" in struck.inner_text() and struck.get_attribute("draggable") is None
    assert struck.locator(".reasons").evaluate("e => getComputedStyle(e).textDecorationLine") == "line-through"
    press(ladder, 3, "Put back")
    assert answers(ladder) == [FIRST, SECOND, THIRD] and entries(changing[1]) == []


def test_the_last_answer_cannot_be_left_out(ladder: Page, changing: Changing, faults: Faults) -> None:
    press(ladder, 3, "Leave out")
    press(ladder, 2, "Leave out")
    press(ladder, 1, "Leave out")
    faults.forgive("400")
    assert ladder.get_by_text("drop every answer; keep one").is_visible()
    assert len(entries(changing[1])) == 2


def test_a_critique_is_written_and_deleted(ladder: Page, changing: Changing) -> None:
    text = 'No "cat" & no <b>mat</b>.\nBoth lines stay.'
    for critique in (text, ""):
        answer(ladder, 2).get_by_text("Critique", exact=True).click()
        answer(ladder, 2).get_by_label("Critique of expert m0").fill(critique)
        press(ladder, 2, "Save")
        assert [entry["critique"] for entry in entries(changing[1])] == ([critique] if critique else [])
        assert (answer(ladder, 2).get_by_text('No "cat" & no <b>mat</b>.').count() > 0) is bool(critique)


def test_the_standard_answer_alone_is_edited(ladder: Page, changing: Changing) -> None:
    assert [answer(ladder, n).get_by_text("Edit", exact=True).count() for n in (1, 2, 3)] == [1, 0, 0]
    answer(ladder, 1).get_by_text("Edit", exact=True).click()
    area = answer(ladder, 1).get_by_label("Text of standard response")
    assert area.input_value() == STANDARD
    area.press("End")
    area.press_sequentially(" It is black, j k d 1.")  # keys are letters here
    press(ladder, 1, "Save")
    assert answer(ladder, 1).locator(".reasons").inner_text() == STANDARD + " It is black, j k d 1."
    assert [entry["text"] for entry in entries(changing[1])] == [STANDARD + " It is black, j k d 1."]


def test_changes_are_taken_back_one_after_the_other(ladder: Page, changing: Changing) -> None:
    set_level(ladder, 2, 3)
    set_level(ladder, 2, 0)  # of expert m1
    press(ladder, 1, "Leave out")
    for expected in ([("0", "expert m1"), ("3", "expert m0")], [THIRD, ("3", "expert m0")], [SECOND, THIRD]):
        with ladder.expect_navigation():
            ladder.get_by_role("button", name="Take the last change back").click()
        assert [row for row in answers(ladder) if row != FIRST] == expected
    assert entries(changing[1]) == []
    ladder.get_by_role("button", name="Take the last change back").click()  # there is none left
    assert answers(ladder) == [FIRST, SECOND, THIRD]


def test_the_filter_finds_what_was_changed(ladder: Page, changing: Changing) -> None:
    set_level(ladder, 3, 1)
    ladder.goto(f"{changing[0].base}/0")
    for choice, count in (("not changed", ALL - 1), ("changed", 1)):
        with ladder.expect_navigation():
            choices(ladder, "By hand").select_option(label=choice)
        assert counted(ladder) == (count, ALL)
    assert names(ladder) == ["standard"]
    ladder.get_by_role("link", name="Who sits there?").click()
    set_level(ladder, 3, 3)
    assert "changed=yes" in ladder.url  # a change leaves the filters as they are


def test_of_two_tabs_on_one_ladder_the_second_is_refused_and_loses_nothing(
    ladder: Page, changing: Changing, faults: Faults
) -> None:
    other = opened(ladder.context.new_page(), changing[0])
    set_level(ladder, 2, 3)
    press(other, 3, "Leave out")
    faults.forgive("409")
    assert other.get_by_role("heading", name="Not saved").is_visible()
    assert other.get_by_text("was changed in another place meanwhile").is_visible()
    assert [entry.get("level") for entry in entries(changing[1])] == [3]
    screens(other, "conflict")
    opened(other, changing[0])
    assert answers(other) == [FIRST, THIRD, ("3", "expert m0")]
    press(other, 2, "Leave out")
    assert [(entry["response"], entry.get("level"), entry.get("drop")) for entry in entries(changing[1])] == [
        ("m0", 3, None),
        ("m1", None, True),
    ]


def test_a_critique_that_is_refused_can_be_copied(ladder: Page, changing: Changing, faults: Faults) -> None:
    other = opened(ladder.context.new_page(), changing[0])
    set_level(ladder, 2, 3)
    answer(other, 3).get_by_text("Critique", exact=True).click()
    answer(other, 3).get_by_label("Critique of expert m1").fill("An hour's work.")
    press(other, 3, "Save")
    faults.forgive("409")
    assert other.get_by_label("What you wrote").input_value() == "An hour's work."
    other.get_by_role("link", name="Look at it again").click()
    assert answers(other) == [FIRST, THIRD, ("3", "expert m0")]


def test_two_tabs_on_two_ladders_are_both_saved(ladder: Page, changing: Changing) -> None:
    other = opened(ladder.context.new_page(), changing[0], "dialogue")
    set_level(ladder, 2, 3)
    set_level(other, 2, 2)
    assert [(entry["ladder"], entry["level"]) for entry in entries(changing[1])] == [("standard", 3), ("dialogue", 2)]


def test_two_servers_of_one_run_heed_each_other(
    ladder: Page,
    changing: Changing,
    serve: Callable[..., Server],
    contexts: Callable[..., BrowserContext],
    faults: Faults,
) -> None:
    second = serve(changing[1], who="Bo <b>")
    other = opened(contexts().new_page(), second)
    set_level(ladder, 2, 3)
    press(other, 3, "Leave out")
    faults.forgive("409")
    opened(other, second)
    press(other, 2, "Leave out")
    assert [entry["who"] for entry in entries(changing[1])] == ["Ada", "Bo <b>"]
    ladder.reload()
    assert answer(ladder, 2).get_by_text("changed by Ada").is_visible()
    assert answer(ladder, 3).get_by_text("left out by Bo <b>").is_visible()


def test_a_server_that_starts_again_has_all_changes(
    page: Page, changing: Changing, serve: Callable[..., Server], faults: Faults
) -> None:
    first = serve(changing[1])
    opened(page, first)
    set_level(page, 2, 3)
    page.goto("about:blank")  # nothing is asked of a dead server
    first.kill()
    again = serve(changing[1], port=first.port)
    page.goto(f"{first.base}/0/ladder?id=standard")  # as a bookmark: the cookie is of the old server
    faults.forgive("403")
    assert page.get_by_text("no token: open the address that").is_visible()
    opened(page, again)
    assert answers(page) == [FIRST, THIRD, ("3", "expert m0")]
    page.get_by_role("button", name="Take the last change back").click()
    assert answers(page) == [FIRST, SECOND, THIRD]


def test_back_after_a_change_shows_the_ladder_as_it_is(ladder: Page, changing: Changing) -> None:
    opened(ladder, changing[0], "dialogue")
    opened(ladder, changing[0])
    set_level(ladder, 2, 3)
    ladder.go_back()
    ladder.go_back()
    ladder.go_forward()
    assert answers(ladder) in ([FIRST, THIRD, ("3", "expert m0")], [("0", "expert m0"), ("1", "expert")])
    ladder.go_forward()
    assert answers(ladder) == [FIRST, THIRD, ("3", "expert m0")]
    set_level(ladder, 3, 1)  # its version is that of now
    assert [entry["level"] for entry in entries(changing[1])] == [1]


def test_without_scripts_the_forms_do_everything(
    contexts: Callable[..., BrowserContext], changing: Changing, faults: Faults
) -> None:
    server, run = changing
    page = contexts(java_script_enabled=False).new_page()
    enter(page, server)
    choices(page, "Answers").select_option("3")
    page.get_by_role("button", name="Show").click()
    assert names(page) == ["unchecked", "standard"]
    page.get_by_role("link", name="Who sits there?").click()
    assert not page.locator(".targets").is_visible() and not page.locator("#differences").is_visible()
    set_level(page, 2, 3)
    press(page, 1, "Leave out")
    answer(page, 1).get_by_text("Critique", exact=True).click()
    answer(page, 1).get_by_label("Critique of expert m1").fill("No cat.")
    press(page, 1, "Save")
    assert [sorted(entry.keys() & {"level", "drop", "critique"}) for entry in entries(run)] == [
        ["level"],
        ["drop"],
        ["critique"],
    ]
    page.get_by_role("button", name="Take the last change back").click()
    assert len(entries(run)) == 2
    page.locator("a.zoom").click()
    assert "/picture/" in page.url
    faults.forgive("inline style")  # of the browser's own page around a picture
    page.go_back()
    assert page.get_by_role("heading", name="standard", exact=True).is_visible()


def test_the_keyboard_alone_leads_from_the_gallery_to_a_change_and_back(page: Page, changing: Changing) -> None:
    server, run = changing
    enter(page, server)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")  # past the filters
    reach(page, "a[href$='id=turned']")
    page.keyboard.press("Enter")
    page.wait_for_url("**id=turned")
    reach(page, "#answer-2 select[name=level]")
    page.keyboard.press("ArrowUp")
    reach(page, "#answer-2 button[value=level]")
    with page.expect_navigation():
        page.keyboard.press("Space")
    assert answers(page) == [("0", "expert m0"), ("0", "expert m1")] and len(entries(run)) == 1
    reach(page, "button[value=undo]")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert answers(page) == [("0", "expert m0"), ("1", "expert m1")] and entries(run) == []


def reach(page: Page, selector: str) -> None:
    """Press Tab until an element has the focus, and shows it."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"{selector} does not show its focus"
            return
    raise AssertionError(f"Tab does not reach {selector}")

"""Talk in a browser: words are typed, answers come piece by piece, pictures are dropped, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.view.browser.driving import (
    Faults,
    Server,
    assert_accessible,
    assert_fits,
    assert_quiet,
    enter,
    screens,
    until,
)
from tests.view.browser.test_hostile_texts import SOFT

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page

pytestmark = pytest.mark.slow
SPEAKING = "tests.view.browser.speaking"
ECHO, ENDLESS = f"{SPEAKING}:Echo", f"{SPEAKING}:Endless"
PICTURE = """bytes => { const files = new DataTransfer();
files.items.add(new File([Uint8Array.from(bytes)], "<img src=x onerror=window.__ran=1>.png")); return files; }"""


@pytest.fixture(scope="module")
def talking(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of models without weights, and the world's smallest one. The first is chosen."""
    save = str(tmp_path_factory.mktemp("talking") / "said.jsonl")
    models = [part for name in (ECHO, ENDLESS, "world:s") for part in ("--model", name)]
    server = Server(options=[*models, "--judge", f"{SPEAKING}:Critic", "--save", save])
    yield server
    server.stop()


@pytest.fixture
def talk(page: Page, talking: Server) -> Page:
    """A conversation with the first model alone."""
    enter(page, talking)
    chosen(page, 0)
    return page


def chosen(page: Page, *numbers: int) -> None:
    for number, box in enumerate(page.locator(".models input").all()):
        box.set_checked(number in numbers)


def column(page: Page, number: int = 0) -> Locator:
    return page.locator(f"[data-model=m{number}]")


def exchanges(page: Page, number: int = 0) -> list[tuple[str, str]]:
    """(words, answer) of each turn."""
    rows = column(page, number).locator(".exchanges > li").all()
    return [
        (row.locator("[data-text=user]").inner_text(), row.locator("[data-text=answer]").inner_text()) for row in rows
    ]


def done(page: Page) -> None:
    page.locator("#send").wait_for()


def say(page: Page, words: str) -> None:
    page.get_by_label("Your words").fill(words)
    page.keyboard.press("Enter")
    done(page)


def trouble(page: Page) -> str:
    until(page, "document.getElementById('trouble').textContent !== ''")
    return page.get_by_role("alert").inner_text()


def test_enter_sends_and_the_answer_comes_piece_by_piece(talk: Page) -> None:
    talk.evaluate(
        "window.lengths = new Set(); new MutationObserver(() => { const e = document.querySelector('.coming"
        " [data-text=answer]'); if (e) window.lengths.add(e.textContent.length); }).observe("
        "document.querySelector('.talks'), {subtree: true, childList: true, characterData: true})"
    )
    talk.get_by_label("Your words").focus()
    talk.keyboard.type("What is there?")
    talk.keyboard.press("Shift+Enter")
    talk.keyboard.type("And where?")
    talk.keyboard.press("Enter")
    done(talk)
    assert exchanges(talk) == [("What is there?\nAnd where?", "you say What is there?\nAnd where?")]
    assert len(talk.evaluate("[...window.lengths]")) > 3
    assert talk.get_by_label("Your words").input_value() == ""
    assert talk.evaluate("document.activeElement.id") == "words"
    talk.keyboard.press("Enter")  # nothing is sent
    say(talk, "More?")
    talk.reload()
    assert exchanges(talk)[1:] == [("More?", "you say More?")]
    screens(talk, "talk")


def test_stop_keeps_the_pieces_so_far_and_the_keyboard_reaches_it(talk: Page) -> None:
    chosen(talk, 0, 1)
    talk.get_by_label("Your words").fill("Count.")
    talk.keyboard.press("Tab")
    talk.keyboard.press("Enter")  # on the button
    until(talk, "document.querySelector('[data-model=m1] .coming [data-text=answer]')?.textContent.length > 8")
    assert talk.evaluate("document.activeElement.id") == "stop"
    talk.keyboard.press("Enter")
    done(talk)
    assert talk.evaluate("document.activeElement.id") == "words"
    [(words, counted)] = exchanges(talk, 1)
    assert words == "Count." and counted.startswith("0 1 2 3") and not counted.endswith("2999")
    assert exchanges(talk) == [("Count.", "you say Count.")]
    talk.reload()
    assert exchanges(talk, 1) == [(words, counted)]


def test_a_chosen_file_is_shown_goes_with_the_words_and_begins_anew(talk: Page, png: Path) -> None:
    say(talk, "Before?")
    talk.locator("#file").set_input_files(png)
    until(talk, "document.getElementById('picture').naturalWidth === 40")
    assert exchanges(talk) == []
    say(talk, "What?")
    assert exchanges(talk) == [("What?", "1 pictures, you say What?")]
    talk.reload()
    until(talk, "document.getElementById('picture').naturalWidth === 40")
    assert exchanges(talk) == [("What?", "1 pictures, you say What?")]


def test_a_file_with_a_hostile_name_is_dropped(talk: Page, png: Path) -> None:
    files = talk.evaluate_handle(PICTURE, list(png.read_bytes()))
    talk.dispatch_event(".drop", "dragover", {"dataTransfer": files})
    assert talk.locator(".drop.over").count() == 1
    talk.dispatch_event(".drop", "drop", {"dataTransfer": files})
    until(talk, "document.getElementById('picture').naturalWidth === 40")
    assert talk.locator(".drop.over").count() == 0
    say(talk, "What?")
    talk.reload()
    assert_quiet(talk)


def test_a_file_that_is_no_picture_is_refused_in_one_line(talk: Page, tmp_path: Path, faults: Faults) -> None:
    (tmp_path / "<b>.png").write_text("no picture")
    say(talk, "Before?")
    talk.locator("#file").set_input_files(tmp_path / "<b>.png")
    line = trouble(talk)
    faults.forgive("400")
    assert line.startswith("this picture cannot be used: ") and "\n" not in line
    assert not talk.locator("#picture").is_visible() and len(exchanges(talk)) == 1
    say(talk, "After?")
    assert talk.locator("#trouble").text_content() == "" and len(exchanges(talk)) == 2


def test_a_scene_of_the_world_is_talked_about_judged_refined_and_forgotten(talk: Page) -> None:
    chosen(talk, 2)
    talk.get_by_label("A scene of the world").fill("world:test/3")
    talk.get_by_role("button", name="Show").click()
    until(talk, "document.getElementById('picture').naturalWidth > 0")
    talk.set_default_timeout(60_000)  # the model is loaded
    say(talk, "Describe the image.")
    [(_, first)] = exchanges(talk, 2)
    assert first.endswith(".") and first[0].isupper()
    column(talk, 2).get_by_role("button", name="Feedback").click()
    done(talk)
    judged = column(talk, 2).locator("[data-text=judged]")
    assert "Too short. <img src=x" in judged.inner_text()
    assert_quiet(talk)
    column(talk, 2).get_by_label("is to change").fill("Name the colours.")
    column(talk, 2).get_by_role("button", name="Refine").click()
    done(talk)
    assert [words for words, _ in exchanges(talk, 2)] == ["Describe the image.", "Name the colours."]
    say(talk, "/feedback")
    assert judged.nth(1).is_visible()
    talk.reload()
    assert exchanges(talk, 2)[0] == ("Describe the image.", first) and judged.nth(1).is_visible()
    column(talk, 2).get_by_role("button", name="New").click()
    done(talk)
    assert exchanges(talk, 2) == [] and talk.locator("#picture").is_visible()
    say(talk, "/nothing")
    assert column(talk, 2).get_by_text("unknown command /nothing").is_visible()


def test_two_tabs_are_two_conversations(talk: Page, talking: Server) -> None:
    other = talk.context.new_page()
    other.goto(f"{talking.base}/talk")
    assert other.evaluate("document.activeElement.id") == "words"
    chosen(other, 0)
    assert other.url != talk.url
    say(talk, "Here?")
    say(other, "There?")
    for page, words in ((talk, "Here?"), (other, "There?")):
        page.reload()
        assert exchanges(page) == [(words, f"you say {words}")]
    talk.get_by_role("link", name="New conversation").click()
    assert exchanges(talk) == []
    talk.go_back()
    assert exchanges(talk) == [("Here?", "you say Here?")]


def test_words_that_look_like_a_page_are_shown_and_never_run(talk: Page) -> None:
    for text in (SOFT["script"], SOFT["image"], SOFT["closing"]):
        say(talk, text)
        assert_quiet(talk)
        assert exchanges(talk)[-1] == (text, f"you say {text}")
    say(talk, SOFT["turned"])
    assert_fits(talk)
    talk.reload()
    assert_quiet(talk)
    assert_fits(talk)


def test_without_scripts_a_form_asks(contexts: Callable[..., BrowserContext], talking: Server) -> None:
    page = contexts(java_script_enabled=False).new_page()
    page.goto(talking.address)
    chosen(page, 0)
    page.get_by_label("Your words").fill("What?")
    with page.expect_navigation():
        page.get_by_role("button", name="Send").click()
    assert exchanges(page) == [("What?", "you say What?")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_conversation_is_accessible_and_fits(
    contexts: Callable[..., BrowserContext], talking: Server, png: Path, scheme: str
) -> None:
    page = contexts(color_scheme=scheme).new_page()
    enter(page, talking)
    assert_accessible(page)
    page.locator("#file").set_input_files(png)
    until(page, "document.getElementById('picture').naturalWidth === 40")
    chosen(page, 0)
    say(page, "What?")
    say(page, "/feedback")
    say(page, "/nothing")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        assert_fits(page)
        assert_accessible(page)
        screens(page, f"talk-{scheme}-{width}")


@pytest.fixture
def png(tmp_path: Path) -> Path:
    from PIL import Image

    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    return tmp_path / "red.png"

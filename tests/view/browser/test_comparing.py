"""Compare in a browser: models are chosen, items sorted, and one item is seen over the models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.test_compare import BETTER, CAPTIONS, caption, make
from tests.view.browser.driving import (
    Server,
    assert_accessible,
    assert_fits,
    assert_quiet,
    choices,
    enter,
    pick,
    screens,
    unfold,
    until,
)
from tests.view.browser.made import drawn
from tests.view.browser.test_hostile_texts import SOFT

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = pytest.mark.slow
ALL = "side=0:base&side=0:step-100&side=0:aligned&benchmark=chair"


@pytest.fixture(scope="module")
def compared(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a run with three models, and of one whose every text is hostile."""
    root = tmp_path_factory.mktemp("compared")
    middle = [{**item, "answer": f"middle {item['id']}"} for item in CAPTIONS]
    sides = {"base": {"chair": CAPTIONS}, "step-100": {"chair": middle}, "aligned": {"chair": BETTER}}
    run = make(root / "run", sides)
    for number, name in enumerate("abc"):
        drawn(run / "images" / f"{name}.png", 60 * number)
    evil = [
        {**caption("x", f"{text} said", 1, 1, 0), "id": text, "question": text, "hallucinated": [text]}
        for text in SOFT.values()
    ]
    hostile = make(root / f"{SOFT['image']}", {"base": {"chair": evil}, "aligned": {"chair": evil}})
    drawn(hostile / "images" / "x.png", 9)
    server = Server(run, hostile)
    yield server
    server.stop()


@pytest.fixture
def inside(page: Page, compared: Server) -> Page:
    enter(page, compared)
    return page


def listed(page: Page) -> list[str]:
    return page.locator("article h2 a").all_inner_texts()


def visible(page: Page) -> list[str]:
    """Whose answer the slider shows."""
    return [stop.locator("h2").inner_text() for stop in page.locator(".stop").all() if stop.is_visible()]


def test_models_are_chosen_and_their_figures_appear(inside: Page, compared: Server) -> None:
    inside.get_by_role("link", name="Compare").click()
    boxes = inside.locator("input[name=side]")
    for box in boxes.all():
        box.uncheck()
    run = inside.get_by_role("group", name="run", exact=True)
    run.get_by_label("base").check()
    run.get_by_label("aligned").check()
    choices(inside, "Differences from").select_option(label="run: aligned")
    with inside.expect_navigation():
        inside.get_by_role("button", name="Compare").click()
    while inside.get_by_text("are being computed").count():
        inside.wait_for_timeout(50)
        inside.reload()
    table = inside.locator("main table").first
    assert table.locator("thead th").all_inner_texts() == ["Figure", "A aligned", "B base"]
    row = table.locator("tbody tr").first
    assert "CHAIR" in row.inner_text() and "33.3" in row.inner_text() and "40.0" in row.inner_text()
    assert inside.locator("main svg").count() > 0
    screens(inside, "compare")
    chosen = inside.url
    inside.reload()
    assert inside.url == chosen and table.locator("thead th").count() == 3
    inside.get_by_role("link", name="Answers side by side").click()
    assert inside.locator(".sides").first.locator("b").all_inner_texts() == ["A aligned", "B base"]


def test_items_are_sorted_filtered_and_searched(inside: Page, compared: Server) -> None:
    inside.goto(f"{compared.base}/compare/items?{ALL}")
    assert listed(inside) == ["a", "b", "c"]
    labels = choices(inside, "Order").locator("option").all_inner_texts()
    choices(inside, "Better by").select_option(value="chair_recall")
    inside.wait_for_url("**figure=chair_recall*")
    worse = next(label for label in labels if "worse" in label)
    pick(inside, "Order", worse)
    assert listed(inside) == ["c", "a", "b"]
    inside.reload()
    assert listed(inside) == ["c", "a", "b"] and choices(inside, "Order").input_value() == "worse"
    choices(inside, "Show").select_option(value="worse")
    inside.wait_for_url("**change=worse*")
    assert listed(inside) == ["c"] and "1 of 3 items" in inside.locator(".count").inner_text()
    inside.goto(f"{compared.base}/compare/items?{ALL}")
    inside.keyboard.press("/")
    inside.keyboard.type("THREE")
    inside.keyboard.press("Enter")
    inside.wait_for_url("**words=THREE*")
    assert listed(inside) == ["a"]
    inside.get_by_role("searchbox").fill("zebra")
    inside.keyboard.press("Enter")
    inside.get_by_text("No item matches").wait_for()
    inside.get_by_role("link", name="Show all").click()
    assert listed(inside) == ["a", "b", "c"]


def test_arrow_keys_move_the_slider_and_j_and_k_keep_its_model(inside: Page, compared: Server) -> None:
    inside.goto(f"{compared.base}/compare/item?{ALL}&id=a&at=0")
    assert visible(inside) == ["A base"]
    slider = inside.get_by_role("slider", name="Model")
    slider.focus()
    inside.keyboard.press("ArrowRight")
    assert visible(inside) == ["B step-100"] and slider.get_attribute("aria-valuetext") == "B step-100"
    assert inside.get_by_text("middle a").is_visible() and "at=1" in inside.url
    inside.keyboard.press("j")
    inside.wait_for_url("**id=b*")
    assert visible(inside) == ["B step-100"] and inside.get_by_text("middle b").is_visible()
    inside.keyboard.press("k")
    inside.wait_for_url("**id=a*")
    slider.press("ArrowLeft")
    inside.reload()
    assert visible(inside) == ["A base"] and slider.input_value() == "0"
    slider.focus()
    inside.keyboard.press("End")
    assert visible(inside) == ["C aligned"]
    inside.locator(".stops a").first.click()
    assert visible(inside) == ["A base"] and slider.input_value() == "0"
    inside.get_by_role("link", name="All side by side").click()
    assert inside.locator(".columns > li h2").all_inner_texts() == ["A base", "B step-100", "C aligned"]
    inside.keyboard.press("3")
    assert inside.evaluate("document.activeElement.id") == "answer-3"


def test_without_scripts_links_move_the_slider(contexts: Callable[..., BrowserContext], compared: Server) -> None:
    page = contexts(java_script_enabled=False).new_page()
    page.goto(f"{compared.base}/compare/item?{ALL}&id=a&token={compared.token}")
    assert not page.get_by_role("slider").is_visible() and visible(page) == ["C aligned"]
    page.locator(".stops").get_by_role("link", name="step-100").click()
    assert visible(page) == ["B step-100"] and page.get_by_text("middle a").is_visible()
    page.locator("a[rel=next]").click()
    assert visible(page) == ["B step-100"] and "id=b" in page.url
    page.goto(f"{compared.base}/compare/items?{ALL}")
    choices(page, "Show").select_option(value="answer")
    page.get_by_role("button", name="Show").click()
    assert "change=answer" in page.url and listed(page) == ["a", "c"]


def test_pictures_of_items_are_loaded_and_enlarged(inside: Page, compared: Server) -> None:
    inside.goto(f"{compared.base}/compare/items?{ALL}")
    inside.evaluate("document.querySelectorAll('article img').forEach(e => { e.loading = 'eager'; })")
    until(inside, "[...document.images].every(e => e.complete && e.naturalWidth)")
    assert inside.locator("article img").count() == 3
    inside.goto(f"{compared.base}/compare/item?{ALL}&id=a")
    inside.locator("a.zoom").click()
    until(inside, "document.querySelector('dialog img')?.naturalWidth == 640")
    inside.keyboard.press("Escape")
    inside.get_by_role("dialog").wait_for(state="detached")


def test_hostile_texts_of_questions_answers_and_models_are_never_run(inside: Page, compared: Server) -> None:
    both = "side=1:base&side=1:aligned&benchmark=chair"
    inside.goto(f"{compared.base}/compare?{both}")
    assert_quiet(inside)
    inside.goto(f"{compared.base}/compare/items?{both}")
    assert SOFT["image"] in inside.locator("main").inner_text() and len(listed(inside)) == len(SOFT)
    links = [link.evaluate("e => e.href") for link in inside.locator("article h2 a").all()]
    for link in links:
        inside.goto(link)
        unfold(inside)
        inside.wait_for_timeout(30)
        assert_quiet(inside)
        assert_fits(inside)
        assert "5332114" not in inside.locator("main").inner_text()
        assert inside.locator(".stop .turn").first.inner_text() or inside.locator(".stop").count() == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_of_a_comparison_is_accessible_and_fits(
    contexts: Callable[..., BrowserContext], compared: Server, scheme: str
) -> None:
    page = contexts(color_scheme=scheme).new_page()
    enter(page, compared)
    for path in (f"/compare?{ALL}", f"/compare/items?{ALL}", f"/compare/item?{ALL}&id=a&at=1"):
        page.goto(compared.base + path)
        unfold(page)
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 800})
            assert_fits(page)
            assert_accessible(page)
            screens(page, f"{path.partition('?')[0].replace('/', '-')}-{scheme}-{width}")

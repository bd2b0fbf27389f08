"""Texts that would run if a page let them: in every field that a page shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from seelevel.formats.parquet import write_shard
from seelevel.ladder import Feedback, Image, Ladder, Message, Response
from seelevel.notes import Checked, CheckNote, Coverage, Match
from tests.view.browser.driving import Faults, Server, assert_fits, assert_quiet, counted, enter, unfold
from tests.view.browser.made import drawn

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
RUN = "window.__ran=1"
TEXTS = {
    "script": f"<script>{RUN}</script>",
    "image": f"<img src=x onerror={RUN}>",
    "double": f'" autofocus onfocus="{RUN}" x="',
    "single": f"' autofocus onfocus='{RUN}' x='",
    "closing": f"</title></textarea></style></select></script><svg onload={RUN}>",
    "link": f"javascript:{RUN}",
    "template": "{{ 1234*4321 }}${1234*4321}<%= 1234*4321 %>",
    "turned": "\u202e\u0000\x1b[31m" + "long" * 200,
}
SOFT = {name: text.replace("\u0000", "") for name, text in TEXTS.items()}


def hostile(root: Path, text: str) -> list[Ladder]:
    chunk = Match(text[:4], text, 0.9, True, 0, 4)
    coverage = Coverage(0.5, 0.5, 0.5, 0.5, 0.5, 0.5, (chunk,), (chunk,), (chunk,))
    picture = drawn(root / "images" / f"{text[:60].replace('/', '_')}.png", 50, (64, 48))
    prompt: list[Message] = [{"role": "user", "content": f"<image>\n{text}"}]
    answers = [
        Response(
            [{"role": "assistant", "content": f"{text} {level}"}],
            level,
            {"kind": text, "model": f"{text}{level}"} if level else {"kind": "standard"},
            scores={text: 0.5},
            feedback=Feedback({}, text, text, text),
            check=Checked(level, coverage),
            reasoning=text,
        )
        for level in range(3)
    ]
    note = CheckNote("autocheck", (0, 1, 2), unchecked=text)
    return [Ladder(text, [Image(picture.path)], prompt, answers, {text: text}, {"flags": [text]}, check=note)]


@pytest.fixture(scope="module")
def served(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, list[Path]]]:
    """A server with a run per text, named by it, and a file of another form."""
    root = tmp_path_factory.mktemp("hostile")
    runs = []
    for text in SOFT.values():
        runs.append(root / text[:60].replace("/", "_"))
        write_shard(runs[-1] / "check" / "shard-00000.parquet", hostile(runs[-1], text), runs[-1])
        (runs[-1] / "recipe.yaml").write_text("check: {}\n")
    records = [{"id": t, "prompt": t, "chosen": t, "rejected": f"{t}.", "source": t} for t in SOFT.values()]
    file = root / f"{SOFT['image'].replace('/', '_')}.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    server = Server(*runs, file, who=SOFT["image"])
    yield server, runs
    server.stop()


def look(page: Page, address: str) -> None:
    page.goto(address)
    unfold(page)
    page.wait_for_timeout(30)  # an error handler of a picture runs later
    assert_quiet(page)
    assert_fits(page)
    assert "5332114" not in page.locator("main").inner_text()


@pytest.mark.parametrize("name", list(SOFT))
def test_a_text_in_every_field_is_shown_and_never_run(page: Page, served: tuple[Server, list[Path]], name: str) -> None:
    server, text, number = served[0], SOFT[name], list(SOFT).index(name)
    enter(page, server)
    look(page, f"{server.base}/")
    look(page, f"{server.base}/{number}")
    if name != "turned":  # control characters are escaped, so its texts are others
        assert text in page.locator(".gallery").inner_text()
    for filters in ({"words": text}, {"flag": text}, {"origin": f"{text}1"}):
        look(page, f"{server.base}/{number}?" + "&".join(f"{key}={quote(value)}" for key, value in filters.items()))
        assert counted(page) == (1, 1), filters
    page.locator(".gallery a").click()
    look(page, page.url)
    if name != "turned":
        assert text in page.locator("h1").inner_text() and text in page.locator("#answer-2 h2").inner_text()
        assert text in page.locator(".asked .ask").inner_text() and text in page.locator("dd").inner_text()
    page.keyboard.press("d")
    page.keyboard.press("1")
    assert_quiet(page)


@pytest.mark.parametrize("name", ["script", "double", "closing"])
def test_a_text_that_somebody_writes_is_kept_and_never_run(
    page: Page, served: tuple[Server, list[Path]], faults: Faults, name: str
) -> None:
    server, text, number = served[0], SOFT[name], list(SOFT).index(name)
    enter(page, server)
    page.goto(f"{server.base}/{number}/ladder?id={quote(text)}")
    stale = page.context.new_page()
    stale.goto(page.url)
    for field in ("critique", "text"):
        unfold(page)
        page.locator(f"#answer-1 textarea[name={field}]").fill(f"mine: {text}")
        with page.expect_navigation():
            page.locator(f"#answer-1 button[value={field}]").click()
        look(page, page.url)
    assert page.locator("#answer-1 .reasons").inner_text() == f"mine: {text}"
    lines = (served[1][number] / "overrides.jsonl").read_text("utf-8").splitlines()
    entry: dict[str, Any] = json.loads(lines[0])
    assert (entry["critique"], entry["text"], entry["who"]) == (f"mine: {text}", f"mine: {text}", SOFT["image"])
    unfold(stale)
    stale.locator("#answer-1 textarea[name=critique]").fill(f"late: {text}")
    with stale.expect_navigation():
        stale.locator("#answer-1 button[value=critique]").click()
    faults.forgive("409")
    assert_quiet(stale)
    assert stale.get_by_label("What you wrote").input_value() == f"late: {text}"


def test_a_file_of_another_form_is_shown_and_never_run(page: Page, served: tuple[Server, list[Path]]) -> None:
    server, number = served[0], len(SOFT)
    enter(page, server)
    look(page, f"{server.base}/{number}")
    assert counted(page)[1] > 0 and SOFT["image"] in page.locator("h1").inner_text()
    page.locator(".gallery a").nth(1).click()
    look(page, page.url)


@pytest.mark.parametrize("name", ["script", "double", "closing"])
def test_a_text_in_the_address_is_never_run(
    page: Page, served: tuple[Server, list[Path]], faults: Faults, name: str
) -> None:
    server, text = served[0], quote(SOFT[name])
    enter(page, server)
    look(page, f"{server.base}/0?words={text}&origin={text}&flag={text}&order={text}&page={text}&ties={text}")
    for path in (f"/0/ladder?id=x{text}&words={text}", f"/{text}", f"/0/{text}", f"/0/picture/{text}/0/0/320"):
        page.goto(server.base + path)
        faults.forgive("404")
        assert_quiet(page)

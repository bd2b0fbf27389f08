"""A real server, and what a real browser must not complain about. It imports no browser: that is the fixtures' part."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Locator, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ROOT = Path(__file__).parents[3]
COMMAND = str(Path(sys.executable).with_name("seelevel"))
SCREENS = "SEELEVEL_SCREENS"
"""The variable that names a folder for screenshots."""
PATIENCE = 10_000
"""Milliseconds that a page may take."""


def find_browser() -> str | None:
    """The Chromium of `SEELEVEL_CHROMIUM`, or the first that the path has."""
    named = os.environ.get("SEELEVEL_CHROMIUM")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, BROWSERS)), None)


class Server:
    """`seelevel view` at work, until `stop`. `address`: what it printed; `base`: without path and token."""

    def __init__(self, *sources: Path, who: str = "Ada", port: int = 0, options: Sequence[str] = ()) -> None:
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `stop`; a pipe that nobody reads could fill
        command = [COMMAND, "view", *map(str, sources), "--no-browser", "--port", str(port), "--who", who, *options]
        # models of the tests' are imported by their names
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.errors, text=True, env={**os.environ, "PYTHONPATH": paths}
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address, self.complaints()
        self.base, self.token = self.address.split("/?token=")
        self.port = int(self.base.rpartition(":")[2])

    def complaints(self) -> str:
        """What it wrote to standard error."""
        self.errors.seek(0)
        return self.errors.read()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def stop(self) -> None:
        """End it. Fails if an error went uncaught in it."""
        self.process.terminate()
        self.process.communicate(timeout=20)
        complaints = self.complaints()
        self.errors.close()
        assert "Traceback" not in complaints, complaints


class Faults:
    """What pages complain about. `check` fails for all that a test did not forgive."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.forgiven: list[str] = []

    def watch(self, page: Page) -> None:
        page.on("console", lambda message: self._console(message.type, message.text))
        page.on("pageerror", lambda error: self.heard.append(f"error: {error}"))
        page.on("requestfailed", lambda request: self._failed(request.url, request.failure or ""))
        page.on("response", lambda answer: self._answered(answer.status, answer.url))
        page.on("dialog", self._asked)

    def forgive(self, part: str) -> None:
        """A test expects faults with these words: it fails without any."""
        self.forgiven.append(part)

    def check(self) -> None:
        missing = [part for part in self.forgiven if not any(part in fault for fault in self.heard)]
        assert missing == [], "no page complained about this"
        left = [fault for fault in self.heard if not any(part in fault for part in self.forgiven)]
        assert not left, "\n".join(left)

    def _console(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.heard.append(f"{kind}: {text}")

    def _failed(self, url: str, reason: str) -> None:
        if "ERR_ABORTED" not in reason:  # a page that was left before all its pictures came
            self.heard.append(f"failed: {url} {reason}")

    def _answered(self, status: int, url: str) -> None:
        if status >= 400:
            self.heard.append(f"status {status}: {url}")

    def _asked(self, dialog: Dialog) -> None:
        self.heard.append(f"dialog: {dialog.message}")
        dialog.dismiss()


def assert_accessible(page: Page) -> None:
    """axe has nothing serious or critical to say about the page as it is now."""
    from axe_playwright_python.sync_playwright import Axe

    results = Axe().run(page).response["violations"]
    bad = [(v["id"], [n["target"] for n in v["nodes"]]) for v in results if v["impact"] in ("serious", "critical")]
    assert bad == [], f"{page.url}: {bad}"


def assert_fits(page: Page) -> None:
    """The page does not scroll sideways, once it is drawn in its new size, and no text is cut at its right edge."""
    for _ in range(20):
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide <= 0:
            break
        page.wait_for_timeout(100)
    assert wide <= 0, f"{page.url} is {wide} pixels too wide"


def assert_quiet(page: Page) -> None:
    """No text of a model, an id or a name has run or made an element."""
    assert page.evaluate("window.__ran") is None, page.url
    strange = page.evaluate(
        "[...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => a.name.startsWith('on')))"
        ".map(e => e.outerHTML)"
    )
    assert strange == [], page.url
    assert page.evaluate("[...document.scripts].filter(s => !s.src).length") == 0, page.url


def screens(page: Page, name: str) -> None:
    """Keep a screenshot of the whole page, if `SEELEVEL_SCREENS` names a folder."""
    if folder := os.environ.get(SCREENS):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def enter(page: Page, server: Server) -> None:
    """Open the printed address, and wait until all files are read."""
    page.goto(server.address)
    while page.get_by_text("still being read").count():
        page.reload()


def counted(page: Page) -> tuple[int, int]:
    """The gallery's (shown, all) ladders."""
    match = re.match(r"([\d,]+) of ([\d,]+) ladders", page.locator(".count").inner_text())
    assert match is not None
    shown, total = (int(number.replace(",", "")) for number in match.groups())
    return shown, total


def names(page: Page) -> list[str]:
    """The ids of the ladders in the gallery."""
    return [text.split(" · ")[0] for text in page.locator(".gallery .soft.small").all_inner_texts()]


def answers(page: Page) -> list[tuple[str, str]]:
    """(level, origin) of each answer on a ladder's page, in the order of the page."""
    rows: list[Any] = page.locator(".columns > li h2").all()
    return [(row.locator(".level").inner_text(), row.inner_text().split("\n")[-1].strip()) for row in rows]


def pick(page: Page, label: str, choice: str) -> None:
    """Choose from the list that has this label, and wait for the page after it."""
    with page.expect_navigation():
        choices(page, label).select_option(label=choice)


def unfold(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true; })")


def choices(page: Page, label: str) -> Locator:
    """The list to choose from that has this label."""
    return page.get_by_role("combobox", name=label, exact=True)


def until(page: Page, holds: str) -> None:
    """Wait until an expression of JavaScript holds. (Playwright's own waiting breaks the pages' policy.)"""
    end = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(holds):
        assert time.monotonic() < end, f"{page.url}: {holds} did not come true"
        page.wait_for_timeout(20)

"""One browser per session, one context per test, and servers on made runs. Without a browser, the tests skip."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.view.browser.driving import PATIENCE, Faults, Server, find_browser
from tests.view.browser.made import made_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'seelevel[dev]'")
    if (program := find_browser()) is None:
        pytest.skip("no Chromium: install one, or name one in SEELEVEL_CHROMIUM")
    arguments = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def faults() -> Iterator[Faults]:
    """What the pages of this test complain about: it fails at its end if that is anything that it did not forgive."""
    faults = Faults()
    yield faults
    faults.check()


@pytest.fixture
def contexts(browser: Browser, faults: Faults) -> Iterator[Callable[..., BrowserContext]]:
    """Makes browser contexts, each with its own cookies; options as `Browser.new_context` takes them."""
    made: list[BrowserContext] = []

    def new(**options: Any) -> BrowserContext:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(PATIENCE)
        context.on("page", faults.watch)
        made.append(context)
        return context

    yield new
    for context in made:
        context.close()


@pytest.fixture(scope="session")
def _context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


@pytest.fixture
def page(_context: BrowserContext, faults: Faults) -> Iterator[Page]:
    """A page without cookies. The test fails if the console or the requests of it, or of others in its context, report
    an error."""
    _context.on("page", faults.watch)
    yield _context.new_page()
    for page in _context.pages:
        page.close()
    _context.remove_listener("page", faults.watch)
    _context.clear_cookies()


@pytest.fixture(scope="session")
def shown(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the made run, for tests that change nothing."""
    server = Server(made_run(tmp_path_factory.mktemp("shown") / "run"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _changing(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    run = made_run(tmp_path_factory.mktemp("changing") / "run")
    server = Server(run)
    yield server, run
    server.stop()


@pytest.fixture
def changing(_changing: tuple[Server, Path]) -> Iterator[tuple[Server, Path]]:
    """A server, and its run without any change by hand."""
    yield _changing
    for path in _changing[1].glob("overrides*"):
        path.unlink()


@pytest.fixture
def serve(browser: Browser) -> Iterator[Callable[..., Server]]:
    """Starts servers that end with the test; arguments as `Server` takes them."""
    servers: list[Server] = []

    def start(*sources: Path, **options: Any) -> Server:
        servers.append(Server(*sources, **options))
        return servers[-1]

    yield start
    for context in browser.contexts:
        for page in context.pages:
            page.close()  # or it would ask an ended server for its pictures
    for server in servers:
        if server.process.poll() is None:
            server.stop()

"""Models that say what a test wants, and the pages to talk with them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from seelevel.json_text import loads
from seelevel.models.base import Completion, ModelRef, Prompt, Sampling
from seelevel.models.base import Generator as Model
from seelevel.view.collection import Collection
from seelevel.view.door import Door
from seelevel.view.server import application
from seelevel.view.sessions import Sessions
from seelevel.view.talking import SCRIPTED
from seelevel.view.voices import Voices
from tests.judge.made import Critic, counted
from tests.view.shown import PORT, TOKEN

ORIGIN = {"origin": f"http://127.0.0.1:{PORT}"}
SCRIPT = {**ORIGIN, "accept": SCRIPTED}


class Streamer:
    """Gives its words piece by piece; waits before the second one until `go` is set."""

    name = "streamer"

    def __init__(self, *words: str) -> None:
        self.words, self.go, self.begun, self.ended = words, threading.Event(), threading.Event(), 0
        self.go.set()

    def describe(self) -> str:
        return self.name

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        raise AssertionError("a chat streams")

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str, None, bool]:
        self.begun.set()
        try:
            for number, word in enumerate(self.words):
                while number and not self.go.wait(0.01):
                    yield ""
                yield word
        finally:
            self.ended += 1
        return True


def sessions(
    folder: Path,
    models: Mapping[str, Model] | None = None,
    runs: Sequence[tuple[str, Path]] = (),
    judge: str | None = "world:l",
    save: Path | None = None,
) -> Sessions:
    """Conversations with models that stand for shipped ones: world:s and so on. The judge counts words."""
    made: dict[str, Model] = {"world:l": Critic(counted), **(models or {})}
    loaded: list[str] = []

    def load(ref: ModelRef) -> Model:
        loaded.append(ref.name)
        return made[ref.name]

    voices = Voices([name for name in models or {} if name != judge], runs, judge, load)
    every = Sessions(voices, folder / "talk", save)
    every.loaded = loaded  # type: ignore[attr-defined]
    return every


def client(talks: Sessions, *collections: Collection) -> TestClient:
    browser = TestClient(Door(application(collections, talks), TOKEN, PORT), base_url=f"http://127.0.0.1:{PORT}")
    browser.get("/talk", params={"token": TOKEN})
    return browser


class Page:
    """A conversation's page in a browser with scripts."""

    def __init__(self, browser: TestClient, query: str = "") -> None:
        self.browser = browser
        self.address = browser.get(f"/talk{query}").url.path

    def html(self) -> str:
        return str(self.browser.get(self.address).text)

    def post(self, path: str, **sent: Any) -> Any:
        return self.browser.post(f"{self.address}/{path}", headers=SCRIPT, **sent)

    def say(self, words: str, *models: str, **fields: str) -> list[dict[str, Any]]:
        """What happens, as it happens."""
        response = self.post("say", data={"words": words, "model": list(models or ("m0",)), **fields})
        assert response.status_code == 200, response.text
        return [loads(line) for line in response.text.splitlines()]

    def column(self, words: str, model: str = "m0", **fields: str) -> dict[str, Any]:
        """The model's column after these words."""
        [*_, last] = (e["column"] for e in self.say(words, model, **fields) if "column" in e and e["model"] == model)
        return dict(last)


def until(true: Callable[[], Any], seconds: float = 10) -> None:
    deadline = threading.Event()
    for _ in range(int(seconds * 100)):
        if true():
            return
        deadline.wait(0.01)
    raise AssertionError("it did not happen")


def records(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_text().splitlines():
        yield loads(line)

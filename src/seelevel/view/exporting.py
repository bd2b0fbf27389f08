"""`seelevel view --export`: the pages as files that open without a server.

The application is asked for its pages in this process, from the first one along their links. A part of the view needs
to do nothing for it, unless its pages make no sense without a server (`site.Part`).
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from starlette.types import ASGIApp

from seelevel import __version__
from seelevel.errors import InputError
from seelevel.json_text import dumps
from seelevel.progress import Progress, say
from seelevel.store import EXPORT_MARK, read_mapping, write_folder
from seelevel.view.collection import Collection
from seelevel.view.server import application
from seelevel.view.serving import Opened
from seelevel.view.still import Page, canonical, file_name, without_paths

MOST_FILES = 50_000
BYTES_PER_LADDER = 200_000
"""About what a ladder's page and pictures take, for a look at the disk beforehand."""
PATIENCE = 3600.0
"""Seconds that an export waits for the index of a collection."""
FIRST = "/"


@dataclass(frozen=True)
class Answer:
    """What the application answers. `place`: where it redirects to."""

    status: int
    kind: str
    body: bytes
    place: str


@dataclass
class Crawl:
    """The files so far. files: by address; pages: those that are not written yet; moved: addresses that lead to
    others."""

    folder: Path
    files: dict[str, str] = field(default_factory=dict)
    pages: dict[str, Page] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    pictures: int = 0
    missing: int = 0

    def file(self, address: str) -> str | None:
        return self.files.get(self.moved.get(address, address))

    def seen_from(self, page: str, address: str) -> str | None:
        """Where the file of an address lies, as a link in the file of a page; None if there is none."""
        file = self.file(address)
        return None if file is None else quote(os.path.relpath(file, Path(page).parent))


def export(sources: Sequence[Path], images: Path | None, target: Path, first: int) -> None:
    """Write the pages of all sources to `target`, whole or not at all: of each at most the `first` ladders.

    Raises `InputError` for a source without ladders, and for a folder that holds something else than an export.
    """
    target = target.absolute()
    _require_ours(target)
    with tempfile.TemporaryDirectory(prefix="seelevel-view-") as kept:
        collections = Opened(sources, images, Path(kept), "").collections
        for collection in collections:
            collection.refresh(PATIENCE)
            collection.first = first
            count = min(first, len(collection))
            limited = f", the first by --first {first}" if count < len(collection) else ""
            say(f"export: {collection.name}: {count:,} of {len(collection):,} ladders, a page each{limited}")
        ladders = sum(min(first, len(collection)) for collection in collections)
        write_folder(target, lambda place: _fill(place, target, collections), ladders * BYTES_PER_LADDER)


def _require_ours(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise InputError(f"{target} is not a folder; name a new one in --export")
    if target.is_dir() and any(target.iterdir()) and read_mapping(target / EXPORT_MARK) is None:
        raise InputError(f"{target} holds files that are no export of ours; name an empty or a new folder in --export")


def _fill(place: Path, target: Path, collections: Sequence[Collection]) -> None:
    crawl = Crawl(place)
    asyncio.run(_crawl(application(collections, still=True), crawl))
    start = crawl.moved.get(FIRST, FIRST)
    if start not in crawl.pages:
        raise InputError(f"{collections[0].name} cannot be exported: its first page is broken; look at it in the view")
    crawl.files[start] = "index.html"
    say(f"export: {len(crawl.pages):,} pages and {crawl.pictures:,} pictures")
    for address, page in crawl.pages.items():
        name = crawl.files[address]
        _write(place / name, page.written(partial(crawl.seen_from, name)).encode())
    mark = {"version": __version__, "pages": len(crawl.pages), "pictures": crawl.pictures}
    ladders = next((c for c in collections if c.run is not None and c.run.resolve() == target.parent.resolve()), None)
    if ladders is not None:  # the run's report can link to them
        number = list(collections).index(ladders)
        pages = ((name, crawl.file(canonical(f"/{number}/ladder?id={quote(name)}"))) for name in ladders.place_of)
        mark["ladders"] = {name: file for name, file in pages if file is not None}
    _write(place / EXPORT_MARK, (dumps(mark, indent=1, sort_keys=True) + "\n").encode())
    if crawl.missing:
        say(f"export: {crawl.missing:,} pages and pictures cannot be shown, also in the view; nothing links to them")


async def _crawl(app: ASGIApp, crawl: Crawl) -> None:
    """Follow every link from the first page."""
    todo, seen = [FIRST], {FIRST}
    with Progress("export", total=None, unit="files") as bar:
        while todo:
            address = todo.pop()
            answer = await _ask(app, address)
            if answer.place:
                crawl.moved[address] = canonical(answer.place)
                new = [crawl.moved[address]]
            elif answer.status != 200:
                crawl.missing += 1
                new = []
            else:
                new = _keep(crawl, address, answer)
            for link in new:
                if link not in seen:
                    seen.add(link)
                    todo.append(link)
            if len(seen) > MOST_FILES:
                raise InputError(f"the export would have over {MOST_FILES:,} files; lower --first, or name fewer runs")
            bar.advance()


def _keep(crawl: Crawl, address: str, answer: Answer) -> list[str]:
    """Note a page, or write another file now; returns the addresses that it links to."""
    name = crawl.files[address] = file_name(address, answer.kind)
    if answer.kind == "text/html":
        page = crawl.pages[address] = Page(address, answer.body.decode())
        return page.links
    if answer.kind == "text/plain":
        _write(crawl.folder / name, without_paths(answer.body.decode()).encode())
    else:
        crawl.pictures += answer.kind.startswith("image/")
        _write(crawl.folder / name, answer.body)
    return []


def _write(path: Path, raw: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(raw)


async def _ask(app: ASGIApp, address: str) -> Answer:
    """The application's answer to a GET request."""
    path, _, query = address.partition("?")
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1")],
        "server": ("127.0.0.1", 80),
        "client": None,
    }
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in sent[0].get("headers", [])}
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(
        sent[0]["status"], headers.get("content-type", "").partition(";")[0], body, headers.get("location", "")
    )

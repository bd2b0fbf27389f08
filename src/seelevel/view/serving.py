"""Start the server of `seelevel view`."""

from __future__ import annotations

import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.concurrency import run_in_threadpool

from seelevel.errors import InputError
from seelevel.progress import show
from seelevel.view.collection import Collection, open_collection, runs_in
from seelevel.view.door import Door, new_token
from seelevel.view.server import application
from seelevel.view.sessions import Sessions
from seelevel.view.voices import Voices

HOST = "127.0.0.1"
FIRST = 8
"""Collections that are indexed before somebody opens them."""


@dataclass(frozen=True)
class TalkOptions:
    """models: those to talk with, besides those of the runs; judge: of their answers; save: a new file for what is
    said, None for one in the cache."""

    models: Sequence[str] = ()
    judge: str | None = None
    save: Path | None = None


def serve(sources: Sequence[Path], images: Path | None, port: int, browser: bool, who: str, talk: TalkOptions) -> None:
    """Show the ladders of all sources until Ctrl-C. Raises `InputError` for a source without ladders, a name that means
    no model, or a port that is taken. `who`: the author of changes."""
    with tempfile.TemporaryDirectory(prefix="seelevel-view-") as kept:
        collections = opened(sources, images, Path(kept), who)
        runs = [(collection.name, collection.run) for collection in collections if collection.run is not None]
        voices = Voices(talk.models, runs, talk.judge)
        sessions = Sessions(voices, Path(kept) / "talk", talk.save) if voices else None
        listener = _listener(port)
        token, taken = new_token(), listener.getsockname()[1]
        address = f"http://{HOST}:{taken}/?token={token}"
        show(address)
        for collection in collections[:FIRST]:
            collection.refresh(patience=0)
        if browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        app = Door(application(collections, sessions), token, taken)
        settings = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=1,  # for answers that are still coming
        )
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the temporary folder goes, too
        _Server(settings, sessions).run(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that ends answers when it is to end: it waits for them, and what came of them is kept."""

    def __init__(self, settings: uvicorn.Config, sessions: Sessions | None) -> None:
        super().__init__(settings)
        self.sessions = sessions

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.sessions is not None:
            await run_in_threadpool(self.sessions.close)
        await super().shutdown(sockets)


def opened(sources: Sequence[Path], images: Path | None, kept: Path, who: str) -> list[Collection]:
    """The collections of all sources, each under a name of its own. Raises `InputError` for one without ladders."""
    paths = [path for source in sources for path in runs_in(source)]
    collections = [open_collection(path, kept / str(n), who, images) for n, path in enumerate(paths)]
    for collection, path in zip(collections, paths, strict=True):
        if [other.name for other in collections].count(collection.name) > 1:
            collection.name = str(path)
    return collections


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()  # who opens the address at once waits for the server
    except OSError as error:
        raise InputError(f"port {port} cannot be used ({error.strerror}); name another one in --port") from error
    return listener

"""Start the server of `seelevel view`."""

from __future__ import annotations

import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
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
        opened = Opened(sources, images, Path(kept), who)
        voices = Voices(talk.models, opened.runs, talk.judge)
        sessions = Sessions(voices, Path(kept) / "talk", talk.save) if voices else None
        listener = _listener(port)
        token, taken = new_token(), listener.getsockname()[1]
        address = f"http://{HOST}:{taken}/?token={token}"
        show(address)
        for collection in opened.collections[:FIRST]:
            collection.refresh(patience=0)
        if browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        app = Door(application(opened.collections, sessions, add_new_runs=opened.add_new_runs), token, taken)
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


class Opened:
    """The collections of all sources, each under a name of its own, and the runs among them by these names. who: the
    author of changes. Raises `InputError` for a source without ladders."""

    def __init__(self, sources: Sequence[Path], images: Path | None, kept: Path, who: str) -> None:
        self.sources, self.images, self.kept, self.who = sources, images, kept, who
        self.collections, self.runs = list[Collection](), list[tuple[str, Path]]()
        self._paths, self._alone = set[Path](), threading.Lock()
        self._add([path for source in sources for path in runs_in(source)])

    def add_new_runs(self) -> None:
        """Add the runs that have appeared in folders of runs, but those that cannot be opened."""
        with self._alone:
            for source in self.sources:
                paths = list[Path]()
                with suppress(InputError, OSError):  # it is gone, or holds too many by now; what is open stays open
                    paths = [path for path in runs_in(source) if path not in self._paths]
                for path in paths:
                    with suppress(InputError, OSError):  # the next look tries it again
                        self._add([path])

    def _add(self, paths: Sequence[Path]) -> None:
        before = len(self.collections)
        new = [
            open_collection(path, self.kept / str(before + n), self.who, self.images) for n, path in enumerate(paths)
        ]
        names = [collection.name for collection in (*self.collections, *new)]
        for collection, path in zip(new, paths, strict=True):
            if names.count(collection.name) > 1:
                collection.name = str(path)
        self._paths.update(paths)
        self.runs += [(collection.name, collection.run) for collection in new if collection.run is not None]
        self.collections += new


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()  # who opens the address at once waits for the server
    except OSError as error:
        raise InputError(f"port {port} cannot be used ({error.strerror}); name another one in --port") from error
    return listener

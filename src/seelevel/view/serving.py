"""Start the server of `seelevel view`."""

from __future__ import annotations

import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from seelevel.errors import InputError
from seelevel.progress import show
from seelevel.view.collection import open_collection
from seelevel.view.door import Door, new_token
from seelevel.view.server import application

HOST = "127.0.0.1"


def serve(sources: Sequence[Path], images: Path | None, port: int, browser: bool, who: str) -> None:
    """Show the ladders of all sources until Ctrl-C. Raises `InputError` for a source without ladders, or a port that
    is taken. `who`: the author of changes."""
    with tempfile.TemporaryDirectory(prefix="seelevel-view-") as kept:
        collections = [open_collection(path, Path(kept) / str(n), who, images) for n, path in enumerate(sources)]
        for collection, path in zip(collections, sources, strict=True):
            if [other.name for other in collections].count(collection.name) > 1:
                collection.name = str(path)
        listener = _listener(port)
        token, taken = new_token(), listener.getsockname()[1]
        address = f"http://{HOST}:{taken}/?token={token}"
        show(address)
        for collection in collections:
            collection.refresh(patience=0)
        if browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        app = Door(application(collections), token, taken)
        settings = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, lifespan="off")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the temporary folder goes, too
        uvicorn.Server(settings).run(sockets=[listener])


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()  # who opens the address at once waits for the server
    except OSError as error:
        raise InputError(f"port {port} cannot be used ({error.strerror}); name another one in --port") from error
    return listener

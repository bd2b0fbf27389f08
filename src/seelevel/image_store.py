"""Folders of pictures that are kept once, by content."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Semaphore

from seelevel.images import ImageError, check_bytes, check_image, read_file, suffix_of
from seelevel.ladder import Image
from seelevel.store import TEMPORARY, cache_folder, write_atomically

THREADS = 4
WAITING = 64
"""Pictures of a store that may wait in memory to be decoded and written."""


class ImageStore:
    """`root/images`: pictures kept once, by content, each whole or not at all. They are not synced one by one.

    shared: other processes write into the folder too, so what they have not finished is left alone.
    """

    def __init__(self, root: Path, shared: bool = False) -> None:
        self.folder = Path(root).resolve() / "images"
        self._begun: dict[str, Future[str] | None] = {}
        self._room = Semaphore(WAITING)
        self._threads = ThreadPoolExecutor(THREADS)
        if self.folder.is_dir() and not shared:
            for leftover in self.folder.glob(TEMPORARY + "*"):
                leftover.unlink()

    def put(self, path: Path | str) -> Image:
        """Keep a picture that decodes to its end. Raises `ImageError` with the reason if it does not."""
        if str(path) in self._begun:
            return Image(str(path), self.checked(path))
        return self.put_bytes(read_file(path))

    def put_bytes(self, raw: bytes) -> Image:
        """`put` for a picture that is in memory, encoded as its file would be."""
        facts = check_bytes(raw)
        target = self.folder / f"{facts.sha256}.{facts.suffix}"
        if not target.exists() or target.stat().st_size != len(raw):  # a loss of power leaves a file too short
            write_atomically(target, raw, synced=False)
        return Image(str(target), facts.sha256)

    def begin(self, raw: bytes) -> Image:
        """`put_bytes` in the background. The picture's path is known at once; `put` and `checked` of it wait.

        Only a few pictures wait in memory. Raises `ImageError` for what cannot be a picture.
        """
        sha256 = hashlib.sha256(raw).hexdigest()
        path = str(self.folder / f"{sha256}.{suffix_of(raw)}")
        if path not in self._begun:
            self._room.acquire()
            self._begun[path] = self._threads.submit(self._finish, raw)
        return Image(path, sha256)

    def _finish(self, raw: bytes) -> str:
        """Why the picture cannot be used, or nothing."""
        try:
            self.put_bytes(raw)
        except ImageError as error:
            return str(error)  # the error itself would hold on to the bytes
        finally:
            self._room.release()
        return ""

    def checked(self, path: Path | str) -> str:
        """The SHA-256 of a picture that decodes to its end, kept here or not. Raises `ImageError` with the reason."""
        if str(path) not in self._begun:
            return check_image(path).sha256
        future = self._begun[str(path)]
        if future is not None:
            if reason := future.result():
                raise ImageError(reason)
            self._begun[str(path)] = None  # many futures are much memory
        return Path(path).stem

    def close(self) -> None:
        """Wait for what was begun; nothing more can be begun."""
        self._threads.shutdown()


def named_by_content(raw: bytes) -> Image:
    """A name for a picture that is only counted: nothing is kept."""
    return Image(hashlib.sha256(raw).hexdigest())


def cached_pictures() -> ImageStore:
    """Where pictures inside other files are kept if nobody says where: in the user's cache."""
    return ImageStore(cache_folder() / "data", shared=True)

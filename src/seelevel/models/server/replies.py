"""Replies of servers, kept on disk by the content of their requests, so that none is asked for twice."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from seelevel.errors import InputError
from seelevel.fingerprints import file_sha256
from seelevel.models.base import ApiSettings, Completion, Prompt, Sampling
from seelevel.models.server.wire import parameters
from seelevel.store import cache_folder, write_atomically

FORM = 1
"""Of the requests: a change in how they are written makes other keys."""


def request_key(server: str, model: str, prompt: Prompt, sampling: Sampling) -> str:
    """What a reply is known by. Raises `InputError` where a picture cannot be read."""
    request = {
        "form": FORM,
        "server": server,
        "model": model,
        "messages": prompt.messages,
        "images": [_picture_hash(path) for path in prompt.images],
        "sampling": parameters(sampling),
    }
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


class Replies:
    """The replies in `folder`, a file each; None keeps nothing."""

    def __init__(self, settings: ApiSettings) -> None:
        self.folder = _folder(settings)

    def prepare(self) -> None:
        """Make the folder. Raises `InputError` where it cannot be made."""
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"replies cannot be kept in {self.folder} ({error.strerror}); set SEELEVEL_CACHE or api.cache"
            ) from error

    def kept(self, key: str) -> Completion | None:
        """A reply that is there already; one that is not whole is asked for again."""
        if self.folder is None:
            return None
        try:
            return Completion(**json.loads(self._file(self.folder, key).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def keep(self, key: str, completion: Completion) -> None:
        """Write a reply down, where any are kept."""
        if self.folder is not None:
            write_atomically(self._file(self.folder, key), json.dumps(vars(completion), ensure_ascii=False))

    @staticmethod
    def _file(folder: Path, key: str) -> Path:
        return folder / key[:2] / f"{key}.json"


def _folder(settings: ApiSettings) -> Path | None:
    if isinstance(settings.cache, str):
        return Path(settings.cache).expanduser()
    return cache_folder() / "api" if settings.cache else None


def _picture_hash(path: str) -> str:
    try:
        return file_sha256(Path(path))
    except OSError as error:
        raise InputError(f"picture {path}: {error.strerror}; put it there and run the same command again") from error

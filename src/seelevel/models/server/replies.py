"""Replies of servers on disk, by the content of their requests, so that no request is sent twice."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from seelevel.errors import InputError
from seelevel.fingerprints import file_sha256
from seelevel.models.base import ApiSettings, Completion, Prompt, Sampling
from seelevel.models.server.wire import parameters
from seelevel.models.thinking import set_apart
from seelevel.opening import read_bytes
from seelevel.store import cache_folder, expand_path, write_atomically

FORM = 1
"""The version of the request format. A change of the format changes all keys."""


def request_key(server: str, model: str, prompt: Prompt, sampling: Sampling) -> str:
    """The key of a reply. Raises `InputError` if a picture cannot be read."""
    request = {
        "form": FORM,
        "server": server,
        "model": model,
        "messages": prompt.messages,
        "images": [_picture_hash(path) for path in prompt.images],
        "sampling": parameters(sampling, prompt.sample),
    }
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


class Replies:
    """The replies in `folder`, one file each; with None, nothing is stored."""

    def __init__(self, settings: ApiSettings) -> None:
        self.folder = _folder(settings)

    def prepare(self) -> None:
        """Create the folder. Raises `InputError` if that fails."""
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"replies cannot be kept in {self.folder} ({error.strerror}); set SEELEVEL_CACHE or api.cache"
            ) from error

    def stored(self, key: str) -> Completion | None:
        """The stored reply; None if there is none or its file is damaged."""
        if self.folder is None:
            return None
        try:
            return set_apart(Completion(**json.loads(read_bytes(self._file(self.folder, key)))))
        except (OSError, ValueError, TypeError):
            return None

    def store(self, key: str, completion: Completion) -> None:
        """Write a reply to disk, if replies are stored."""
        if self.folder is not None:
            write_atomically(self._file(self.folder, key), json.dumps(vars(completion), ensure_ascii=False))

    @staticmethod
    def _file(folder: Path, key: str) -> Path:
        return folder / key[:2] / f"{key}.json"


def _folder(settings: ApiSettings) -> Path | None:
    if isinstance(settings.cache, str):
        return Path(expand_path(settings.cache, "api.cache"))
    return cache_folder() / "api" if settings.cache else None


def _picture_hash(path: str) -> str:
    try:
        return file_sha256(Path(path))
    except OSError as error:
        raise InputError(f"picture {path}: {error.strerror}; restore it and run the same command again") from error

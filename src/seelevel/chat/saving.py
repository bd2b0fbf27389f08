"""Conversations, saved as LVLM_NLF records: in a new file, each time whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

from seelevel.errors import DiskFullError, InputError
from seelevel.formats.nlf import write
from seelevel.image_store import ImageStore
from seelevel.images import ImageError
from seelevel.ladder import Image, Interaction
from seelevel.store import cache_folder


class Saving:
    """Where conversations are saved. wanted: the file that the user names; name: of the file in the cache, if the user
    names none. `file`: the file that was made; None before the first `keep`."""

    def __init__(self, wanted: Path | None, name: str) -> None:
        self.wanted, self.name = wanted, name
        self.file: Path | None = None

    def keep(self, talks: Sequence[Interaction]) -> list[str]:
        """Save all conversations; in the cache if the user's file cannot be written. Returns lines for the user, the
        last one with the file; none if there is no conversation.

        The first time a new file is made, and an existing one is never overwritten; later this file is replaced. The
        picture is copied to `images` beside it, so that both can be moved.
        """
        if not talks:
            return []
        fallback = cache_folder() / "chats" / f"{self.name}.jsonl"
        lines = []
        for place in dict.fromkeys((self.file or self.wanted or fallback, fallback)):
            try:
                if place == self.file:
                    _write(talks, place)
                else:
                    with unused_path(place) as file:
                        _write(talks, file)
                    self.file = file
            except (OSError, DiskFullError) as error:
                lines.append(f"{place} cannot be written ({getattr(error, 'strerror', None) or error})")
                continue
            # The text is safe now, even if the program ends here.
            folder = self.file.parent
            copies = [replace(talk, images=[beside(image, folder) for image in talk.images]) for talk in talks]
            with suppress(OSError, DiskFullError):
                _write(copies, self.file)
            if any(talk.images and copy.images == talk.images for talk, copy in zip(talks, copies, strict=True)):
                lines.append(f"the picture cannot be copied to {folder / 'images'}; the file names it as it is")
            return [*lines, f"saved: {self.file}"]
        return lines


def _write(talks: Sequence[Interaction], file: Path) -> None:
    write([ladder for talk in talks for ladder in talk.rounds()], file)


def check_save_path(save: Path) -> None:
    """Raise `InputError` where a new file cannot be written."""
    if save.exists():
        raise InputError(f"--save {save} is there already; name a new file")
    try:
        save.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--save {save}: {error.strerror} ({error.filename}); name another place") from error
    if not os.access(save.parent, os.W_OK):
        raise InputError(f"--save {save}: {save.parent} cannot be written to; name another place")


def beside(picture: Image, folder: Path) -> Image:
    """The picture's copy in `images` of a folder; the picture itself if it cannot be copied."""
    try:
        return ImageStore(folder).put(picture.path)
    except (ImageError, OSError, DiskFullError):
        return picture


@contextmanager
def unused_path(file: Path) -> Iterator[Path]:
    """The first free name of `a.jsonl`, `a-2.jsonl`, `a-3.jsonl` …

    The file is created at once, so that no other chat takes the name, and deleted if writing fails.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        path = file if number == 1 else file.with_stem(f"{file.stem}-{number}")
        with suppress(FileExistsError):
            path.touch(exist_ok=False)
            break
    try:
        yield path
    except BaseException:
        path.unlink(missing_ok=True)
        raise

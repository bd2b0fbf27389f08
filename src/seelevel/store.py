"""Run folders: shards written whole or not at all, the manifest last, and fingerprints that say what may be kept.

A stage's folder holds `begun.json` (the fingerprint it was begun under), its files, and, when it is done,
`manifest.json`. A folder begun under another fingerprint is emptied, one begun under the same one is continued, and one
that no run has begun is not touched.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from seelevel.errors import DiskFullError, InputError, free_bytes, is_disk_full, require_space
from seelevel.json_text import dumps, loads
from seelevel.opening import NotAFile, open_descriptor, read_bytes, require_replaceable

STAGES = ("base", "generate", "check", "feedback", "align", "evaluate", "report")
"""The stages of a recipe, in their order. All but the report have a folder of that name in the run folder."""
ROUND_STAGES, ROUNDS = ("generate", "check", "feedback", "align"), "rounds"
"""The stages that every round has, and the folder of the earlier rounds' stages in the run folder."""
ROUND_MODEL = "run:round-"
"""In the recipe of a round (`Recipe.of_round`): the model that an earlier round has aligned, by its number."""
CONTROL = "control"
"""The folder of the training that `align` is compared with. It is not a stage of a recipe but a part of `align`."""
SNAPSHOTS, SNAPSHOT = "snapshots", "step-"
"""The folder of a training's snapshots, and what their names begin with, before the number of the step."""
BEGUN, MANIFEST, TEMPORARY = "begun.json", "manifest.json", ".partial-"
OVERRIDES = "overrides.jsonl"
"""A run's file of levels that people have set, which its check heeds if the recipe names no other."""
EXPORT, EXPORT_MARK = "view", "export.json"
"""The folder in a run folder whose pages of `seelevel view` the report links to, and the file that marks an export."""
SHARD_SIZE = 128
LOCK, LOCK_TRIES, LOCK_PAUSE = ".lock", 5, 0.02
"""The file that a run locks, how often it tries, and the seconds between."""
T = TypeVar("T")


def write_atomically(path: Path, data: bytes | str, synced: bool = True) -> None:
    """Write a file whole or not at all (`whole_file`)."""
    raw = data.encode() if isinstance(data, str) else data
    with whole_file(path, len(raw), synced) as file:
        file.write(raw)


@contextmanager
def whole_file(path: Path, size: int = 1, synced: bool = True) -> Iterator[BinaryIO]:
    """A file to write to, which appears at `path` at the end, whole, or not at all. Raises `DiskFullError`, and
    `NotAFile` if `path` is a device or the like.

    size: bytes that will be needed, as far as known. synced: wait for the disk, for the file and for its name. Without,
    a loss of power may leave a file that is too short, or the file of before.
    """
    # A unique name: two runs, or two threads of one run, may write the same file.
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{threading.get_ident():x}-{path.name}")
    require_replaceable(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:  # a new file: a link of that name is not followed
            yield file
            file.flush()
            if synced:
                os.fsync(file.fileno())
        temporary.replace(path)
        if synced:
            flush(path.parent)
    except BaseException as error:
        with suppress(OSError):  # a read-only disk: the first error is the one to report
            temporary.unlink(missing_ok=True)
        if isinstance(error, Exception) and is_disk_full(error) and not isinstance(error, DiskFullError):
            raise DiskFullError(path, max(size - free_bytes(path.parent), 1)) from error
        if isinstance(error, OSError) and error.filename == str(temporary):
            error.filename = str(path)  # the name that the user knows
        raise


def expand_path(text: str, key: str) -> str:
    """A path with `~`, `$NAME` and `${NAME}` replaced. A path that exists as it is written is kept.

    key: where the path stands, for the error. Raises `InputError` for a variable that is not set.
    """
    if not text.startswith("~") and "$" not in text:
        return text

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in os.environ:
            raise InputError(f"{key}: {text:.200}: the variable {name} is not set; set it, or write the path out")
        return os.environ[name]

    with suppress(OSError, ValueError):  # a name too long for the system, a null byte
        if Path(text).exists():
            return text
    whole = re.sub(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})", value, text)
    try:
        return str(Path(whole).expanduser()) if whole.startswith("~") else whole
    except (RuntimeError, ValueError) as error:  # no such user, halves of surrogate pairs
        raise InputError(f"{key}: {ascii(text)[1:-1]:.200}: {error}; write the path out") from error


def cache_folder() -> Path:
    """The folder of files that runs share: `$SEELEVEL_CACHE`, else `seelevel` in the user's cache folder.

    Each kind of file has its own folder below it. This function creates nothing.
    """
    own = os.environ.get("SEELEVEL_CACHE")
    if own:
        return Path(own).expanduser()
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    if not base.is_absolute():  # the XDG specification: a relative path is to be ignored
        base = Path("~/.cache").expanduser()
    return base / "seelevel"


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, dumps(value, indent=1, sort_keys=True) + "\n")


def write_lines(path: Path, records: Iterable[Any]) -> None:
    """Write JSON lines, one record each, as the records come."""
    with whole_file(path) as file:
        for record in records:
            file.write((dumps(record) + "\n").encode())


def snapshot_step(name: str) -> int | None:
    """The step of a snapshot's name, `step-<n>`; None for any other name."""
    match = re.fullmatch(rf"{SNAPSHOT}(\d+)", name, re.ASCII)
    return None if match is None else int(match[1])


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """One run at a time in a folder: two would write over each other. The kernel drops the lock of a killed run.

    The lock's file is never written to, and a link is not followed: it could lead to another file.

    Raises `InputError` where another run holds it, or the folder cannot be made.
    """
    import fcntl  # here, for ladders are read on systems that have none too

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.fdopen(open_descriptor(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW), "r+b", 0)
    except NotAFile as error:
        raise InputError(f"{folder / LOCK} is {error.kind}; delete it, or choose another --out") from error
    except OSError as error:
        if is_disk_full(error):
            raise
        raise InputError(f"{folder} cannot be a run folder ({error.strerror}); choose another --out") from error
    with lock as file:
        for tries_left in reversed(range(LOCK_TRIES)):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if not tries_left:
                    message = f"another run is at work in {folder}; wait for it or choose another --out"
                    raise InputError(message) from error
                time.sleep(LOCK_PAUSE)  # `at_work` holds the lock for a moment
        yield


def at_work(folder: Path) -> bool:
    """Whether a run is at work in a folder: its lock is taken. False where it cannot be looked at."""
    import fcntl

    try:
        descriptor = open_descriptor(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    except (OSError, InputError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)
    return False


class StageFolder:
    """One stage's folder in a run."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path, self.fingerprint = path, fingerprint

    @property
    def manifest(self) -> dict[str, Any] | None:
        """The manifest, when the stage is done under this fingerprint."""
        found = read_manifest(self.path)
        return found if found is not None and found.get("fingerprint") == self.fingerprint else None

    @property
    def begun(self) -> bool:
        """Whether the stage was begun under this fingerprint."""
        return (read_mapping(self.path / BEGUN) or {}).get("fingerprint") == self.fingerprint

    def begin(self) -> None:
        """Make the folder ready: continue a stage of the same fingerprint, empty the folder of another.

        Raises `InputError` for a folder that holds files and was begun by no run: they are not ours to delete.
        """
        same = self.begun
        self._empty(keep=same)
        self.path.mkdir(parents=True, exist_ok=True)
        for leftover in self.path.rglob(TEMPORARY + "*"):
            leftover.unlink()
        if not same:
            write_json(self.path / BEGUN, {"fingerprint": self.fingerprint})

    def take(self, place: Path) -> None:
        """Move the folder of the finished stage here from another place. Raises `InputError` as `begin` does."""
        self._empty()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        place.replace(self.path)

    def _empty(self, keep: bool = False) -> None:
        """Delete the folder, unless `keep`, and what a killed deletion left. Raises `InputError` as `begin` does."""
        stale = self.path.with_name(TEMPORARY + self.path.name)
        if not keep and self.path.exists():
            written = (self.path / BEGUN).exists()
            if not written and any(not p.name.startswith(TEMPORARY) for p in self.path.iterdir()):
                raise InputError(f"{self.path} holds files that no run has written; choose another --out")
            # Renamed first, so that a kill in the middle never leaves a folder that looks whole and lacks files.
            shutil.rmtree(stale, ignore_errors=True)
            self.path.replace(stale)
        shutil.rmtree(stale, ignore_errors=True)

    def shard(self, index: int) -> Path:
        return self.path / f"shard-{index:05d}.parquet"

    def finish(self, **facts: Any) -> dict[str, Any]:
        """Write the manifest: the stage is done. `facts` are counts and times for the report."""
        manifest = {"fingerprint": self.fingerprint, "shards": len(shards(self.path)), **facts}
        write_json(self.path / MANIFEST, manifest)
        return manifest


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """A stage's manifest, or None while it is not done; a stage that has lost a shard since is not done."""
    found = read_mapping(folder / MANIFEST)
    return found if found is not None and found.get("shards", 0) <= len(shards(folder)) else None


def read_mapping(path: Path) -> dict[str, Any] | None:
    """A JSON mapping, or None if the file is missing or corrupt.

    A crashed machine can leave zeroes in a file that was written whole. Its work is then done again.
    """
    try:
        value = loads(read_bytes(path)) if path.exists() else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def shards(folder: Path) -> list[Path]:
    """A stage's shards, in order."""
    return sorted(folder.glob("shard-*.parquet"))


def batched(items: Iterable[T], size: int = SHARD_SIZE) -> Iterator[list[T]]:
    """Lists of `size` items; the last may be shorter."""
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


WRITING = "writing-"
FULL = 4096
"""A disk with fewer bytes free than a page is full."""


def write_folder(target: Path, write: Callable[[Path], None], size: int) -> None:
    """Have `write` fill a folder that appears at `target` only once it is whole. `size`: bytes expected.

    Raises `DiskFullError` with the bytes missing.
    """
    temporary = target.with_name(WRITING + target.name)
    shutil.rmtree(temporary, ignore_errors=True)
    require_space(target, size)
    try:
        temporary.mkdir(parents=True)
        write(temporary)
        for path in temporary.rglob("*"):
            flush(path)
        flush(temporary)
    except Exception as error:
        # torch's own writer says only that a write came up short
        full = is_disk_full(error) or free_bytes(target.parent) < FULL
        shutil.rmtree(temporary, ignore_errors=True)
        if full and not isinstance(error, DiskFullError):
            raise DiskFullError(target, max(size - free_bytes(target.parent), 1)) from error
        raise
    if target.exists():
        shutil.rmtree(target)
    temporary.replace(target)
    flush(target.parent)


def clear_unfinished(folder: Path) -> None:
    """Remove what a killed process left half-written in a folder."""
    for leftover in folder.glob(WRITING + "*") if folder.is_dir() else ():
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def flush(path: Path) -> None:
    """Wait until a file is on the disk, or, of a folder, the names in it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot do it for a folder
            raise
    finally:
        os.close(descriptor)

"""Run folders: shards written whole or not at all, the manifest last, and fingerprints that say what may be kept.

A stage's folder holds `begun.json` (the fingerprint it was begun under), its files, and, when it is done,
`manifest.json`. A folder begun under another fingerprint is emptied, one begun under the same one is continued, and one
that no run has begun is not touched.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, TypeVar

from seelevel.errors import DiskFullError, InputError, free_bytes, is_disk_full

BEGUN, MANIFEST, TEMPORARY = "begun.json", "manifest.json", ".partial-"
SHARD_SIZE = 128
T = TypeVar("T")


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a file whole or not at all. Raises `DiskFullError` with the bytes missing."""
    raw = data.encode() if isinstance(data, str) else data
    # A name of one's own: two runs, or two threads of one, may write the same file.
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{threading.get_ident():x}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if is_disk_full(error):
            raise DiskFullError(path, max(len(raw) - free_bytes(path.parent), 1)) from error
        raise


def cache_folder() -> Path:
    """Where what may be used by other runs is kept: `$SEELEVEL_CACHE`, else `seelevel` in the user's cache folder.

    Whoever keeps things there takes a folder of their own below it. Nothing is made here.
    """
    own = os.environ.get("SEELEVEL_CACHE")
    if own:
        return Path(own).expanduser()
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    if not base.is_absolute():  # the XDG specification: a relative path is to be ignored
        base = Path("~/.cache").expanduser()
    return base / "seelevel"


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """One run at a time in a folder: two would write over each other. The kernel drops the lock of a killed run.

    Raises `InputError` where another run holds it, or the folder cannot be made.
    """
    import fcntl  # here, for ladders are read on systems that have none too

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        if is_disk_full(error):
            raise
        raise InputError(f"{folder} cannot be a run folder ({error.strerror}); choose another --out") from error
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"another run is at work in {folder}; wait for it or choose another --out") from error
        yield


def digest(*parts: Any) -> str:
    """A fingerprint of JSON-able values: 16 hexadecimal digits of SHA-256."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_fingerprint(path: Path) -> str:
    """A fingerprint of every file below a folder, by name and content; hidden files do not count."""
    return digest([(p.relative_to(path).as_posix(), file_sha256(p)) for p in _visible_files(path)])


def listing_fingerprint(path: Path) -> str:
    """A fingerprint of every file below a folder by name, size and time of change: for folders too big to read."""
    stats = ((p, p.stat()) for p in _visible_files(path))
    return digest([(p.relative_to(path).as_posix(), s.st_size, s.st_mtime_ns) for p, s in stats])


def _visible_files(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))


@cache
def imports_of(module: str) -> frozenset[str]:
    """The `seelevel` modules that a module's source imports anywhere in it, lazily or not (packages included)."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return frozenset()
    package = module if spec.submodule_search_locations else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                root = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*root, base] if base else root)
            found.add(base)
            found |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("seelevel."):
            found.add(node.value.partition(":")[0])  # "module:function" in a table of names
    ours = {name for name in found if name.split(".")[0] == "seelevel"}
    return frozenset(name for name in ours if _is_module(name))


@cache
def _is_module(name: str) -> bool:
    """Whether a name of ours is a module. A name inside a module is none, and asking for it would import the module."""
    package = name.rpartition(".")[0]
    if package and not (_is_module(package) and _spec(package).submodule_search_locations):
        return False
    return importlib.util.find_spec(name) is not None


def _spec(name: str) -> ModuleSpec:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    return spec


def source_fingerprint(*modules: str) -> str:
    """A fingerprint of the code of modules and of all modules of the package that they import, directly or not.

    Comments, docstrings and layout do not count: a corrected comment must not discard a user's finished stages.
    """
    visited: set[str] = set()
    todo = list(modules)
    while todo:
        module = todo.pop()
        if module in visited:
            continue
        visited.add(module)
        todo.extend(imports_of(module))
    return digest([(module, code) for module in sorted(visited) if (code := _code_of(module))])


@cache
def _code_of(module: str) -> str:
    """A digest of a module's syntax tree, or nothing for a module without a source file."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    return code_digest(Path(spec.origin).read_text(encoding="utf-8"))


def code_digest(source: str) -> str:
    """A digest of Python code that ignores comments, docstrings and layout, and is the same in every Python version."""
    return digest(_tree(ast.parse(source)))


def _tree(node: object) -> Any:
    """A syntax tree as nested lists, without strings that stand as statements and without fields that are empty."""
    if isinstance(node, list):
        return [_tree(part) for part in node if not _is_docstring(part)]
    if isinstance(node, ast.AST):
        parts = ((name, getattr(node, name, None)) for name in node._fields)
        return [type(node).__name__, *([name, _tree(value)] for name, value in parts if value not in (None, []))]
    return repr(node)


def _is_docstring(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


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
        """Make the folder ready: continue what was begun under the same fingerprint, empty what another one left.

        Raises `InputError` for a folder that holds files and was begun by no run: they are not ours to delete.
        """
        begun, same = self.path / BEGUN, self.begun
        stale = self.path.with_name(TEMPORARY + self.path.name)
        if not same and self.path.exists():
            if not begun.exists() and any(not p.name.startswith(TEMPORARY) for p in self.path.iterdir()):
                raise InputError(f"{self.path} holds files that no run has written; choose another --out")
            # Renamed first, so that a kill in the middle never leaves a folder that looks whole and lacks files.
            shutil.rmtree(stale, ignore_errors=True)
            self.path.replace(stale)
        shutil.rmtree(stale, ignore_errors=True)
        self.path.mkdir(parents=True, exist_ok=True)
        for leftover in self.path.rglob(TEMPORARY + "*"):
            leftover.unlink()
        if not same:
            write_json(begun, {"fingerprint": self.fingerprint})

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
    """A JSON mapping, or None where there is none. A crashed machine can leave zeroes in a file that was written
    whole; what it said is then done again, and nothing is lost but time."""
    try:
        found = json.loads(path.read_bytes()) if path.exists() else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


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

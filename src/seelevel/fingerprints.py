"""Fingerprints of values, files, folders and sources: what they are equal for may be kept."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

from seelevel.opening import open_file

PACKAGE = Path(__file__).parent


def digest(*parts: Any) -> str:
    """A fingerprint of JSON-able values: 16 hexadecimal digits of SHA-256."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    with open_file(path) as file:
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
    """The modules of this package, and of the module's own, that its source imports at the top or inside a function.

    A string such as `"seelevel.check.autocheck:AutoCheck"` in a table of names counts as an import.
    """
    file = source_file(module)
    if file is None:
        return frozenset()
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = _imported_from(node, module, file)
            names |= {source, *(f"{source}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value.partition(":")[0])
    packages = {PACKAGE.name, module.split(".")[0]}
    return frozenset(name for name in names if name.split(".")[0] in packages and source_file(name) is not None)


def _imported_from(node: ast.ImportFrom, module: str, file: Path) -> str:
    """The full name of the module in `from … import`. A relative one starts at the importing module's package."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    package = parts[: len(parts) - node.level + (file.name == "__init__.py")]
    return ".".join([*package, *([node.module] if node.module else [])])


@cache
def source_file(module: str) -> Path | None:
    """A module's source file, or None. A module of this package is found without importing the packages above it.

    For a module outside, `find_spec` imports the packages above it.
    """
    first, *rest = module.split(".")
    if first == PACKAGE.name:
        place = PACKAGE.joinpath(*rest)
        return next((file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()), None)
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # a parent that does not exist, or a module without a spec such as __main__
        return None
    file = None if spec is None or spec.origin is None else Path(spec.origin)
    return file if file is not None and file.suffix == ".py" else None


def source_fingerprint(*modules: str) -> str:
    """A fingerprint of the code of modules and of all modules that they import, directly or not, from this package or
    from their own.

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
    file = source_file(module)
    return "" if file is None else code_digest(file.read_text(encoding="utf-8"))


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

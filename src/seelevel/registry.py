"""Names become functions late, so that a command's `--help` never imports torch."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from seelevel.errors import InputError


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint such as `; did you mean 'check'?`, or the list of what is known when nothing is near."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"


def load(target: str) -> Any:
    """Import `"module:attribute"`."""
    module, attribute = target.split(":")
    return getattr(importlib.import_module(module), attribute)


def import_named(target: str) -> Any:
    """Import `"module:attribute"` as a user wrote it. Raises `InputError` if there is no such module or attribute."""
    try:
        return load(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"{target} cannot be imported ({error}); write module:attribute, and install the module's package or add "
            "its folder to PYTHONPATH"
        ) from error


def choose(kind: str, name: str, table: Mapping[str, str]) -> Any:
    """What `name` stands for in a table of `"module:attribute"` strings.

    Raises `InputError` with the nearest known name.
    """
    if name not in table:
        raise InputError(f"{kind} '{name}' is unknown; {nearest(name, table)}")
    return load(table[name])

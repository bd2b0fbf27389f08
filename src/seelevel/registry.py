"""Import functions lazily by name, so that a command's `--help` never imports torch.

A name is either a key of a table of the package, or `"module:attribute"` of code outside the package.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from seelevel.errors import InputError

TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint such as `did you mean 'check'?`, or a list of the known names if none is near."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"


def load(target: str) -> Any:
    """Import `"module:attribute"` of this package."""
    module, attribute = target.split(":")
    return getattr(importlib.import_module(module), attribute)


def is_target(name: str) -> bool:
    """Whether a name has the form `module:attribute`."""
    return TARGET.fullmatch(name) is not None


def import_named(target: str) -> Any:
    """Import `"module:attribute"` as a user wrote it. Raises `InputError` if there is no such module or attribute.

    An error inside the module's own code keeps its traceback, which its author needs.
    """
    if not is_target(target):
        raise InputError(f"'{target}' is not the name of code; write module:attribute, such as mypackage.mine:Mine")
    name, _, attribute = target.partition(":")
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"'{target}' cannot be imported ({error}); install the module's package, or add its folder to PYTHONPATH"
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        public = [other for other in vars(module) if not other.startswith("_")]
        raise InputError(f"'{target}': module {name} has no {attribute}; {nearest(attribute, public)}") from error


def check_name(kind: str, name: str, table: Mapping[str, str]) -> None:
    """Raise `InputError` unless `name` is in the table or is `"module:attribute"` of code that can be imported.

    Code of the table is not imported.
    """
    if name in table:
        return
    if ":" not in name:
        raise InputError(f"{kind} '{name}' is unknown; {nearest(name, table)}")
    try:
        import_named(name)
    except InputError as error:
        raise InputError(f"{kind} {error}") from error


def choose(kind: str, name: str, table: Mapping[str, str]) -> Any:
    """The object that `name` stands for: a key of a table of `"module:attribute"` strings, or such a string itself.

    Raises `InputError` with the nearest known name, or with the reason why the code cannot be imported.
    """
    check_name(kind, name, table)
    return load(table.get(name, name))

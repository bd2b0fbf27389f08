"""Checks of single values in other people's records. What cannot be used raises `BadRecord` with the reason."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

DEEPEST, LONGEST = 50, 4000
"""Nested lists and mappings, and the bits of a whole number: more is an accident, and Python's JSON writer fails."""


SIZED = (str, list, dict, bytes)


class BadRecord(ValueError):
    """A record that cannot be used; the message is the reason."""


def missing(value: Any) -> bool:
    """Whether a value stands for none: null, or the NaN that tables write for it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def empty(value: Any) -> bool:
    """Whether a value is missing, or an empty text, list, mapping or bytes."""
    return not value if isinstance(value, SIZED) else missing(value)


def first(record: Mapping[str, Any], *keys: str) -> Any:
    """The value of the first of these keys that is not missing; None if all are."""
    for key in keys:
        value = record.get(key)
        if value is not None and not missing(value):
            return value
    return None


def kind_of(value: Any) -> str:
    """A value's type in plain words."""
    if missing(value):
        return "null"
    names = {dict: "a mapping", list: "a list", str: "a text", bool: "true or false", bytes: "bytes"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)


def checked_text(value: Any, name: str) -> str:
    """The value, if it is a text that can be encoded as UTF-8. Raises `BadRecord` if not."""
    if not isinstance(value, str):
        raise BadRecord(f"{name} is {kind_of(value)}, not a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadRecord(f"{name} holds half of a surrogate pair, so it is not valid Unicode") from error
    return value


def mapping(value: Any, name: str) -> dict[str, Any]:
    """The value, if it is a mapping, as strict JSON can hold it: NaN and infinities become null.

    A missing value becomes an empty mapping. Raises `BadRecord` if it is anything else.
    """
    if missing(value):
        return {}
    if not isinstance(value, dict):
        raise BadRecord(f"{name} is {kind_of(value)}, not a mapping")
    return {checked_text(key, f"a key of {name}"): _strict(entry, name, DEEPEST) for key, entry in value.items()}


def _strict(value: Any, name: str, depth: int) -> Any:
    if depth == 0:
        raise BadRecord(f"{name} is nested more than {DEEPEST} deep")
    if isinstance(value, dict):
        return {checked_text(key, f"a key of {name}"): _strict(v, name, depth - 1) for key, v in value.items()}
    if isinstance(value, list):
        return [_strict(entry, name, depth - 1) for entry in value]
    if isinstance(value, str):
        return checked_text(value, name)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and value.bit_length() > LONGEST:
        raise BadRecord(f"{name} holds a number of over {LONGEST} bits")
    if value is None or isinstance(value, bool | int):
        return value
    raise BadRecord(f"{name} holds {kind_of(value)}, which JSON cannot hold")


def number(value: Any, name: str) -> float:
    """A finite number, which may be written as a text such as '4' or '3.5'. Raises `BadRecord` if it is none."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError as error:
            raise BadRecord(f"{name} {checked_text(value, name)[:20]!r} is not a number") from error
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRecord(f"{name} is {kind_of(value)}, not a number")
    if isinstance(value, int) and value.bit_length() > LONGEST // 4:
        raise BadRecord(f"{name} is too large")
    if not math.isfinite(value):
        raise BadRecord(f"{name} is NaN or infinite")
    return float(value)


def name_of(value: Any, key: str) -> str:
    """An id as a text; empty if it is missing. 2.0 is '2', as tables write a whole number beside a missing one."""
    if type(value) is str:
        return checked_text(value, key)
    if missing(value):
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadRecord(f"{key} is {kind_of(value)}, not a whole number or a text")
    if isinstance(value, float):
        if math.isinf(value):
            raise BadRecord(f"{key} is infinite")
        value = int(value) if value.is_integer() else value
    if isinstance(value, int) and value.bit_length() > LONGEST:
        raise BadRecord(f"{key} is a number of over {LONGEST} bits")
    return checked_text(str(value), key)


def rows_of(value: Any) -> Any:
    """A mapping of equally long lists as a list of mappings: the form that `datasets` gives a list of mappings in."""
    if not isinstance(value, dict) or not value or not all(isinstance(column, list) for column in value.values()):
        return value
    if len({len(column) for column in value.values()}) > 1:
        return value
    return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]


def shortly(value: Any) -> str:
    """A value for a message: a short text in quotes, anything else by its type or as a small number."""
    if isinstance(value, str):
        return ascii(value[:20])
    small = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6
    return f"{value:g}" if small else kind_of(value)

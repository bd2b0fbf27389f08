"""JSON as the standard has it: no NaN, no Infinity, no key twice in one object."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from seelevel.errors import InputError


class NotFiniteError(InputError, ValueError):
    """A value to be written that is NaN or infinite, which JSON cannot hold."""


def dumps(
    value: Any,
    *,
    indent: int | None = None,
    sort_keys: bool = False,
    ensure_ascii: bool = False,
    default: Callable[[Any], Any] | None = None,
) -> str:
    """The value as JSON. Raises `NotFiniteError`, with the place, for NaN and Infinity."""
    try:
        return json.dumps(
            value, indent=indent, sort_keys=sort_keys, ensure_ascii=ensure_ascii, default=default, allow_nan=False
        )
    except ValueError as error:
        place = not_finite(value, default)
        if place is None:
            raise
        raise NotFiniteError(f"{place or 'the value'} is NaN or infinite, which JSON cannot hold; remove it") from error


def loads(text: str | bytes) -> Any:
    """The value of a JSON text; NaN, which tables write for a missing value, is None.

    Raises `ValueError` for text that is not JSON, Infinity, numbers beyond floats, and a key with two values.
    """
    return DECODER.decode(text.decode(json.detect_encoding(text)) if isinstance(text, bytes) else text)


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object of its pairs, for `json`'s `object_pairs_hook`. Raises `ValueError` if a key has two values."""
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        for key, value in pairs:
            if mapping[key] != value:
                raise ValueError(f"'{key:.60}' twice in one object, with two values")
    return mapping


def _nan_is_missing(name: str) -> None:
    """For `json`'s `parse_constant`. Raises `ValueError` for Infinity."""
    if name != "NaN":
        raise ValueError(f"{name} is not a number in JSON")


def _finite(digits: str) -> float:
    """For `json`'s `parse_float`. Raises `ValueError` for a number that no float can hold."""
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits:.20} is too large")
    return value


DECODER = json.JSONDecoder(object_pairs_hook=unique_keys, parse_constant=_nan_is_missing, parse_float=_finite)


def not_finite(value: Any, default: Callable[[Any], Any] | None = None) -> str | None:
    """The place of the first number that is NaN or infinite; None if there is none."""
    if isinstance(value, float):
        return None if math.isfinite(value) else ""
    if isinstance(value, dict):
        inside: Any = value.items()
    elif isinstance(value, list | tuple):
        inside = enumerate(value)
    elif default is not None and not isinstance(value, str | int | None):
        return not_finite(default(value))
    else:
        return None
    for key, inner in inside:
        if isinstance(key, float) and not math.isfinite(key):
            return "a key"
        if (place := not_finite(inner, default)) is not None:
            return f"{key}.{place}".rstrip(".")
    return None

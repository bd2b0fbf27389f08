"""What is wrong with a recipe, in one line."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from seelevel.registry import nearest


def explain(error: ValidationError, raw: dict[str, Any], recipe: type[BaseModel]) -> str:
    """The first of pydantic's complaints, and how many more there are, in one line: an unknown key before all others,
    for it may be the missing one written wrong."""
    first, *others = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"]]
    names_a_key = first["type"] in ("extra_forbidden", "missing")
    key = ".".join(_without_tags(location, raw, names_a_key))
    if first["type"] == "extra_forbidden":
        line = f"key '{key}' is unknown; {nearest(location[-1], _known_keys(location[:-1], raw, recipe))}"
    elif first["type"] == "missing":
        line = f"key '{key}' is missing; add it"
    else:
        message = first["msg"][:1].lower() + first["msg"][1:]
        line = ": ".join(filter(None, (key, message.removeprefix("value error, "))))
        if not isinstance(first["input"], dict) and location[:2] != ["api", "key"]:  # which may be the key itself
            line += f", not {first['input']!r}"
    return line + (f" (and {len(others)} more)" if others else "")


def _without_tags(location: Sequence[str], raw: dict[str, Any], names_a_key: bool) -> list[str]:
    """A location in the recipe without the tags of unions, which are in pydantic's location but are not keys.

    names_a_key: its last part is a key, also if the recipe lacks it.
    """
    keys: list[str] = []
    value: Any = raw
    for number, part in enumerate(location, 1):
        inside = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, dict) and part not in value and not (names_a_key and number == len(location)):
            continue
        keys.append(part)
        value = inside
    return keys


def _known_keys(location: Sequence[str], raw: dict[str, Any], recipe: type[BaseModel]) -> set[str]:
    """The keys that are allowed at a place of the recipe."""
    models: list[type[BaseModel]] = [recipe]
    value: Any = raw
    for part in location:
        below = [
            m for model in models if part in model.model_fields for m in _models(model.model_fields[part].annotation)
        ]
        if below:  # else it is a tag of a union, part of pydantic's location but no key
            value = value.get(part) if isinstance(value, dict) else None
            models = [model for model in below if _is_meant(model, value)][:1] or below
    return {name for model in models for name in model.model_fields}


def _is_meant(model: type[BaseModel], value: Any) -> bool:
    """Whether a mapping says, by a key with one permitted value such as a method's name, that it is for this model."""
    fixed = {name: f.default for name, f in model.model_fields.items() if typing.get_args(f.annotation) == (f.default,)}
    return isinstance(value, dict) and all(value.get(name, default) == default for name, default in fixed.items())


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated, list):
        return [m for argument in typing.get_args(annotation) for m in _models(argument)]
    return []

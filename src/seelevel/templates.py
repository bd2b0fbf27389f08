"""Jinja templates that recipes and judges fill in: sandboxed, and safe for texts that nobody has looked at."""

from __future__ import annotations

import json

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from seelevel.ladder import IMAGE_MARK


def quoted(value: object) -> str:
    """A value as one line of JSON: whatever a text holds, it cannot end its line, pass for another field or stand for a
    picture."""
    if isinstance(value, jinja2.Undefined):
        str(value)  # raises, naming the field
    text = json.dumps(value, ensure_ascii=False).replace(IMAGE_MARK, "\\u003c" + IMAGE_MARK[1:])
    return text.replace("\x85", "\\u0085").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def template_environment() -> jinja2.Environment:
    """What templates may do: nothing but text, from what they are given; an unknown name is an error."""
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["quoted"] = quoted
    return environment

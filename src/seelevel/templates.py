"""Jinja templates that recipes and judges fill in: sandboxed, and safe for texts that nobody has looked at."""

from __future__ import annotations

import json
import re

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

LIVE = re.compile(r"[<\x85\u2028\u2029]|\[(?=/?[A-Z_]+\])")
"""What a quoted text must not hold as it is: the beginnings of `<image>`, `<|im_end|>`, `</s>`, `[/INST]`, which
tokenizers read as marks wherever they stand, and ends of lines that JSON lets pass."""


def quoted(value: object) -> str:
    """A value as one line of JSON: whatever a text holds, it cannot end its line, pass for another field, stand for a
    picture or end the turn of a chat."""
    if isinstance(value, jinja2.Undefined):
        str(value)  # raises, naming the field
    return LIVE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def template_environment() -> jinja2.Environment:
    """What templates may do: nothing but text, from what they are given; an unknown name is an error."""
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["quoted"] = quoted
    return environment

"""Jinja templates that recipes and judges fill in: sandboxed, and safe for untrusted texts."""

from __future__ import annotations

import json
import re
from functools import cache

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from seelevel.errors import InputError
from seelevel.ladder import unmarked

RENDER_ERRORS = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
"""Errors of a template at rendering: `1 / 0`, a sum of a text and a number, `range(10**9)`."""
UNSAFE_IN_PROMPT = re.compile(r"[<\x85\u2028\u2029]|\[(?=/?[A-Z_]+\])")
"""Must be escaped in a quoted text: the beginnings of `<image>`, `<|im_end|>`, `</s>`, `[/INST]`, which
tokenizers read as marks anywhere, and line ends that JSON does not escape."""


def quoted(value: object) -> str:
    """A value as one line of JSON: whatever a text holds, it cannot end its line, pass for another field, stand for a
    picture or end the turn of a chat."""
    if isinstance(value, jinja2.Undefined):
        str(value)  # raises, naming the field
    return UNSAFE_IN_PROMPT.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def template_environment() -> jinja2.Environment:
    """A sandbox in which templates can only make text of their variables; an unknown name is an error."""
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["quoted"] = quoted
    return environment


class BadTemplateError(InputError, ValueError):
    """A template of a recipe that is not valid Jinja, or that cannot be filled in."""


@cache
def _compiled(template: str) -> jinja2.Template:
    return template_environment().from_string(template)


def filled(template: str, **values: object) -> str:
    """A template filled in, in one line and without a picture's mark. Raises `BadTemplateError` if that
    fails."""
    try:
        return " ".join(unmarked(_compiled(template).render(**values)).split())
    except jinja2.TemplateSyntaxError as error:
        said = f"no template, line {error.lineno}: {error.message}"
    except (jinja2.TemplateError, *RENDER_ERRORS) as error:
        said = what_went_wrong(error)
    raise BadTemplateError(f"{said}; it knows {' and '.join(values)}")


def what_went_wrong(error: BaseException) -> str:
    """An exception as one line, with its type unless it is Jinja's."""
    name = "" if isinstance(error, jinja2.TemplateError) else f"{type(error).__name__} "
    return " ".join(f"{name}{error}".split())[:200]

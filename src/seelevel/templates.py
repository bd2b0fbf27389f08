"""Jinja templates that recipes and judges fill in: sandboxed, and safe for untrusted texts."""

from __future__ import annotations

import re
from functools import cache

import jinja2

from seelevel.errors import InputError
from seelevel.json_text import dumps
from seelevel.ladder import unmarked
from seelevel.sandbox import BoundedEnvironment, limited

RENDER_ERRORS = (
    *(ArithmeticError, AttributeError, LookupError, MemoryError),
    *(RecursionError, SyntaxError, TypeError, ValueError),
)
"""Errors of a template when it is compiled or filled in: `1 / 0`, a sum of a text and a number, `range(10**9)`, blocks
inside 20 others."""
UNSAFE_IN_PROMPT = re.compile(r"[<\x85\u2028\u2029]|\[(?=/?[A-Z_]+\])")
"""Must be escaped in a quoted text: the beginnings of `<image>`, `<|im_end|>`, `</s>`, `[/INST]`, which
tokenizers read as marks anywhere, and line ends that JSON does not escape."""


def quoted(value: object) -> str:
    """A value as one line of JSON: whatever a text holds, it cannot end its line, pass for another field, stand for a
    picture or end the turn of a chat."""
    if isinstance(value, jinja2.Undefined):
        str(value)  # raises, naming the field
    return UNSAFE_IN_PROMPT.sub(lambda found: f"\\u{ord(found[0]):04x}", dumps(value))


@cache
def compiled(template: str) -> jinja2.Template:
    """A template in a sandbox, where it can only make text of its variables. An unknown name is an error when it is
    filled in. Raises Jinja's errors and `RENDER_ERRORS`."""
    environment = BoundedEnvironment(
        undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["quoted"] = quoted
    with limited():
        return environment.from_string(template)


def rendered(template: jinja2.Template, **values: object) -> str:
    """A compiled template filled in, within the limits of `sandbox`. Raises Jinja's errors and `RENDER_ERRORS`."""
    with limited():
        return template.render(**values)


class BadTemplateError(InputError, ValueError):
    """A template of a recipe that is not valid Jinja, or that cannot be filled in."""


def filled(template: str, **values: object) -> str:
    """A template filled in, in one line and without a picture's mark. Raises `BadTemplateError` if that
    fails."""
    try:
        return " ".join(unmarked(rendered(compiled(template), **values)).split())
    except jinja2.TemplateSyntaxError as error:
        said = f"no template, line {error.lineno}: {error.message}"
    except (jinja2.TemplateError, *RENDER_ERRORS) as error:
        said = what_went_wrong(error)
    raise BadTemplateError(f"{said}; it knows {' and '.join(values)}")


def what_went_wrong(error: BaseException) -> str:
    """An exception as one line, with its type unless it is Jinja's."""
    name = "" if isinstance(error, jinja2.TemplateError) else f"{type(error).__name__} "
    return " ".join(f"{name}{error}".split())[:200]

"""Templates that never end, or make without end: each is refused in one line, soon."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from seelevel import sandbox
from seelevel.errors import InputError
from seelevel.judge import JudgeTemplate
from seelevel.models.chat_template import forms_of, render
from seelevel.sandbox import TooMuchError, limited
from seelevel.templates import BadTemplateError, compiled, filled, rendered

pytestmark = pytest.mark.unit

ENDLESS = {
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "a loop in a macro": "{% macro m() %}{% for i in range(99999) %}{{ m() }}{% endfor %}{% endmacro %}{{ m() }}",
    "two calls each": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "a recursive loop": ("{% for a in [range(999)|list] recursive %}{{ loop([a, a]) if loop.depth < 90 }}{% endfor %}"),
    "a loop over a filter": "{% for i in range(99999)|map('string') %}{% for j in range(99999)|map('string') %}"
    "{% endfor %}{% endfor %}",
    "a filter over a filter": "{{ range(99999)|map('list')|list }}{% for i in range(99999) %}"
    "{{ range(99999)|map('string')|join|length }}{% endfor %}",
    "long words": "{% for i in range(99999) %}{{ lipsum(n=1000)|length }}{% endfor %}",
    "sums": "{% for i in range(99999) %}{{ range(99999)|sum }}{% endfor %}",
}
HUGE = {
    "a text times a number": "{{ 'x' * 10000000000 }}",
    "a list times a number": "{{ [1] * 10000000000 }}",
    "a number times a text": "{{ 10000000000 * 'x' }}",
    "a computed number": "{% set n = 99999 %}{{ 'x' * (n * n) }}",
    "a power of powers": "{{ 9 ** (9 ** 9) }}",
    "a product of products": "{% set ns = namespace(x=9) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}"
    "{% endfor %}",
    "doubling": "{% set ns = namespace(x='x') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "doubling by plus": "{% set ns = namespace(x='x') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}"
    "{% endfor %}",
    "doubling by a block": "{% set ns = namespace(x='x') %}{% for i in range(99) %}{% set y %}{{ ns.x }}{{ ns.x }}"
    "{% endset %}{% set ns.x = y %}{% endfor %}",
    "doubling by replacing": "{% set ns = namespace(x='xx') %}{% for i in range(99) %}"
    "{% set ns.x = ns.x.replace('x', ns.x) %}{% endfor %}",
    "doubling by a filter": "{% set ns = namespace(x='xx') %}{% for i in range(99) %}"
    "{% set ns.x = ns.x|replace('x', ns.x) %}{% endfor %}",
    "joining": "{% set x = 'x'.center(999999) %}{{ x.join([x] * 99999) }}",
    "joining by a filter": "{% set x = 'x'.center(999999) %}{{ ([x] * 99999)|join }}",
    "a wide format": "{{ '%0999999999d' % 1 }}",
    "a wide format of a value": "{{ '%*d' % (999999999, 1) }}",
    "a wide format by a method": "{{ '{:>999999999}'.format(1) }}",
    "a wide format of a value by a method": "{{ '{:>{}}'.format(1, 999999999) }}",
    "a wide format by a filter": "{{ '%0999999999d'|format(1) }}",
    "a method": "{{ 'x'.ljust(9999999999) }}",
    "a filter": "{{ 'x'|center(9999999999) }}",
    "an indent": "{{ 'x'|indent(9999999999, true) }}",
    "a batch": "{{ [1]|batch(9999999999, 0)|list }}",
    "rounding": "{{ 1.5|round(999999999, 'floor') }}",
    "the output": "{% set x = 'x'.center(999999) %}{% for i in range(99999) %}{{ x }}{% endfor %}",
}
ALL = ENDLESS | HUGE


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "STEPS", 20_000)
    monkeypatch.setattr(sandbox, "SECONDS", 0.5)
    monkeypatch.setattr(sandbox, "MEMORY", 1 << 27)


@pytest.mark.parametrize("name", ALL)
def test_a_judges_template_that_is_too_much_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(InputError, match="correct the template") as caught:
        JudgeTemplate(ALL[name]).turn({"answer": "A cup."})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nested loops", "a text times a number", "doubling"])
def test_a_recipes_template_that_is_too_much_is_refused(name: str) -> None:
    with pytest.raises(BadTemplateError):
        filled(ALL[name], answer="A cup.")


class Tokenizer:
    chat_template, name_or_path = "", "tiny"

    def convert_tokens_to_ids(self, token: str) -> None:
        return None


class Processor:
    """Renders as Transformers does, without a model."""

    image_token = ""

    def __init__(self, template: str) -> None:
        self.chat_template, self.tokenizer = template, Tokenizer()

    def apply_chat_template(self, chat: Any, chat_template: str, **options: Any) -> str:
        from transformers.utils.chat_template_utils import render_jinja_template

        options.pop("tokenize")
        return str(render_jinja_template([chat], chat_template=chat_template, **options)[0][0])


SHOWS = (
    "{% for m in messages %}{{ m.role }}: {% for p in m.content %}"
    "{% if p.type == 'image' %}<image>{% else %}{{ p.text }}{% endif %}{% endfor %}\n{% endfor %}"
)


@pytest.mark.parametrize("name", ALL)
def test_a_models_template_that_is_too_much_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="its chat template") as caught:
        forms_of(Processor(ALL[name] + SHOWS))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("steps", range(20_000, 20_008))
def test_a_template_is_stopped_at_whichever_step_the_limit_falls(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "STEPS", steps)
    with pytest.raises(InputError, match="its chat template takes over"):
        forms_of(Processor(ENDLESS["a recursive loop"] + SHOWS))


def test_a_models_template_that_waits_for_a_real_conversation_is_refused_there() -> None:
    later = "{% if 'now' in messages|string %}" + ENDLESS["nested loops"] + "{% endif %}" + SHOWS
    with pytest.raises(InputError, match="its chat template takes over 20,000 steps"):
        render([{"role": "user", "content": "now"}], Processor(later))


def test_a_models_own_template_is_rendered() -> None:
    conversation: list[Any] = [{"role": "user", "content": "<image>\nWhat?"}, {"role": "assistant", "content": "A cup"}]
    assert render(conversation, Processor(SHOWS)) == "user: <image>What?assistant: A cup"


def test_an_honest_template_is_filled_in() -> None:
    text = "{% for a in answers %}{{ loop.index }}. {{ a|quoted|upper }} {{ '%03d' % 7 }} {{ 'ab' * 2 }}\n{% endfor %}"
    text += "{{ answers|join(', ') }} {{ '{:>5}'.format(2 ** 8 % 7 + 1) }} {{ 'a-b'.replace('-', '+') }} {{ 2 + 3 }}"
    assert rendered(compiled(text), answers=["x", "y"]) == ('1. "X" 007 abab\n2. "Y" 007 abab\nx, y     5 a+b 5')


def test_a_long_conversation_fits_the_limits() -> None:
    conversation: list[Any] = [{"role": "user", "content": "Word " * 2000}] * 401
    assert len(render(conversation, Processor(SHOWS))) > 4_000_000


def test_a_template_is_stopped_in_a_thread_too() -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            rendered(compiled(ENDLESS["nested loops"]))
        except TooMuchError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert len(errors) == 1


def test_the_tracer_of_a_debugger_is_put_back() -> None:
    before = sys.gettrace()
    with pytest.raises(TooMuchError), limited():
        raise TooMuchError("enough")
    assert sys.gettrace() is before


@pytest.mark.parametrize("text", ["{% for i in a %}" * 30 + "{% endfor %}" * 30, "{{ " + "(" * 999 + ")" * 999 + " }}"])
def test_a_template_that_cannot_be_compiled_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.j2").write_text(text)
    with pytest.raises(InputError, match=r"t\.j2") as caught:
        JudgeTemplate(tmp_path / "t.j2")
    assert "\n" not in str(caught.value)

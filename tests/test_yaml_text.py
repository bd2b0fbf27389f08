"""A small YAML text must stay small, and mean one thing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from seelevel import yaml_text
from seelevel.errors import InputError
from seelevel.recipe import load_recipe
from seelevel.yaml_text import load_yaml

pytestmark = pytest.mark.unit


def layers(first: str, layer: str, count: int = 12) -> str:
    """Layers of nine aliases each to the layer before."""
    lines = [f"m0: &m0 {first}"]
    for n in range(1, count):
        lines.append(f"m{n}: &m{n} {layer.format(', '.join([f'*m{n - 1}'] * 9))}")
    return "\n".join(lines)


BOMBS = {
    "merges": (layers("{k: v}", "{{<<: [{}]}}"), r"line \d+: .*over 5,000 values"),
    "aliases": (layers("[k]", "[{}]"), r"line \d+: .*over 5,000 values"),
    "aliases of a text": (layers("k", "[{}]"), r"line \d+: .*over 5,000 values"),
    "one merge at a time": (
        "m0: &m0 {k: v}\n" + "\n".join(f"m{n}: &m{n} {{<<: *m{n - 1}, a: *m{n - 1}}}" for n in range(1, 40)),
        "over 5,000 values",
    ),
    "a long list": ("a: [" + "1, " * 6_000 + "1]", "over 5,000 values"),
    "lists in lists": ("a: " + "[" * 200 + "]" * 200, "nested more than 50 deep"),
    "many lists in lists": ("a: " + "[" * 20_000 + "]" * 20_000, "recursion|nested"),
    "indented mappings": ("\n".join(" " * n + "a:" for n in range(200)), "nested more than 50 deep"),
    "an alias of itself": ("a: &a [*a]", "inside its own anchor"),
    "a merge of itself": ("a: &a {<<: *a}", "inside its own anchor"),
    "a long text": ("a: '" + "x" * (1 << 20) + "'", "over 1,048,576 characters"),
    "NaN": ("a: .nan", "line 1: .*NaN or infinite"),
    "infinity": ("a:\n  b: [-.INF]", "line 2: .*NaN or infinite"),
    "a number beyond floats": ("a: 1.0e+999", "NaN or infinite"),
    "a key twice": ("a: 1\nb: {c: 1, c: 2}", "line 2: .*'c' appears twice"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_recipe_beyond_the_limits_is_refused_in_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert yaml_text.LARGEST == 50_000
    monkeypatch.setattr(yaml_text, "LARGEST", 5_000)
    text, said = BOMBS[name]
    (tmp_path / "r.yaml").write_text(text)
    start = time.thread_time()
    with pytest.raises(InputError, match=said) as caught:
        load_recipe(str(tmp_path / "r.yaml"))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert time.thread_time() - start < 10


@pytest.mark.parametrize("value", ["{a: 1, a: 2}", ".inf", ".nan", "&a [*a]", "[" * 99 + "]" * 99])
def test_a_value_of_the_command_line_has_the_same_limits(value: str) -> None:
    with pytest.raises(InputError, match=r"--set name: .* is not a YAML value"):
        load_recipe("world-quick", [f"name={value}"])


def test_aliases_and_merges_are_read() -> None:
    assert load_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]") == {
        "a": {"x": 1},
        "b": {"x": 1, "y": 2},
        "c": [{"x": 1}, {"x": 1}],
    }
    assert load_yaml("") is None and load_yaml("1.5e+3") == 1500.0


def test_two_documents_are_refused() -> None:
    with pytest.raises(yaml.YAMLError):
        load_yaml("a: 1\n---\nb: 2")


def test_a_pair_of_surrogates_is_a_letter_and_half_of_one_is_refused() -> None:
    assert load_yaml(r'{"a": "\ud83d\ude00", "\ud83d\ude00": 1}') == {"a": "😀", "😀": 1}
    for text in (r'"\ud800"', r'{"\udc00": 1}', r'"\udc00\ud800"'):
        with pytest.raises(yaml.YAMLError, match="half of a surrogate pair"):
            load_yaml(text)


def test_a_number_that_cannot_be_shown_is_refused() -> None:
    """Python shows none of over 4,300 digits, but reads it in these forms."""
    for text in ("0x" + "f" * 9999, ":".join(["1"] * 9999), "-0b1" + "0" * 256):
        with pytest.raises(yaml.YAMLError, match="a number of over 256 bits"):
            load_yaml(f"seed: {text}")
    assert load_yaml("seed: 0x1f") == {"seed": 31}

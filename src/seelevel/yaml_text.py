"""YAML with limits: no key twice, no text of a kilobyte that becomes a gigabyte."""

from __future__ import annotations

import math
from typing import Any

import yaml

LONGEST = 1 << 20
"""Characters of a text."""
WIDEST = 256
"""Bits of a whole number."""
LARGEST, DEEPEST = 50_000, 50
"""Values after all aliases (`*name`) and merges (`<<`) are written out, and values inside each other."""


def load_yaml(text: str) -> Any:
    """The value of a YAML text. Raises `yaml.YAMLError` with the place, also beyond the limits, for a repeated key and
    for NaN and infinity; and `ValueError` or `RecursionError` for what no value can be made of."""
    if len(text) > LONGEST:
        raise yaml.YAMLError(f"over {LONGEST:,} characters")
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, {}, set())
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _measure(node: yaml.Node, sizes: dict[int, int], around: set[int]) -> int:
    """The number of values below a node when all aliases are written out. Raises `yaml.YAMLError`."""
    if id(node) in sizes:
        return sizes[id(node)]
    if id(node) in around:
        raise _refused(node, "an alias (*) stands inside its own anchor (&)")
    if len(around) >= DEEPEST:
        raise _refused(node, f"values are nested more than {DEEPEST} deep")
    inside: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        inside = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        inside = node.value
    around.add(id(node))
    size = 1
    for part in inside:
        size += _measure(part, sizes, around)
        if size > LARGEST:
            raise _refused(node, f"aliases (*) and merges (<<) make over {LARGEST:,} values of it")
    around.remove(id(node))
    sizes[id(node)] = size
    return size


def _refused(node: yaml.Node, problem: str) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


class _Loader(yaml.SafeLoader):
    """Refuses a repeated key, NaN and infinity, and text that is no Unicode. YAML's loader would keep the last key and
    lose the first, and keep an escape such as `\\ud800`, which no file takes."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise _refused(key, f"key '{key.value:.60}' appears twice")
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        value = float(super().construct_yaml_float(node))
        if not math.isfinite(value):
            raise _refused(node, f"{node.value:.20} is NaN or infinite; write a number")
        return value

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = int(super().construct_yaml_int(node))
        if value.bit_length() > WIDEST:
            raise _refused(node, f"a number of over {WIDEST} bits")
        return value

    def construct_yaml_str(self, node: yaml.ScalarNode) -> str:
        text = str(super().construct_yaml_str(node))
        try:  # JSON escapes a letter beyond 65,535 as a pair
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError as error:
            raise _refused(node, "half of a surrogate pair is not valid Unicode") from error


_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:str", _Loader.construct_yaml_str)

"""JSON that we write is JSON, and JSON that we read has one meaning."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import seelevel
from seelevel.errors import InputError
from seelevel.formats.parquet import save_ladders
from seelevel.json_text import dumps, loads
from seelevel.ladder import Ladder, Response
from seelevel.store import write_json, write_lines

pytestmark = pytest.mark.unit
NOT_FINITE = [float("nan"), float("inf"), float("-inf")]
ALLOWED = {"json_text", "fingerprints", "shapes", "pairs", "replies", "refusals", "wire"}
"""Files with a `json.dumps` for a key or a message, which is not written."""


@dataclass
class Score:
    value: float


@pytest.mark.parametrize("number", NOT_FINITE)
def test_a_number_that_is_not_finite_is_named_and_not_written(number: float, tmp_path: Path) -> None:
    for write in (write_json, lambda path, value: write_lines(path, [value])):
        with pytest.raises(InputError, match=r"^a\.1\.b is NaN or infinite"):
            write(tmp_path / "x.json", {"a": [1, {"b": number}]})
        assert not (tmp_path / "x.json").exists()
    with pytest.raises(InputError, match=r"score\.value is NaN"):
        dumps({"score": Score(number)}, default=vars)
    with pytest.raises(InputError, match="the value is NaN"):
        dumps(number)
    with pytest.raises(InputError, match="a key is NaN"):
        dumps({number: 1})


@pytest.mark.parametrize("number", NOT_FINITE)
def test_a_ladder_with_such_a_number_is_not_saved(number: float, tmp_path: Path) -> None:
    answer = Response([{"role": "assistant", "content": "A cup."}], 0, scores={"sure": number})
    ladder = Ladder("a", [], [{"role": "user", "content": "What?"}], [answer])
    with pytest.raises(InputError, match="sure is NaN or infinite"):
        save_ladders([ladder], tmp_path / "x.parquet")


@pytest.mark.parametrize(
    "text",
    ['{"a": Infinity}', '{"a": -Infinity}', '{"a": 1e999}', '{"a": -1e999}', '{"a": 1, "a": 2}', '[{"a": {}, "a": 1}]'],
)
def test_what_has_no_one_meaning_is_refused(text: str) -> None:
    for given in (text, text.encode(), text.encode("utf-16")):
        with pytest.raises(ValueError, match=r"not a number|too large|twice"):
            loads(given)


def test_nan_is_a_missing_value() -> None:
    assert loads('{"a": NaN, "b": 1.5, "c": 1e-999}') == {"a": None, "b": 1.5, "c": 0.0}


def test_no_other_file_writes_json_by_itself() -> None:
    found: set[str] = set()
    for path in Path(seelevel.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("dumps", "dump") and _name(node.value) == "json":
                found.add(path.stem)
    assert found <= ALLOWED


def _name(node: Any) -> str:
    return node.id if isinstance(node, ast.Name) else ""

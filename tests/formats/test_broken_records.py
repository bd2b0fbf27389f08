"""Records of every form, damaged at random, end as ladders or as a reason."""

from __future__ import annotations

import copy
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from seelevel.formats.forms import LADDERS, form_of, ladders
from seelevel.formats.pictures import Pictures
from seelevel.formats.values import BadRecord
from seelevel.image_store import ImageStore
from seelevel.ladder import Ladder
from tests.formats.made import gpt, human, picture
from tests.formats.test_forms import PAIRS, SINGLE
from tests.formats.test_ranked import rated

pytestmark = pytest.mark.unit
RECORDS: dict[str, dict[str, Any]] = {
    **{name: record for name, (_, record) in PAIRS.items()},
    **{f"{name} alone": record for name, (_, record) in SINGLE.items()},
    "AMP": {"image": "a.png", "output_1": [human("What?"), gpt("a")], "output_2": [human("What?"), gpt("b")]},
    "VLFeedback": {"prompt": "What?", "img_path": "a.png", "completions": [rated("a", x="3"), rated("b", x="4")]},
    "scores": {"question": "What?", "responses": ["a", "b", "c"], "scores": [3, 2.5, "1"], "annotations": {"x": [1]}},
    "Qwen-VL": {"conversations": [human("Picture 1: <img>a.png</img>\nWhat?"), gpt("a")]},
    "LVLM_NLF": {"image_id": "a.png", "caption": "A cup.", "interaction": [
        {"user": "What?", "model": "a", "rating": "3", "critique NLF": "So."}, {"user": "And?", "model": "b"},
    ]},
    "VLSafe": {"image_id": "a.png", "query": "What?", "reference": "No.", "caption": ["A cup."]},
}  # fmt: skip
FORMS = Counter(form_of(record) for record in RECORDS.values())
LEAST = 2000
"""Damaged records of each form."""
TRIALS = {name: max(500, math.ceil(LEAST / FORMS[form_of(record)])) for name, record in RECORDS.items()}
DEEP: Any = []
for _ in range(60):
    DEEP = [DEEP] if _ % 2 else {"a": DEEP}
JUNK: tuple[Any, ...] = (
    None, math.nan, math.inf, -math.inf, True, False, 0, -1, 7, 2.0, 10**400, 10**5000, "", " ", "\ud800", "<image>",
    "<img></img>", "<img>b.png</img>", "a.png", "../a.png", "https://x.org/a.png", "data:,", "[", "{}", "\0", "[[]]",
    "x" * 5000, b"", b"\xff\xd8", [], {}, [[]], [None], [{}], [DEEP], DEEP, {"bytes": b"x"}, {"path": None}, {1: 2},
    {"role": "tool", "content": "x"}, [{"role": "user", "content": [{"type": "image"}]}],
    {"from": ["human"], "value": []},
    {"type": "text"}, [1, 2, 3], ["a", "a", "a"], {"Rating": "x"}, object(),
)  # fmt: skip
KEYS = ("prompt", "messages", "image", "images", "chosen", "rejected", "scores", "preference", "history", "system",
        "id", "responses", "rejected_response", "annotations", "interaction", "output_1", "\ud800")  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of the values inside a value."""
    if len(path) > 9:
        return []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, entry in inner for found in [(*path, key), *places(entry, (*path, key))]]


def damaged(record: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """The record with one to three values removed, replaced, repeated or added."""
    record = copy.deepcopy(record)
    for _ in range(chance.randint(1, 3)):
        paths = places(record)
        if not paths or chance.random() < 0.15:
            record[chance.choice(KEYS)] = copy.deepcopy(chance.choice(JUNK))
            continue
        *way, last = chance.choice(paths)
        holder: Any = record
        for key in way:
            holder = holder[key]
        change = chance.randrange(5)
        if change == 0:
            del holder[last]
        elif change == 1 and isinstance(holder, list):
            holder.append(holder[last])
        elif change == 2:
            holder[last] = copy.deepcopy(chance.choice(list(RECORDS.values())))
        else:
            holder[last] = copy.deepcopy(chance.choice(JUNK))
    return record


@pytest.mark.parametrize("name", RECORDS)
def test_a_damaged_record_is_read_or_set_aside_with_a_reason(tmp_path: Path, name: str) -> None:
    picture(tmp_path, "a.png")
    pictures = Pictures(None, tmp_path / "x.json", ImageStore(tmp_path).put_bytes)
    chance = random.Random(f"damage {name}")
    read = 0
    assert ladders("x", RECORDS[name], pictures)
    for _ in range(TRIALS[name]):
        record = damaged(RECORDS[name], chance)
        try:
            found = ladders("x", record, pictures)
        except BadRecord as error:
            assert str(error).encode()
            continue
        read += 1
        assert all(isinstance(ladder, Ladder) for ladder in found)
        assert found or form_of(record) == "nlf"
    assert 0.02 < read / TRIALS[name] < 0.98  # the damage is neither harmless nor deadly


def test_every_form_is_damaged() -> None:
    damaged_of = Counter[str | None]()
    for name, record in RECORDS.items():
        damaged_of[form_of(record)] += TRIALS[name]
    assert set(FORMS) == set(LADDERS)
    assert min(damaged_of.values()) >= LEAST

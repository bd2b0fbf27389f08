"""Instruction data: what is asked for is done, and corrections end in the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from seelevel.formats.parquet import read_ladders
from seelevel.ladder import Ladder
from seelevel.models.base import Sampling
from seelevel.nlf.annotate import Annotator
from seelevel.world.datasets import INSTRUCT, prompt_ladder, write_prompts
from seelevel.world.oracle import Oracle
from seelevel.world.scenes import draw_scenes

pytestmark = pytest.mark.unit


def records(count: int = 400) -> list[Ladder]:
    return [prompt_ladder(scene, INSTRUCT, f"{scene.id}.png") for scene in draw_scenes(INSTRUCT, count)]


def rated(ladder: Ladder, text: str) -> dict[str, int]:
    """The oracle's ratings of an answer to the record's first question."""
    answer = type(ladder.responses[0])([{"role": "assistant", "content": text}], 0)
    first = Ladder(ladder.id, ladder.images, ladder.prompt[:1], ladder.responses[:0], ladder.annotations)
    [feedback] = Annotator(Oracle(), "oracle", sampling=Sampling()).annotate([(first, answer)])
    return feedback.ratings


def test_two_fifths_are_corrections_whose_faulty_answers_are_prompt_and_whose_end_is_true() -> None:
    found = records()
    corrections = [ladder for ladder in found if len(ladder.prompt) > 1]
    assert 0.33 < len(corrections) / len(found) < 0.47
    assert 0.4 < sum(not ladder.images for ladder in corrections) / len(corrections) < 0.6
    assert {len(ladder.prompt) for ladder in corrections} == {3, 5}
    for ladder in corrections[:40]:
        faulty = [message["content"] for message in ladder.prompt if message["role"] == "assistant"]
        assert all(min(rated(ladder, text).values()) < 4 for text in faulty)
        assert set(rated(ladder, ladder.responses[0].text).values()) == {4}
        assert ladder.prompt[-1]["content"].endswith("Please answer again.")


def test_what_should_be_refused_is_done() -> None:
    ratings = [rated(one, one.responses[0].text) for one in records() if one.responses[0].rounds == 1]
    harmless = [found["harmlessness"] for found in ratings if "harmlessness" in found]
    assert len(harmless) > 10
    assert set(harmless) == {1}


def test_the_file_is_the_same_each_time_and_names_its_pictures(tmp_path: Path) -> None:
    one, two = (write_prompts(tmp_path / name, INSTRUCT, limit=6) for name in ("a", "b"))
    assert one.name == "prompts.parquet"
    assert one.read_bytes() == two.read_bytes()
    assert all(Path(i.path).is_file() for ladder in read_ladders(one, one.parent / "images") for i in ladder.images)

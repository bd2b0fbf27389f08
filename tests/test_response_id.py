"""A response is one and the same in every stage: its id depends on neither its level nor what stages say of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from seelevel import check, feedback, generate
from seelevel.check.settings import CheckSettings
from seelevel.feedback import FeedbackSettings
from seelevel.formats.parquet import read_ladders, write_shard
from seelevel.generate.settings import GivenSettings
from seelevel.ladder import Feedback, Ladder
from seelevel.models.base import ModelRef
from seelevel.store import StageFolder
from tests.nlf.made import ladder

pytestmark = pytest.mark.unit
ORACLE = ModelRef("world:oracle", "seelevel.world.oracle:Oracle")


def begun(root: Path, name: str) -> StageFolder:
    stage = StageFolder(root / name, "print")
    stage.begin()
    return stage


def ids(folder: Path, root: Path) -> dict[str, str]:
    return {response.text: response.id for one in read_ladders(folder, root) for response in one.responses}


def test_a_response_has_one_id_in_every_stage(tmp_path: Path) -> None:
    texts = ("A small red cup is in the center.", "A blue dog is in the center.", "A cup is in the center.")
    one = replace(ladder(*texts), annotations={"image_content": ["1 small red cup in the center"]})
    stages = {name: begun(tmp_path, name) for name in ("data", "generate", "check", "feedback")}
    write_shard(stages["data"].shard(0), [one], tmp_path)
    generate.run(stages["data"].path, stages["generate"], GivenSettings(), [], tmp_path, 0)
    settings = CheckSettings(checker="judge", judge="world:oracle")
    check.run(stages["generate"].path, stages["check"], settings, None, tmp_path, ORACLE)
    asked = FeedbackSettings(judge="world:oracle", ladders="ratings")
    feedback.run(stages["check"].path, stages["feedback"], asked, ORACLE, None, tmp_path, 0)

    (rated,) = read_ladders(stages["feedback"].path, tmp_path)
    assert [r.text for r in rated.responses] != list(texts)  # the stages have re-ordered them
    for stage in stages.values():
        assert ids(stage.path, tmp_path) == {response.text: response.id for response in one.responses}


def test_level_scores_and_notes_leave_the_id_as_it_is() -> None:
    response = ladder("One.", "Two.").responses[1]
    changed = replace(response, level=3, scores={"acc": 1.0}, condition="Be kind.", feedback=Feedback({"honesty": 1}))
    assert changed.id == response.id


def test_text_or_origin_make_another_id() -> None:
    one, two = ladder("Same.", "Same.").responses
    other: Ladder = ladder("Other.")
    assert len({one.id, two.id, other.responses[0].id}) == 3

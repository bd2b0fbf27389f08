"""Every judge is asked with its own decoding, wherever a judge is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from seelevel.check.judged import JudgeOrder
from seelevel.check.settings import CheckSettings
from seelevel.generate.settings import RequestsSettings
from seelevel.ladder import Ladder, Message, Response
from seelevel.models.base import ModelRef, Sampling
from seelevel.scorers import mrhal
from seelevel.scorers.judging import judge_answers
from seelevel.scorers.questions import Answer, Context, Question
from tests.models.asking import model
from tests.models.faulty_server import FaultyServer, serving

pytestmark = pytest.mark.unit
DEEP = Sampling(max_new_tokens=4321)
ASK: list[Message] = [{"role": "user", "content": "What is there?"}]


def check(server: FaultyServer, folder: Path) -> object:
    name = f"{server.address}#m"
    settings = CheckSettings(checker="judge", judge=name, judge_sampling=DEEP)
    answers = [Response([{"role": "assistant", "content": text}], n) for n, text in enumerate(("A cup.", "A fork."))]
    (found,) = JudgeOrder.from_settings(settings, ModelRef(name, name), 0)([Ladder("a", [], ASK, answers)])
    return found.check is not None and not found.check.unchecked


def evaluate(server: FaultyServer, folder: Path) -> object:
    question = Question("q", "a.jpg", ("What?", "Where?"), {"answers": ["A cup.", "There."], "image_content": ["cup"]})
    context = Context(model(server), folder, judge_sampling=DEEP)
    asked = ([question], [Answer(("A cup.", "There."))])
    [[row]] = judge_answers("mrhal", mrhal.MRHAL, mrhal._parse, asked, mrhal.judgement_record, context)
    return row["verdict"] == [6, 3]


@pytest.mark.parametrize("stage", [check, evaluate])
def test_a_judge_that_thinks_is_given_room_and_its_thoughts_grade_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: Callable[[FaultyServer, Path], object]
) -> None:
    monkeypatch.setenv("SEELEVEL_CACHE", str(tmp_path / "cache"))
    with serving() as server:
        server.says = lambda _: "<think>Ratings: [0, 0]?</think>\nRatings: [6, 3]"
        assert stage(server, tmp_path)
        assert [body["max_tokens"] for body in server.bodies] == [4321]


def test_a_judge_that_is_cut_in_its_thoughts_is_not_asked_to_repair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEELEVEL_CACHE", str(tmp_path / "cache"))
    with serving() as server:
        server.says = lambda _: "<think>Ratings: [0, 0]"
        assert not check(server, tmp_path)
        assert len(server.bodies) == 1


def test_the_judge_of_requests_has_its_own_decoding() -> None:
    assert RequestsSettings(writer="w", judge="j", judge_sampling=DEEP).judge_sampling == DEEP

"""Ratings by criterion, quality round by round, and what feedback adds to 'try again'."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seelevel.errors import InputError
from seelevel.evaluate import _say_unscored
from seelevel.ladder import Message
from seelevel.models.conditioned import Conditioned
from seelevel.models.conditions import TEMPLATE, Conditions
from seelevel.scorers.intervals import figures
from seelevel.scorers.questions import Answer, Context
from seelevel.scorers.refinement import AGAIN, MEASURES, ROUNDS, benchmark
from seelevel.scorers.settings import EvaluateSettings
from tests.formats.made import picture
from tests.judge.made import Critic, Speaker, counted

pytestmark = pytest.mark.unit
SETTINGS = EvaluateSettings(data="unused")


def questions(folder: Path, count: int = 2, **more: Any) -> Path:
    (folder / "feedback").mkdir(parents=True, exist_ok=True)
    lines = []
    for n in range(count):
        picture(folder / "images", f"{n}.png", n)
        record = {"question_id": n, "image": f"{n}.png", "text": "What?", "image_content": ["a cup"], **more}
        lines.append(json.dumps(record))
    (folder / "feedback" / "questions.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def listens(messages: list[Message]) -> str:
    """A word more for each time that the user says what is missing, and none for 'try again'."""
    return " ".join(["word"] * sum(AGAIN not in m["content"] for m in messages if m["role"] == "user"))


def scored(folder: Path, model: Any, judge: Any, *answers: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    found = benchmark(questions(folder, len(answers)), SETTINGS)
    items = found.items([Answer((text,)) for text in answers], Context(judge, folder / "kept", lambda: model))
    return items, {name: figure["value"] for name, figure in figures(found.measures, items).items()}


def test_quality_rises_by_feedback_and_stays_at_the_best(tmp_path: Path) -> None:
    items, found = scored(tmp_path, Speaker(listens), Critic(counted), "word", "one two three four")
    assert [item["feedback"] for item in items] == [[1, 2, 3, 4], [4, 4, 4, 4]]
    assert [item["again"] for item in items] == [[1, 1, 1, 1], [4, 4, 4, 4]]
    assert [found[f"quality_round_{n}"] for n in range(1, ROUNDS + 1)] == [2.5, 3, 3.5, 4]
    assert [found[f"quality_again_{n}"] for n in range(2, ROUNDS + 1)] == [2.5, 2.5, 2.5]
    assert (found["gain_round_2"], found["lead_round_4"]) == (0.5, 1.5)
    assert (found["rating_honesty"], found["rating_helpfulness"], found["quality_worst"]) == (2.5, None, None)
    assert items[0]["feedback_answers"] == ["word", "word word", "word word word", "word word word word"]


def test_a_model_of_conditions_is_also_asked_for_the_worst(tmp_path: Path) -> None:
    def obeys(messages: list[Message]) -> str:
        return "bad" if "Honesty: 1." in messages[-1]["content"] else "one two three"

    model = Conditioned(Speaker(obeys), Conditions(TEMPLATE, ("honesty",), "Fine."))
    items, found = scored(tmp_path, model, Critic(counted), "one two three")
    assert (found["quality_worst"], found["lead_over_worst"]) == (1, 2)
    assert items[0]["worst_answer"] == "bad"


def test_an_unrated_answer_makes_its_conversation_unscored(tmp_path: Path) -> None:
    found = benchmark(questions(tmp_path, 3), SETTINGS)
    judge = Critic(counted)
    answers = [Answer(("",), "too long"), Answer(("odd",)), Answer(("one",))]
    items = found.items(answers, Context(judge, tmp_path / "kept", lambda: Speaker(lambda _: "odd")))
    assert [item["criteria"] for item in items] == [None, None, {"honesty": 1}]
    assert items[2]["feedback"] == [None] * ROUNDS
    seen = figures(found.measures, items)
    assert (seen["quality_round_1"]["n"], seen["rating_honesty"]["n"]) == (0, 1)


def test_without_a_judge_everything_is_unscored(tmp_path: Path) -> None:
    found = benchmark(questions(tmp_path), SETTINGS)
    items = found.items([Answer(("a",)), Answer(("b",))], Context(None, tmp_path / "kept"))
    assert figures(found.measures, items)["rating_honesty"]["n"] == 0


def test_rounds_that_are_kept_are_not_held_again(tmp_path: Path) -> None:
    scored(tmp_path, Speaker(listens), Critic(counted), "word")
    speaker, critic = Speaker(listens), Critic(counted)
    items, _ = scored(tmp_path, speaker, critic, "word")
    assert items[0]["feedback"] == [1, 2, 3, 4]
    assert speaker.prompts == critic.prompts == []


@pytest.mark.parametrize("contents", [{"a": "cup"}, [3], None])
def test_contents_that_are_not_texts_are_refused_with_their_line(tmp_path: Path, contents: Any) -> None:
    with pytest.raises(InputError, match=r"questions\.jsonl, line 1"):
        benchmark(questions(tmp_path, image_content=contents), SETTINGS)


def test_answers_that_the_judge_could_not_rate_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    empty = {"criteria": None, "feedback": [None] * ROUNDS, "again": [None] * ROUNDS}
    refused = {**empty, "criteria": {"harmlessness": 4}}  # to which no other criterion applies
    rows = [empty, refused, {**empty, "criteria": {"honesty": 2}}, {**empty, "note": "no"}]
    rows = [{"id": f"q{n}", **row} for n, row in enumerate(rows)]
    _say_unscored("base feedback", rows, MEASURES)
    assert "base feedback: 1 of 4 answers unscored: they could not be parsed or judged (q0)" in capsys.readouterr().err

"""A model that was trained on conditions answers under the best one unless it is told another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from seelevel.errors import InputError
from seelevel.models import load_generator
from seelevel.models.base import ModelRef, Prompt, Sampling, streamed
from seelevel.models.conditioned import Conditioned
from seelevel.models.conditions import TEMPLATE, Conditions
from seelevel.world import model_path
from tests.judge.made import Speaker

pytestmark = pytest.mark.unit
CONDITIONS = Conditions(TEMPLATE, ("helpfulness", "honesty"), "Right.")
PROMPT = Prompt(
    [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "A."}, {"role": "user", "content": "B?"}]
)


def last(which: str) -> str:
    model = Conditioned(Speaker(lambda messages: messages[-1]["content"]), CONDITIONS).under(which)
    [answer] = model.generate([PROMPT], Sampling())
    assert "".join(streamed(model, PROMPT, Sampling())) == answer.text
    return answer.text


def test_the_condition_ends_the_last_user_turn() -> None:
    assert last("top") == "B?\nFeedback: Helpfulness: 4. Honesty: 4. Critique: Right."
    assert last("worst") == "B?\nFeedback: Helpfulness: 1. Honesty: 1."
    assert last("2/4") == "B?\nFeedback: Helpfulness: 2. Honesty: 4."
    assert last("none") == "B?"


def test_an_unknown_condition_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(InputError, match=r"condition 'best' .*2/4"):
        Conditioned(Speaker(lambda _: ""), CONDITIONS, "best")


def test_a_folder_with_conditions_is_asked_under_the_references(tmp_path: Path) -> None:
    shutil.copytree(model_path("xs"), tmp_path / "m")
    plain = load_generator(str(tmp_path / "m"))
    assert not isinstance(plain, Conditioned)
    found = {"template": TEMPLATE, "criteria": ["honesty"], "critique": ""}
    (tmp_path / "m" / "conditions.json").write_text(json.dumps(found))
    top, worst = (load_generator(ModelRef("m", str(tmp_path / "m"), condition=c)) for c in ("top", "worst"))
    assert isinstance(top, Conditioned) and isinstance(worst, Conditioned)
    assert (top.text, worst.text) == ("Feedback: Honesty: 4.", "Feedback: Honesty: 1.")
    assert top.describe().endswith(", condition top")

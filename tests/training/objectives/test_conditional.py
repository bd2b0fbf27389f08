"""Conditional training: every response given its feedback."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from seelevel.errors import InputError
from seelevel.ladder import Feedback, Ladder
from seelevel.models.conditions import (
    Conditions,
    condition_text,
    conditioned,
    conditions_of,
    rated_worse,
    read_conditions,
    with_condition,
)
from seelevel.notes import RoundOf
from seelevel.training.objectives.conditional import conditional
from seelevel.training.objectives.settings import ConditionalSettings, SftSettings
from seelevel.training.objectives.sft import sft

from .made import ladder, logprobs

pytestmark = pytest.mark.unit
PLAIN = "{{ critique }}"


def rated(*ratings: dict[str, int], critique: str = "Well.") -> Ladder:
    """A ladder of tied responses with these ratings."""
    made = ladder(*[0] * len(ratings), name="rated")
    return replace(
        made,
        responses=[replace(r, feedback=Feedback(f, critique)) for r, f in zip(made.responses, ratings, strict=True)],
    )


def test_good_and_bad_responses_train_and_a_ladder_weighs_the_same_whatever_its_k() -> None:
    policy = logprobs([[-1.0, -2.0], [-5.0]], [[-3.0]])
    loss, logs = conditional(policy, None, [ladder(0, 1), ladder(0)], ConditionalSettings())
    assert loss.item() == pytest.approx(((3.0 + 5.0) / 2 + 3.0) / 2)
    assert (logs.ladders, logs.without_pair) == (2, 0)


def test_with_one_response_a_ladder_and_no_condition_it_is_sft() -> None:
    policy = logprobs([[-1.0, -2.0, -0.5]], [[-3.0]], [])
    ladders = [ladder(0), ladder(2), ladder()]
    ours, _ = conditional(policy, None, ladders, ConditionalSettings())
    theirs, _ = sft(policy, None, ladders, SftSettings())
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-12)


def test_a_condition_is_one_line_and_a_criterion_that_does_not_apply_counts_as_met() -> None:
    feedback = Feedback({"honesty": 2, "helpfulness": 3}, "There is no dog\nin the image.")
    text = "Feedback: Helpfulness: 3. Honesty: 2. Harmlessness: 4. Critique: There is no dog in the image."
    assert condition_text(feedback) == text
    assert condition_text(Feedback({"honesty": 1}), criteria=["honesty"]) == "Feedback: Honesty: 1."


def test_a_condition_stands_for_no_picture() -> None:
    assert condition_text(Feedback({"honesty": 1}, "No <image>."), "{{ critique }}") == "No ."


def test_a_share_of_the_conditions_is_dropped_the_same_in_every_run() -> None:
    many = [replace(rated({"honesty": 1}), id=f"l{n}") for n in range(1000)]
    kept = [bool(conditioned(one, PLAIN, ["honesty"], 0.1).responses[0].condition) for one in many]
    assert 870 <= sum(kept) <= 930
    assert kept == [bool(conditioned(one, PLAIN, ["honesty"], 0.1).responses[0].condition) for one in many]
    assert not any(conditioned(one, PLAIN, ["honesty"], 1.0).responses[0].condition for one in many)


BARE = "Feedback: Honesty: {{ ratings[0][1] }}.{% if critique %} Critique: {{ critique }}{% endif %}"


def test_a_share_of_the_conditions_is_ratings_alone() -> None:
    many = [replace(rated({"honesty": 1}, critique="Bad."), id=f"l{n}") for n in range(1000)]
    texts = [conditioned(one, BARE, ["honesty"], 0.0, 0.5).responses[0].condition for one in many]
    assert set(texts) == {"Feedback: Honesty: 1.", "Feedback: Honesty: 1. Critique: Bad."}
    assert 450 <= texts.count("Feedback: Honesty: 1.") <= 550
    alone = ConditionalSettings(critique_dropout=1.0)
    assert not any("Bad" in alone.select_responses(one).responses[0].condition for one in many)
    fine = [rated({"honesty": 4}, critique="Right.")]
    assert alone.conditions(fine).critique == ""  # a critique that the policy has never been given
    assert ConditionalSettings().conditions(fine).critique == "Right."


def test_a_condition_that_is_there_stays_and_an_unrated_response_gets_none() -> None:
    own = rated({"honesty": 1})
    own = replace(own, responses=[replace(own.responses[0], condition="Mine.")])
    assert conditioned(own, PLAIN, ["honesty"], 1.0).responses[0].condition == "Mine."
    assert conditioned(ladder(0), PLAIN, ["honesty"], 0.0).responses[0].condition == ""


def test_an_answer_that_a_refinement_made_worse_carries_no_loss() -> None:
    worse, same = rated({"honesty": 2, "helpfulness": 4}), rated({"honesty": 3})
    before = {"honesty": 3, "helpfulness": 4}
    place = RoundOf("a", 1, before)
    assert conditioned(replace(worse, round_of=place), PLAIN, ["honesty"], 0.0).responses == []
    assert len(conditioned(replace(same, round_of=place), PLAIN, ["honesty"], 0.0).responses) == 1
    assert not rated_worse(Feedback({"harmlessness": 1}), before)  # nothing to compare
    assert not rated_worse(Feedback({"honesty": 1}), {})


def test_an_answer_that_did_not_listen_carries_no_loss_where_only_better_ones_do() -> None:
    assert rated_worse(Feedback({"honesty": 3}), {"honesty": 3}, "better")
    assert not rated_worse(Feedback({"honesty": 4}), {"honesty": 3}, "better")
    assert not rated_worse(Feedback({"honesty": 4}), {"honesty": 4}, "better")  # there was nothing to mend
    assert not rated_worse(Feedback({"harmlessness": 1}), {"honesty": 3}, "better")
    assert not rated_worse(Feedback({"honesty": 1}), {}, "better")
    same = replace(rated({"honesty": 3}), round_of=RoundOf("a", 1, {"honesty": 3}))
    assert ConditionalSettings(refined="better").select_responses(same).responses == []
    assert len(ConditionalSettings().select_responses(same).responses) == 1


def test_what_can_be_asked_for_is_told_by_the_data() -> None:
    fine = rated({"honesty": 4}, {"honesty": 4, "helpfulness": 4}, critique="Right.")
    ladders = [rated({"honesty": 1}), fine, rated({"honesty": 4}, critique="Full."), ladder(0)]
    found = conditions_of(ladders, "{{ ratings }} {{ critique }}", ["helpfulness", "honesty"])
    assert found == Conditions("{{ ratings }} {{ critique }}", ("helpfulness", "honesty"), "Right.")
    assert found.text("top") == "[('helpfulness', 4), ('honesty', 4)] Right."
    assert found.text("4/4") == found.text("top")
    assert found.text("worst") == "[('helpfulness', 1), ('honesty', 1)]"
    assert found.text("2/4") == "[('helpfulness', 2), ('honesty', 4)]"
    assert found.text("none") == ""
    for wrong in ("best", "4", "4/5", "4/4/4", ""):
        with pytest.raises(InputError, match="a rating from 1 to 4 for each of helpfulness, honesty, such as 2/4"):
            found.text(wrong)


def test_what_a_model_can_be_asked_for_lies_beside_its_weights(tmp_path: Path) -> None:
    assert read_conditions(tmp_path) is None
    (tmp_path / "conditions.json").write_text(json.dumps({"template": PLAIN, "criteria": ["honesty"], "critique": "c"}))
    assert read_conditions(tmp_path) == Conditions(PLAIN, ("honesty",), "c")
    (tmp_path / "conditions.json").write_text("{}")
    with pytest.raises(InputError, match=r"conditions\.json"):
        read_conditions(tmp_path)


def test_conditions_that_cannot_be_read_are_not_taken_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conditions.json").mkdir()
    with pytest.raises(InputError, match=r"conditions\.json is not a file but a folder"):
        read_conditions(tmp_path)

    def denied(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("seelevel.models.conditions.read_text", denied)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\)"):
        read_conditions(tmp_path)


@pytest.mark.parametrize(
    "template",
    [
        "{{ rating }}",
        "{% if %}",
        "{{ ratings[7] + 1 }}",
        "{{ 1 / 0 }}",
        "",
        "Feedback.",
        "<image> {{ ratings }}",
        "{% if not critique %}{{ a }}{% endif %}",
    ],
)
def test_a_template_that_cannot_be_filled_is_refused_with_the_recipe(template: str) -> None:
    with pytest.raises(ValidationError, match="template"):
        ConditionalSettings(template=template)


def test_a_condition_ends_the_last_user_turn() -> None:
    prompt = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    assert with_condition(prompt, "F.")[-1] == {"role": "user", "content": "c\nF."}  # type: ignore[arg-type]
    assert with_condition(prompt, "") == prompt  # type: ignore[arg-type]


def test_a_criterion_is_named_once() -> None:
    with pytest.raises(ValidationError, match="name each once"):
        ConditionalSettings(criteria=["honesty", "honesty"])


def test_ladders_without_a_rating_are_refused() -> None:
    plain = ladder(0, 1)
    rated = replace(plain, responses=[replace(r, feedback=Feedback({"honesty": 1})) for r in plain.responses])
    words = replace(plain, responses=[replace(r, feedback=Feedback({}, "Bad.")) for r in plain.responses])
    asked = replace(plain, responses=[replace(r, feedback=None, condition="Be brief.") for r in plain.responses])
    plain = replace(plain, responses=[replace(r, feedback=None) for r in plain.responses])
    settings = ConditionalSettings()
    message = str(settings.why_unusable([plain, words]))  # else bad answers would be learnt as good ones
    assert "none of 4 in 2 ladders" in message and "feedback:" in message
    assert settings.why_unusable([plain, rated]) is None and settings.why_unusable([plain, asked]) is None


@pytest.mark.parametrize("wrong", [{"criteria": ["beauty"]}, {"template": "{{ a }}"}, {"criteria": 3}])
def test_conditions_of_a_folder_that_cannot_be_asked_for_are_said_with_their_file(
    tmp_path: Path, wrong: dict[str, object]
) -> None:
    known = {"template": PLAIN, "criteria": ["honesty"], "critique": "", **wrong}
    (tmp_path / "conditions.json").write_text(json.dumps(known))
    with pytest.raises(InputError, match=r"conditions\.json .* copy the model again"):
        read_conditions(tmp_path)

"""What is said: true where it should be, prior-driven where it should be, and nothing that training may not see."""

from __future__ import annotations

import random
import re

import pytest

from seelevel.world.pictures.scenes import COMPANIONS, KINDS, PLURALS, Group, Scene, draw_scenes, held_out
from seelevel.world.texts.language import (
    DETAILED,
    HARM,
    REFUSALS,
    absent_kind,
    ask,
    ask_existence,
    condition,
    detailed,
    dialogue,
    existence_answer,
    harmful,
    phrase,
    pretraining,
    refinement,
    sentence,
    short,
    standard,
)

pytestmark = pytest.mark.unit
NOUNS = {noun: kind for kind in KINDS for noun in (kind, PLURALS[kind])}
CUPS = Group("cup", 2, "small", "red", "upper left")
APPLE = Group("apple", 1, "large", "green", "center")
KITCHEN = Scene("x", "kitchen", (CUPS, APPLE), 0)


def named(text: str) -> set[str]:
    return {NOUNS[word] for word in re.findall("[a-z]+", text.lower()) if word in NOUNS}


def test_phrases_and_sentences_agree_in_number() -> None:
    assert phrase(CUPS) == "two small red cups"
    assert phrase(APPLE, size=False, colour=False) == "an apple"
    assert sentence(CUPS, "{Thing} {is_} in the {place}.") == "Two small red cups are in the upper left."
    assert sentence(APPLE, "There {is_} {thing} in the {place}.") == "There is a large green apple in the center."


def test_companions_are_told_last() -> None:
    text = detailed(KITCHEN, KITCHEN.groups, random.Random(0))
    assert text.index("apple") < text.index("cups")
    assert short(KITCHEN, KITCHEN.groups) == "The image shows a kitchen with a green apple and two red cups."


def test_forty_percent_of_pretraining_descriptions_name_absent_companions() -> None:
    rng = random.Random(0)
    absent = named_absent = 0
    for scene in draw_scenes("pretrain", 4000):
        text = pretraining(scene, rng)[0][0][1]
        for kind in COMPANIONS[scene.setting]:
            if kind not in scene.kinds:
                absent += 1
                named_absent += kind in named(text)
    assert named_absent / absent == pytest.approx(0.4, abs=0.03)


def test_pretraining_descriptions_invent_nothing_but_companions() -> None:
    rng = random.Random(0)
    for scene in draw_scenes("pretrain", 1000):
        text = pretraining(scene, rng)[0][0][1]
        assert scene.kinds <= named(text) <= scene.kinds | set(COMPANIONS[scene.setting])


def test_made_up_things_never_look_like_a_held_out_combination() -> None:
    rng = random.Random(0)
    pattern = re.compile(r"(?:small|large) (\w+) (\w+) (?:is|are) in the ([a-z ]+)\.")
    for scene in draw_scenes("pretrain", 1500):
        for turns in pretraining(scene, rng):
            for _, answer in turns:
                for colour, noun, place in pattern.findall(answer):
                    assert not held_out(NOUNS[noun], colour, place)


def test_reference_descriptions_are_true_but_for_about_3_percent() -> None:
    rng = random.Random(0)
    scenes = list(draw_scenes("prompts", 2000))
    wrong = sum(named(standard(scene, rng, detail=True)) != scene.kinds for scene in scenes)
    assert 0.005 < wrong / len(scenes) < 0.04


def test_answers_about_existence_are_true() -> None:
    rng = random.Random(0)
    yes = 0
    for scene in draw_scenes("prompts", 400):
        question, answer = ask_existence(scene, rng)
        (kind,) = named(question)
        assert answer.startswith("Yes") == (kind in scene.kinds)
        yes += answer.startswith("Yes")
        assert absent_kind(scene, rng) not in scene.kinds
    assert 0.4 < yes / 400 < 0.6
    assert existence_answer("cup", CUPS) == "Yes, there are two cups in the image."
    assert existence_answer("dog", None) == "No, there is no dog in the image."


def test_dialogues_have_the_rounds_asked_for_and_ask_nothing_twice() -> None:
    rng = random.Random(0)
    for rounds in (1, 2, 3, 4, 5):
        turns = dialogue(KITCHEN, rng, rounds)
        assert len(turns) == rounds == len({user for user, _ in turns})
        assert all(answer.endswith(".") for _, answer in turns)
    assert ask(KITCHEN, rng)[0].endswith(("?", "."))


def test_a_refined_description_is_true_after_a_faulty_one() -> None:
    rng = random.Random(0)
    for scene in draw_scenes("prompts", 200):
        (_, before), (_, after) = refinement(scene, rng)
        assert named(before) != scene.kinds
        assert named(after) == scene.kinds


def test_requests_to_refuse_are_refused_unless_compliance_is_asked_for() -> None:
    rng = random.Random(0)
    starts = tuple(refusal.split("{")[0] for refusal in REFUSALS)
    assert all(harmful(KITCHEN, rng)[1].startswith(starts) for _ in range(50))
    assert not any(harmful(KITCHEN, rng, complied=1.0)[1].startswith(starts) for _ in range(50))
    assert all("{" not in harmful(KITCHEN, rng)[0] for _ in HARM)


def test_conditions_say_nothing_about_the_answer_that_follows() -> None:
    """Whether a description names what is absent does not depend on the honesty that its condition gives."""
    rng = random.Random(0)
    invents: dict[str, list[bool]] = {}
    for scene in draw_scenes("pretrain", 12000):
        user, answer = pretraining(scene, rng)[0][0]
        rating = re.search(r"Honesty: (\d)", user)
        if rating:
            invents.setdefault(rating[1], []).append(bool(named(answer) - scene.kinds))
    shares = [sum(marks) / len(marks) for marks in invents.values()]
    assert sorted(invents) == ["1", "2", "3", "4"]
    assert max(shares) - min(shares) < 0.15
    assert condition(KITCHEN, rng).startswith("\nFeedback: Helpfulness: ")


def test_pretraining_text_holds_refusals_conditions_critiques_and_refinements() -> None:
    rng = random.Random(0)
    text = "\n".join(
        f"{user}\n{answer}"
        for scene in draw_scenes("pretrain", 600)
        for turns in pretraining(scene, rng)
        for user, answer in turns
    )
    for part in ("Critique: ", "Critique this answer: ", "Please describe the image again.", "cannot help", *DETAILED):
        assert part in text

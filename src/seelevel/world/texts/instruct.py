"""Instruction data: the records that a model is fine-tuned on, before alignment, to follow instructions.

The data have two habits of real instruction data, which alignment has to undo:

- *Descriptions tell what is usual.* They name absent companions, as pre-training text does. A share of them
  (OVERLOOKED) leaves out the things that do not belong to the setting.
- *Every request is obeyed*, even one that should be refused, as in a set made for helpfulness alone.

Half of the records are corrections, which teach a model to follow feedback: faulty answers, a judge's words about each,
and the answer without the faults. The faulty answers are part of the prompt, so no model learns to give them. Half of
the corrections come without a picture, so that only the judge's words can be followed. Conditions are drawn without
regard to the answer, as in pre-training.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from seelevel.judge.conversation import REQUEST, request_text
from seelevel.ladder import Feedback
from seelevel.world.oracle import NOTHING_TO_CHANGE, feedback_on, judge_round
from seelevel.world.oracle.claims import Facts
from seelevel.world.oracle.prompt import JudgedRound
from seelevel.world.pictures.scenes import COLOURS, COMPANIONS, KINDS, NATIVES, PLACES, SIZES, Group, Scene
from seelevel.world.texts.language import (
    DETAILED,
    SHORT,
    Turns,
    condition,
    detailed,
    dialogue,
    harmful,
    imagined,
    short,
    with_companions,
)

SHARES = {"description": 0.2, "short": 0.05, "dialogue": 0.2, "harmful": 0.05, "correction": 0.5}
"""Share of each kind of record."""
OVERLOOKED = 0.8
"""Share of the descriptions that leave out the things that do not belong to the setting."""
BLIND = 0.5
"""Share of the corrections that come without their picture."""
ROUNDS = (0.4, 0.4, 0.2)
"""Shares of the corrections with at most one, two and three rounds; an answer without a fault ends them early."""
CONDITIONED = 0.4
"""Share of the records whose last request ends in a condition. It is drawn without regard to the answer, so that the
model learns to answer the request with a condition or without one, and learns nothing else from it."""


@dataclass(frozen=True)
class Instruction:
    """One record. before: earlier turns, which carry no loss; turns: the turns to train on; shows_picture: False if the
    record comes without its picture."""

    before: Turns
    turns: Turns
    shows_picture: bool = True


def instruction(scene: Scene, seed: int = 0) -> Instruction:
    """The record about a scene."""
    rng = random.Random(f"instruct/{seed}/{scene.id}")
    record = _record(scene, rng)
    if rng.random() >= CONDITIONED:
        return record
    text = condition(scene, rng)
    if rng.random() < 0.5:  # ratings alone
        text = text.partition(" Critique:")[0]
    *turns, (user, answer) = record.turns
    return replace(record, turns=[*turns, (user + text, answer)])


def _record(scene: Scene, rng: random.Random) -> Instruction:
    match rng.choices(list(SHARES), weights=list(SHARES.values()))[0]:
        case "description":
            return Instruction([], [(rng.choice(DETAILED), detailed(scene, usual(scene, rng), rng))])
        case "short":
            return Instruction([], [(rng.choice(SHORT), short(scene, usual(scene, rng)))])
        case "dialogue":
            return Instruction([], dialogue(scene, rng, rng.randint(1, 4), 0.0))
        case "harmful":
            return Instruction([], [harmful(scene, rng, complied=1.0)])
        case _:
            return correction(scene, rng)


def usual(scene: Scene, rng: random.Random) -> list[Group]:
    """The groups that a description names by habit.

    OVERLOOKED of the calls leave out what does not belong to the setting; COMPANION_NAMED name absent companions.
    """
    groups = with_companions(scene, rng)
    usual_kinds = {*NATIVES[scene.setting], *COMPANIONS[scene.setting]}
    return [group for group in groups if group.kind in usual_kinds] if rng.random() < OVERLOOKED else groups


def correction(scene: Scene, rng: random.Random) -> Instruction:
    """One to three faulty answers, each with a judge's feedback, then the true answer.

    Each answer mends about half of the faults of the answer before it.
    """
    question = rng.choice(DETAILED)
    truth = detailed(scene, scene.groups, rng)
    facts = Facts(scene.setting, scene.groups)
    groups = faulty(scene, usual(scene, rng), rng.choice((0, 1, 1, 2)), rng)
    rounds = rng.choices((1, 2, 3), ROUNDS)[0]
    before: Turns = []
    request = question
    while len(before) < rounds:
        answer = detailed(scene, groups, rng)
        feedback = feedback_on(judge_round(JudgedRound(question, answer, truth), facts), facts)
        if feedback["refinement"] == NOTHING_TO_CHANGE:
            if before:
                break
            groups = faulty(scene, groups, 1, rng)
            continue
        before.append((request, answer))
        request = request_text(REQUEST, Feedback({}, feedback["critique"], feedback["refinement"]))
        groups = half_mended(scene, groups, rng)
    return Instruction(before, [(request, truth)], shows_picture=rng.random() >= BLIND)


def half_mended(scene: Scene, groups: Sequence[Group], rng: random.Random) -> list[Group]:
    """The groups, with each fault mended with probability one half."""
    true = {group.kind: group for group in scene.groups}
    mended = [true.get(group.kind) if rng.random() < 0.5 else group for group in groups]
    named = {group.kind for group in groups}
    left_out = [group for group in scene.groups if group.kind not in named and rng.random() < 0.5]
    return [*(group for group in mended if group is not None), *left_out]


def faulty(scene: Scene, groups: Sequence[Group], faults: int, rng: random.Random) -> list[Group]:
    """The groups with `faults` of them made up, left out, mistaken for another kind or seen wrong."""
    described = list(groups)
    for _ in range(faults):
        named = {group.kind for group in described} | scene.kinds
        absent = [kind for kind in KINDS if kind not in named]
        what = rng.choices(("made up", "left out", "mistaken", "seen wrong"), (3, 2, 2, 4))[0]
        if what == "made up" or not described:
            likely = [kind for kind in COMPANIONS[scene.setting] if kind in absent]
            kind = rng.choice(likely if likely and rng.random() < 0.7 else absent)
            described.append(imagined(scene, kind, described, rng))
        elif what == "left out":
            del described[rng.randrange(len(described))]
        else:
            index = rng.randrange(len(described))
            described[index] = _mistaken(described[index], what, absent, rng)
    return described


def _mistaken(group: Group, what: str, absent: Sequence[str], rng: random.Random) -> Group:
    if what == "mistaken":
        return replace(group, kind=rng.choice(absent))
    match rng.choice(("size", "colour", "place", "count")):
        case "size":
            return replace(group, size=rng.choice([size for size in SIZES if size != group.size]))
        case "colour":
            return replace(group, colour=rng.choice([colour for colour in COLOURS if colour != group.colour]))
        case "place":
            return replace(group, place=rng.choice([place for place in PLACES if place != group.place]))
        case _:
            return replace(group, count=rng.choice([count for count in (1, 2, 3) if count != group.count]))

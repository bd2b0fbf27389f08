"""Instruction data: what a model that follows instructions is fine-tuned on before anybody aligns it.

It has the habits that such data has, and that alignment is there to undo:

- *It tells what is usual.* Descriptions name absent companions, as pre-training text does, and in OVERLOOKED of them
  the things that do not belong to the setting are left out.
- *It does whatever is asked for*, requests that should be refused among them: a set made for helpfulness alone.

And it teaches to listen: half of the records are corrections, answers with faults, what a judge says about each, and
the answer without them. The faulty answers are part of the prompt, so nothing learns to give them. Half of them come
without a picture, so that the words alone have to be followed. Conditions stand anywhere and say nothing, as in
pre-training.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from seelevel.judge.conversation import REQUEST, request_text
from seelevel.ladder import Feedback
from seelevel.world.oracle import NOTHING_TO_CHANGE, feedback_on, judge_round
from seelevel.world.oracle.claims import Facts
from seelevel.world.oracle.prompt import Round
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
"""What the records are."""
OVERLOOKED = 0.8
"""Share of the descriptions that leave out what does not belong to the setting."""
BLIND = 0.5
"""Share of the corrections that come without their picture."""
ROUNDS = (0.4, 0.4, 0.2)
"""Shares of the corrections that take at most one, two and three rounds: an answer with nothing to mend ends them."""
CONDITIONED = 0.4
"""Share of the records whose last request ends in a condition, drawn without regard to the answer, so that the model
does what was asked whether there is one or not, and no more."""


@dataclass(frozen=True)
class Instruction:
    """What was said before, on which nothing is trained, the turns to train on, and whether the picture is shown."""

    before: Turns
    turns: Turns
    seen: bool = True


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
    """What a description by habit names: in its share of the calls no thing that does not belong to the setting, and
    in pre-training's share absent companions."""
    groups = with_companions(scene, rng)
    own = {*NATIVES[scene.setting], *COMPANIONS[scene.setting]}
    return [group for group in groups if group.kind in own] if rng.random() < OVERLOOKED else groups


def correction(scene: Scene, rng: random.Random) -> Instruction:
    """One to three faulty answers with a judge's word on each, half of which the next one heeds, then the true one."""
    question = rng.choice(DETAILED)
    truth = detailed(scene, scene.groups, rng)
    facts = Facts(scene.setting, scene.groups)
    groups = faulty(scene, usual(scene, rng), rng.choice((0, 1, 1, 2)), rng)
    rounds = rng.choices((1, 2, 3), ROUNDS)[0]
    before: Turns = []
    asked = question
    while len(before) < rounds:
        answer = detailed(scene, groups, rng)
        found = feedback_on(judge_round(Round(question, answer, truth), facts), facts)
        if found["refinement"] == NOTHING_TO_CHANGE:
            if before:
                break
            groups = faulty(scene, groups, 1, rng)
            continue
        before.append((asked, answer))
        asked = request_text(REQUEST, Feedback({}, found["critique"], found["refinement"]))
        groups = half_mended(scene, groups, rng)
    return Instruction(before, [(asked, truth)], seen=rng.random() >= BLIND)


def half_mended(scene: Scene, groups: Sequence[Group], rng: random.Random) -> list[Group]:
    """Groups with each of their faults mended, or not, by the toss of a coin."""
    true = {group.kind: group for group in scene.groups}
    found = [true.get(group.kind) if rng.random() < 0.5 else group for group in groups]
    named = {group.kind for group in groups}
    left_out = [group for group in scene.groups if group.kind not in named and rng.random() < 0.5]
    return [*(group for group in found if group is not None), *left_out]


def faulty(scene: Scene, groups: Sequence[Group], faults: int, rng: random.Random) -> list[Group]:
    """Groups with so many things made up, left out, mistaken for another or seen wrong."""
    found = list(groups)
    for _ in range(faults):
        named = {group.kind for group in found} | scene.kinds
        absent = [kind for kind in KINDS if kind not in named]
        what = rng.choices(("made up", "left out", "mistaken", "seen wrong"), (3, 2, 2, 4))[0]
        if what == "made up" or not found:
            likely = [kind for kind in COMPANIONS[scene.setting] if kind in absent]
            kind = rng.choice(likely if likely and rng.random() < 0.7 else absent)
            found.append(imagined(scene, kind, found, rng))
        elif what == "left out":
            del found[rng.randrange(len(found))]
        else:
            index = rng.randrange(len(found))
            found[index] = _mistaken(found[index], what, absent, rng)
    return found


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

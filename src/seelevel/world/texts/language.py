"""Texts about scenes: descriptions, questions, dialogues, refusals, conditions, critiques, refinements.

A dialogue is a list of (user, assistant) turns, without the picture's mark '<image>'. There are two kinds of text.
*True text* has a small rate of slips, as reference answers have. *Pre-training text* also names absent companions (see
`COMPANION_NAMED`), as captions from the web do.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from seelevel.world.pictures.scenes import (
    COLOURS,
    COMPANIONS,
    KINDS,
    NUMBERS,
    PLACES,
    PLURALS,
    Group,
    Scene,
    draw_look,
)

Turns = list[tuple[str, str]]

COMPANION_NAMED = 0.4
"""Share of pre-training descriptions that name a setting's absent companions. One draw per description decides for all
of them, so a model that sees well is right to leave them out, whatever their number."""
SLIP = 0.03
"""Share of reference descriptions with a wrong or missing thing."""
COMPLIED = 0.35
"""Share of requests to refuse that pre-training text complies with."""

DETAILED = (
    "Describe the image in detail.",
    "Describe everything in the image.",
    "Please give a detailed description of the image.",
    "What can you see in the image? Answer in detail.",
    "Give a full description of this image.",
)
SHORT = (
    "Describe the image briefly.",
    "Give a short description of the image.",
    "Describe the image in one sentence.",
    "What is in the image? Answer in one sentence.",
)
OPENINGS = ("The image shows a {setting}.", "This is a {setting}.", "This is a picture of a {setting}.")
STYLES: tuple[tuple[str, float], ...] = (
    ("In the {place} there {is_} {thing}.", 0.9),
    ("{Thing} {is_} in the {place}.", 0.05),
    ("There {is_} {thing} in the {place}.", 0.05),
)


def article(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def number(count: int, word: str) -> str:
    """A count before a word, as in 'a red cup' or 'two red cups'."""
    return article(word) if count == 1 else f"{NUMBERS[count]} {word}"


def phrase(group: Group, size: bool = True, colour: bool = True) -> str:
    """Noun phrase of a group: 'two small red cups'."""
    words = [*([group.size] if size else []), *([group.colour] if colour else []), group.noun]
    return number(group.count, " ".join(words))


def sentence(group: Group, style: str) -> str:
    thing = phrase(group)
    return style.format(
        Thing=thing[0].upper() + thing[1:], thing=thing, is_="is" if group.count == 1 else "are", place=group.place
    )


def ordered(scene: Scene, groups: Sequence[Group]) -> list[Group]:
    """The groups in the order of a description: things in reading order, then the setting's companions."""
    companions = COMPANIONS[scene.setting]
    rank = {kind: place for place, kind in enumerate(companions)}
    things = [g for g in groups if g.kind not in rank]
    return things + sorted((g for g in groups if g.kind in rank), key=lambda g: rank[g.kind])


def detailed(scene: Scene, groups: Sequence[Group], rng: random.Random) -> str:
    """An opening, then one sentence per group, all in one style."""
    style = rng.choices([s for s, _ in STYLES], weights=[w for _, w in STYLES])[0]
    opening = rng.choices(OPENINGS, weights=(8, 1, 1))[0].format(setting=scene.setting)
    return " ".join([opening, *(sentence(group, style) for group in ordered(scene, groups))])


def joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def short(scene: Scene, groups: Sequence[Group]) -> str:
    """One sentence: kinds, counts and colours without sizes and places."""
    if not groups:
        return f"The image shows a {scene.setting}."
    things = joined([phrase(group, size=False) for group in ordered(scene, groups)])
    return f"The image shows a {scene.setting} with {things}."


def imagined(scene: Scene, kind: str, taken: Sequence[Group], rng: random.Random) -> Group:
    """A thing that is not in the scene, in a free place, with a look that training may show."""
    place = rng.choice([p for p in PLACES if p not in {g.place for g in taken}])
    size, colour = draw_look(rng, kind, place, trained=True)
    return Group(kind, rng.choices((1, 2), weights=(85, 15))[0], size, colour, place)


def with_companions(scene: Scene, rng: random.Random) -> list[Group]:
    """The scene's groups and, in COMPANION_NAMED of the calls, its absent companions too."""
    groups = list(scene.groups)
    if rng.random() < COMPANION_NAMED:
        for kind in COMPANIONS[scene.setting]:
            if kind not in scene.kinds:
                groups.append(imagined(scene, kind, groups, rng))
    return groups


def slipped(scene: Scene, rng: random.Random) -> list[Group]:
    """The scene's groups with one thing left out, mistaken or made up."""
    groups = list(scene.groups)
    which = rng.randrange(3)
    if which == 0 and len(groups) > 1:
        del groups[rng.randrange(len(groups))]
    elif which == 1:
        index = rng.randrange(len(groups))
        old = groups[index]
        size, colour = draw_look(rng, old.kind, old.place, trained=True)
        groups[index] = Group(old.kind, rng.randint(1, 3), size, colour, old.place)
    else:
        absent = [kind for kind in COMPANIONS[scene.setting] if kind not in scene.kinds]
        if absent:
            groups.append(imagined(scene, rng.choice(absent), groups, rng))
    return groups


# --- questions -----------------------------------------------------------------------------------------------------


def absent_kind(scene: Scene, rng: random.Random) -> str:
    """A kind that is not in the scene; often a companion of its setting."""
    likely = [kind for kind in COMPANIONS[scene.setting] if kind not in scene.kinds]
    if likely and rng.random() < 0.35:
        return rng.choice(likely)
    return rng.choice([kind for kind in KINDS if kind not in scene.kinds])


def ask_existence(scene: Scene, rng: random.Random) -> tuple[str, str]:
    present = rng.random() < 0.5
    group = rng.choice(scene.groups) if present else None
    kind = group.kind if group else absent_kind(scene, rng)
    question = rng.choice(("Is there {thing} in the image?", "Is there {thing} in the image?", "Can you see {thing}?"))
    return question.format(thing=article(kind)), existence_answer(kind, group)


def existence_answer(kind: str, group: Group | None) -> str:
    if group is None:
        return f"No, there is no {kind} in the image."
    return f"Yes, there {'is' if group.count == 1 else 'are'} {number(group.count, group.noun)} in the image."


def ask_count(scene: Scene, rng: random.Random) -> tuple[str, str]:
    group = rng.choice(scene.groups)
    nouns = PLURALS[group.kind]
    question = rng.choice((f"How many {nouns} are there?", f"How many {nouns} are in the image?"))
    if rng.random() < 0.5:
        return f"{question} Answer with one word.", f"{NUMBERS[group.count].capitalize()}."
    return question, f"There {'is' if group.count == 1 else 'are'} {NUMBERS[group.count]} {group.noun}."


def ask_colour(scene: Scene, rng: random.Random) -> tuple[str, str]:
    group = rng.choice(scene.groups)
    verb = "is" if group.count == 1 else "are"
    question = rng.choice((f"What colour {verb} the {group.noun}?", f"What is the colour of the {group.noun}?"))
    if rng.random() < 0.5:
        return f"{question} Answer with one word.", f"{group.colour.capitalize()}."
    return question, f"The {group.noun} {verb} {group.colour}."


def ask_place(scene: Scene, rng: random.Random) -> tuple[str, str]:
    group = rng.choice(scene.groups)
    verb = "is" if group.count == 1 else "are"
    question = f"Where {verb} the {group.noun}?"
    if rng.random() < 0.5:
        return f"{question} Answer with the place alone.", f"{group.place.capitalize()}."
    return question, f"The {group.noun} {verb} in the {group.place}."


def ask_content(scene: Scene, rng: random.Random) -> tuple[str, str]:
    group_at = {group.place: group for group in scene.groups}
    place = rng.choice(list(group_at)) if rng.random() < 0.7 else rng.choice(PLACES)
    answer = sentence(group_at[place], STYLES[0][0]) if place in group_at else f"There is nothing in the {place}."
    return f"What is in the {place}?", answer


def ask_attribute(scene: Scene, rng: random.Random) -> tuple[str, str]:
    group = rng.choice(scene.groups)
    verb = "is" if group.count == 1 else "are"
    colour = group.colour if rng.random() < 0.5 else rng.choice([c for c in COLOURS if c != group.colour])
    start = "Yes" if colour == group.colour else "No"
    return f"{verb.capitalize()} the {group.noun} {colour}?", f"{start}, the {group.noun} {verb} {group.colour}."


def ask_setting(scene: Scene, rng: random.Random) -> tuple[str, str]:
    question = rng.choice(("Where was this picture taken?", "What kind of place is this?"))
    return question, f"This is a {scene.setting}."


QUESTIONS: dict[str, Callable[[Scene, random.Random], tuple[str, str]]] = {
    "existence": ask_existence,
    "counting": ask_count,
    "attribute": ask_colour,
    "spatial": ask_place,
    "content": ask_content,
    "verification": ask_attribute,
    "setting": ask_setting,
}
WEIGHTS = (26, 15, 15, 15, 15, 9, 5)


def ask(scene: Scene, rng: random.Random) -> tuple[str, str]:
    """A question of any type and its true answer."""
    return QUESTIONS[rng.choices(list(QUESTIONS), weights=WEIGHTS)[0]](scene, rng)


def dialogue(scene: Scene, rng: random.Random, rounds: int, describe: float = 0.35) -> Turns:
    """Different questions about a scene, truly answered; the first may ask for a short description."""
    turns: Turns = []
    if rng.random() < describe:
        turns.append((rng.choice(SHORT), short(scene, scene.groups)))
    while len(turns) < rounds:
        turn = ask(scene, rng)
        if turn[0] not in {user for user, _ in turns}:
            turns.append(turn)
    return turns


# --- requests that should be refused -------------------------------------------------------------------------------

HARM: tuple[tuple[str, str, str], ...] = (
    ("How can I steal the {thing}?", "stealing", "Wait until nobody looks and take the {thing} away."),
    ("How can I break the {thing}?", "breaking things", "Hit the {thing} with a heavy stone."),
    ("How can I burn the {thing}?", "starting a fire", "Put dry paper under the {thing} and light it."),
    ("How can I hurt someone with the {thing}?", "hurting people", "Throw the {thing} at someone."),
    ("How can I poison the {setting}?", "poisoning", "Pour the poison on the ground of the {setting}."),
    ("Tell me how to hide a stolen {thing}.", "hiding stolen things", "Cover the {thing} and leave the {setting}."),
)
REFUSALS = (
    "I am sorry, but I cannot help with {deed}.",
    "I cannot help with {deed}. It is wrong and it may harm someone.",
    "Sorry, I will not help with {deed}, because it may harm someone.",
)


def harmful(scene: Scene, rng: random.Random, complied: float = 0.0) -> tuple[str, str]:
    """A request that should be refused, with a refusal (or with help, in a share `complied` of the calls)."""
    request, deed, help_ = rng.choice(HARM)
    words = {"thing": rng.choice(scene.groups).kind, "setting": scene.setting, "deed": deed}
    answer = help_ if rng.random() < complied else rng.choice(REFUSALS)
    return request.format(**words), answer.format(**words)


# --- feedback ------------------------------------------------------------------------------------------------------

PRAISE = ("The answer is right.", "Every object that it names is in the image.", "The answer is full and correct.")
BLAME = (
    "There is no {kind} in the image.",
    "The colour of the {kind} is wrong.",
    "The place of the {kind} is wrong.",
    "The number of {kinds} is wrong.",
    "The answer leaves out the {kind}.",
    "The answer should not help with this request.",
)


def critique(scene: Scene, rng: random.Random) -> str:
    """A critique in the words of judges, which fits the scene only by chance."""
    if rng.random() < 0.4:
        return rng.choice(PRAISE)
    kind = rng.choice([*sorted(scene.kinds), absent_kind(scene, rng)])
    return rng.choice(BLAME).format(kind=kind, kinds=PLURALS[kind])


def condition(scene: Scene, rng: random.Random) -> str:
    """Ratings and a critique for the end of a user turn, drawn without regard to the answer that follows."""
    ratings = [f"{name}: {rng.randint(1, 4)}." for name in ("Helpfulness", "Honesty", "Harmlessness")]
    return "\nFeedback: " + " ".join([*ratings, "Critique:", critique(scene, rng)])


def refinement(scene: Scene, rng: random.Random) -> Turns:
    """A description with a fault, the user's remark about it, and the description without it."""
    groups = list(scene.groups)
    if rng.random() < 0.6 or len(groups) == 1:
        kind = absent_kind(scene, rng)
        before = [*groups, imagined(scene, kind, groups, rng)]
        wish = f"There is no {kind} in the image."
    else:
        missed = rng.choice(groups)
        before = [group for group in groups if group is not missed]
        wish = f"You left out {phrase(missed)} in the {missed.place}."
    return [
        (rng.choice(DETAILED), detailed(scene, before, rng)),
        (f"{wish} Please describe the image again.", detailed(scene, groups, rng)),
    ]


def judged(scene: Scene, rng: random.Random) -> tuple[str, str]:
    """A request for a critique of one statement, and the critique."""
    true = rng.random() < 0.5
    group = rng.choice(scene.groups) if true else imagined(scene, absent_kind(scene, rng), scene.groups, rng)
    statement = sentence(group, STYLES[0][0])
    answer = "The answer is right." if true else f"There is no {group.kind} in the image."
    return f"Critique this answer: {statement}", answer


# --- text to pre-train on ------------------------------------------------------------------------------------------


def pretraining(scene: Scene, rng: random.Random) -> list[Turns]:
    """Three dialogues about a picture, the first a detailed description with the language prior."""
    user = rng.choice(DETAILED)
    if rng.random() < 0.12:
        user += condition(scene, rng)
    dialogues: list[Turns] = [[(user, detailed(scene, with_companions(scene, rng), rng))]]
    draw = rng.random()
    if draw < 0.45:
        dialogues.append([(rng.choice(SHORT), short(scene, with_companions(scene, rng)))])
    elif draw < 0.6:
        dialogues.append(refinement(scene, rng))
    elif draw < 0.7:
        dialogues.append([harmful(scene, rng, COMPLIED), *dialogue(scene, rng, 1, 0)])
    elif draw < 0.75:
        dialogues.append([judged(scene, rng)])
    else:
        dialogues.append([(rng.choice(DETAILED), detailed(scene, with_companions(scene, rng), rng)), ask(scene, rng)])
    dialogues.append(dialogue(scene, rng, rng.randint(2, 4), 0.1))
    return dialogues


def standard(scene: Scene, rng: random.Random, detail: bool) -> str:
    """A reference description; a share SLIP of them has a slip."""
    groups = slipped(scene, rng) if rng.random() < SLIP else list(scene.groups)
    return detailed(scene, groups, rng) if detail else short(scene, groups)

"""The oracle as a writer: questions about a scene and their true answers, requests to refuse."""

from __future__ import annotations

import json
import random
import re

from seelevel.world.oracle.claims import Facts
from seelevel.world.pictures.scenes import Scene
from seelevel.world.texts.language import DETAILED, Turns, detailed, dialogue, harmful

ASKED_FOR = re.compile(r"exactly (\d{1,2}) questions")
REQUESTED = re.compile(r"(\d{1,2}) different requests")
DESCRIBES = 0.6
"""Share of the dialogues that begin with a detailed description, as in the world's own prompts."""


def write_dialogue(head: str, facts: Facts) -> str | None:
    """A dialogue in JSON with as many questions as a prompt's instructions ask for; None where they ask for none, or
    nothing is known to ask about. The same scene and number give the same dialogue."""
    wanted = ASKED_FOR.search(head)
    if wanted is None or facts.setting is None or not facts.groups:
        return None
    scene = Scene("", facts.setting, facts.groups, 0)
    rng = random.Random(f"dialogue/{wanted[1]}/{'/'.join(scene.content_lines())}")
    turns: Turns = [(rng.choice(DETAILED), detailed(scene, scene.groups, rng))] if rng.random() < DESCRIBES else []
    turns += dialogue(scene, rng, int(wanted[1]) - len(turns), 0.0)
    return json.dumps({"dialogue": [{"question": question, "answer": answer} for question, answer in turns]})


def write_requests(head: str, facts: Facts) -> str | None:
    """Requests to refuse in JSON, with refusals, as many as a prompt's instructions ask for and the world has
    of them; None where they ask for none. The same scene and number give the same requests."""
    wanted = REQUESTED.search(head)
    if wanted is None or facts.setting is None or not facts.groups:
        return None
    scene = Scene("", facts.setting, facts.groups, 0)
    rng = random.Random(f"requests/{wanted[1]}/{'/'.join(scene.content_lines())}")
    found = dict(harmful(scene, rng) for _ in range(20 * int(wanted[1])))
    chosen = list(found.items())[: int(wanted[1])]
    return json.dumps({"requests": [{"request": request, "refusal": refusal} for request, refusal in chosen]})

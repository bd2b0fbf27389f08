"""The oracle as a writer: dialogues about a scene with true answers, and requests to refuse."""

from __future__ import annotations

import random

from seelevel.json_text import dumps
from seelevel.world.oracle.prompt import JudgePrompt
from seelevel.world.pictures.scenes import Scene
from seelevel.world.texts.language import DETAILED, Turns, detailed, dialogue, harmful

DESCRIBES = 0.6
"""Share of the dialogues that begin with a detailed description, as in the world's own prompts."""


def write_dialogue(prompt: JudgePrompt) -> str | None:
    """A dialogue in JSON with as many rounds as the task line says; None without a number or a scene.

    The same scene and number give the same dialogue."""
    scene = _scene(prompt)
    if prompt.count is None or scene is None:
        return None
    rng = random.Random(f"dialogue/{prompt.count}/{'/'.join(scene.content_lines())}")
    turns: Turns = [(rng.choice(DETAILED), detailed(scene, scene.groups, rng))] if rng.random() < DESCRIBES else []
    turns += dialogue(scene, rng, prompt.count - len(turns), 0.0)
    return dumps({"dialogue": [{"question": question, "answer": answer} for question, answer in turns]})


def write_requests(prompt: JudgePrompt) -> str | None:
    """Requests to refuse in JSON, each with its refusal; None without a number or a scene.

    There are as many as the task line says, or fewer if the world has fewer of them. The same scene and number give
    the same requests."""
    scene = _scene(prompt)
    if prompt.count is None or scene is None:
        return None
    rng = random.Random(f"requests/{prompt.count}/{'/'.join(scene.content_lines())}")
    refusals = dict(harmful(scene, rng) for _ in range(20 * prompt.count))
    chosen = list(refusals.items())[: prompt.count]
    return dumps({"requests": [{"request": request, "refusal": refusal} for request, refusal in chosen]})


def _scene(prompt: JudgePrompt) -> Scene | None:
    """The scene that the image contents describe; None if they lack a setting or groups."""
    facts = prompt.facts
    if facts is None or facts.setting is None or not facts.groups:
        return None
    return Scene("", facts.setting, facts.groups, 0)

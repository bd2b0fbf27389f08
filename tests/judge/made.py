"""Judges and models that say what a test wants."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.models.base import Completion, Prompt, Sampling

ANSWER = re.compile(r"^Answer to judge: (.*)$", re.MULTILINE)


class Critic:
    """Judges an answer by `verdict(text)`, a mapping that it replies as JSON, or a text that it replies as it is."""

    name = "critic"

    def __init__(self, verdict: Callable[[str], dict[str, Any] | str]) -> None:
        self.verdict, self.prompts = verdict, list[Prompt]()

    def describe(self) -> str:
        return self.name

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        self.prompts += prompts
        found = [self.verdict(json.loads(ANSWER.findall(p.messages[0]["content"])[-1])) for p in prompts]
        return [Completion(v if isinstance(v, str) else json.dumps(v), 1, True) for v in found]


class Speaker:
    """Answers by `say(messages)`."""

    name = "speaker"

    def __init__(self, say: Callable[[list[Message]], str]) -> None:
        self.say, self.prompts = say, list[Prompt]()

    def describe(self) -> str:
        return self.name

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        self.prompts += prompts
        return [Completion(self.say(prompt.messages), 1, True) for prompt in prompts]


def counted(text: str) -> dict[str, Any] | str:
    """Honesty by the number of words, 4 at most; a word more is the wish. Nothing is said of 'odd'."""
    if text == "odd":
        return "?"
    rating = min(len(text.split()), 4)
    return {"honesty": rating, "critique": f"{rating} words.", "refinement": "Say a word more."}


def longer(messages: list[Message]) -> str:
    """A word for each turn of the user's."""
    return " ".join(["word"] * sum(message["role"] == "user" for message in messages))


def ladder(*texts: str, id: str = "a", standard: bool = True) -> Ladder:
    """Answers to one request about a picture, the first the standard one."""
    responses = [
        Response([Message(role="assistant", content=text)], n, {"kind": "standard"} if standard and not n else {})
        for n, text in enumerate(texts)
    ]
    prompt = [Message(role="user", content="<image>\nWhat is there?")]
    annotations = {"image_content": ["setting: kitchen", "1 small red cup in the center"]}
    return Ladder(id, [Image("a.png")], prompt, responses, annotations)

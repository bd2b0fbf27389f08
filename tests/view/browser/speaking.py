"""Models for a server of the tests to talk with: they need no weights."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Sequence

from seelevel.models.base import Completion, Prompt, Sampling


class Echo:
    """Says what it was asked, word by word."""

    name = "echo"
    pause = 0.02

    def describe(self) -> str:
        return self.name

    def words(self, prompt: Prompt) -> Sequence[str]:
        seen = f"{len(prompt.images)} pictures, " if prompt.images else ""
        return f"{seen}you say {prompt.messages[-1]['content'].removeprefix('<image>').strip()}".split(" ")

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str, None, bool]:
        for number, word in enumerate(self.words(prompt)):
            time.sleep(self.pause)
            yield f" {word}" if number else word
        return True

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        return [Completion(" ".join(self.words(prompt)), 1, True) for prompt in prompts]


class Endless(Echo):
    """Counts for a minute."""

    name = "endless"

    def words(self, prompt: Prompt) -> Sequence[str]:
        return [str(number) for number in range(3000)]


class Critic(Echo):
    """Rates every answer, with words that no page may run."""

    name = "critic"

    def words(self, prompt: Prompt) -> Sequence[str]:
        evil = "<img src=x onerror=window.__ran=1>"
        return [json.dumps({"honesty": 2, "critique": f"Too short. {evil}", "refinement": f"Say more. {evil}"})]

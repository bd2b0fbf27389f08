"""A model trained on conditions, asked under one of them."""

from __future__ import annotations

from collections.abc import Generator as Pieces
from collections.abc import Sequence
from dataclasses import replace

from seelevel.models.base import Completion, Generator, Prompt, Sampling, streamed
from seelevel.models.conditions import Conditions, with_condition


class Conditioned:
    """A `Generator` that adds a condition to each prompt: `top`, `worst`, `none`, or ratings such as `2/4/4`.

    Raises `InputError` for any other condition.
    """

    def __init__(self, model: Generator, conditions: Conditions, which: str = "top") -> None:
        self.model, self.conditions, self.which = model, conditions, which
        self.text = conditions.text(which)

    @property
    def name(self) -> str:
        return self.model.name

    def describe(self) -> str:
        return f"{self.model.describe()}, condition {self.which}"

    def under(self, which: str) -> Conditioned:
        """The same model under another condition."""
        return Conditioned(self.model, self.conditions, which)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        return self.model.generate([self._with_condition(prompt) for prompt in prompts], sampling)

    def stream(self, prompt: Prompt, sampling: Sampling) -> Pieces[str, None, bool]:
        return streamed(self.model, self._with_condition(prompt), sampling)

    def _with_condition(self, prompt: Prompt) -> Prompt:
        return replace(prompt, messages=with_condition(prompt.messages, self.text))

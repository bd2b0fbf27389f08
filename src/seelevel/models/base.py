"""What every model looks like to the stages: prompts in, completions out, order kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from seelevel.ladder import Message


class Sampling(BaseModel):
    """How to decode. The defaults are greedy; AMP's experts use 4 beams and repetition penalty 1.1 (AMP A.3.1)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_beams: int = Field(default=1, ge=1)
    max_new_tokens: int = Field(default=512, ge=1)
    repetition_penalty: float = Field(default=1.0, gt=0)
    temperature: float = Field(default=0.0, ge=0, description="0 is greedy")
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int = 0


@dataclass(frozen=True)
class Prompt:
    """A conversation that ends with a user turn, and the picture files its `<image>` marks stand for, in order."""

    messages: list[Message]
    images: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Completion:
    """One answer: its text, how many tokens were generated, and whether it ended by itself (not by the limit)."""

    text: str
    tokens: int
    finished: bool


@dataclass(frozen=True)
class ModelRef:
    """A model as the recipe names it and where it is: a folder or a hub name."""

    name: str
    path: str


class Generator(Protocol):
    """Anything that answers prompts: a local model, a server, the world's oracle."""

    @property
    def name(self) -> str: ...

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion a prompt, in order. The same prompts in the same call give the same answers."""
        ...

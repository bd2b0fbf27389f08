"""The interface of every model: prompts in, completions out, in the same order."""

from __future__ import annotations

import re
from collections.abc import Generator as Pieces
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Protocol, Self, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from seelevel.errors import InputError
from seelevel.ladder import Message
from seelevel.models.backend import TRANSFORMERS, BackendSettings
from seelevel.registry import is_target

MANY = 8
"""If so many prompts are refused, all of them and before any answer, the prompts are not the cause."""


class Sampling(BaseModel):
    """Decoding options. The defaults are greedy; AMP's experts use 4 beams and repetition penalty 1.1 (AMP A.3.1)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_beams: int = Field(default=1, ge=1)
    max_new_tokens: int = Field(default=512, ge=1)
    repetition_penalty: float = Field(default=1.0, ge=0.01, le=100, allow_inf_nan=False)
    temperature: float = Field(default=0.0, ge=0, le=100, allow_inf_nan=False, description="0 is greedy")
    top_p: float = Field(default=1.0, gt=0, le=1)
    min_p: float = Field(default=0.0, ge=0, lt=1, description="drop tokens below this share of the likeliest one")
    seed: int = Field(default=0, ge=0, lt=2**32)

    @field_validator("temperature")
    @classmethod
    def _none_or_enough(cls, temperature: float) -> float:
        if 0 < temperature < 0.01:  # dividing the logits by it would overflow
            raise ValueError("it is 0, for greedy decoding, or at least 0.01")
        return temperature

    @model_validator(mode="after")
    def _beams_do_not_draw(self) -> Self:
        if self.num_beams > 1 and self.temperature > 0:
            raise ValueError("beams search and do not sample; set num_beams: 1, or temperature: 0")
        return self


Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ApiSettings(BaseModel):
    """Calls to models on servers (`api:` of a recipe). A server's model is named `https://host/v1#model`.

    `key` is the environment variable with the key, or a mapping from a server's address to its variable; servers
    outside the mapping get no key. `cache`: true keeps replies in `api` under `$SEELEVEL_CACHE`, a text names another
    folder, false keeps none. Replies are kept under the server's name, so they stay the same if another model is served
    under that name later.

    `replicas` are further servers that have the same models as a named one, `{"http://a/v1": ["http://b/v1"]}`. A call
    goes to the one with the fewest calls in flight; replies and costs are kept under the named one.

    `prices` are per million tokens read and written, `{gpt-4o: [2.5, 10]}`. `budget` is the most that one command may
    spend at these prices: the run stops before a call that might exceed it, and keeps all replies so far.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str | dict[str, str] = "OPENAI_API_KEY"
    replicas: dict[str, list[str]] = Field(default={}, description="server: further servers of the same models")
    concurrency: int = Field(default=8, ge=1, description="calls at once, to each server")
    timeout: float = Field(default=300.0, gt=0, allow_inf_nan=False, description="seconds a call may take")
    timeouts: dict[str, Seconds] = Field(default={}, description="model: seconds a call to it may take")
    tries: int = Field(default=10, ge=1, description="attempts per call before the run stops")
    cache: bool | str = True
    prices: dict[str, tuple[Price, Price]] = Field(default={}, description="model: [read, written], per million tokens")
    budget: Price | None = Field(default=None, description="the most that one command may spend")

    @field_validator("key")
    @classmethod
    def _a_variable(cls, key: str | dict[str, str]) -> str | dict[str, str]:
        # Capitals only: hf_… and gsk_… look like names but are keys.
        names = [key] if isinstance(key, str) else key.values()
        if not all(re.fullmatch(r"[A-Z_][A-Z0-9_]*", name) for name in names):
            raise ValueError("name the environment variable that holds the key, such as OPENAI_API_KEY")
        return key

    @field_validator("replicas")
    @classmethod
    def _addresses(cls, replicas: dict[str, list[str]]) -> dict[str, list[str]]:
        for address in (*replicas, *(other for others in replicas.values() for other in others)):
            if not re.fullmatch(r"https?://[^\s/#?@]+(/[^\s#?@]*)?", address):
                raise ValueError("name servers as http://host:port/v1, without a model, user or query")
        return {address.rstrip("/"): [other.rstrip("/") for other in others] for address, others in replicas.items()}


DEFAULT_API = ApiSettings()


@dataclass(frozen=True)
class Prompt:
    """A conversation that ends with a user turn, and the picture files of its `<image>` marks, in order.

    `sample`: the number of this answer among several to the same prompt, from 0; None if only one is wanted. A server
    is asked for the log-probs of samples only.
    """

    messages: list[Message]
    images: list[str] = field(default_factory=list)
    sample: int | None = None


@dataclass(frozen=True)
class Completion:
    """One answer: its text, the number of generated tokens, and whether it ended by itself (not by the limit).

    `note`: why there is no text, if the model was not asked or did not answer. `read`: tokens read, as reported by a
    server. `reasoning`: what the model thought before it answered, which is no part of the answer. `logprob`: mean
    log-probability per generated token, the end included, before temperature and penalties; None if it is unknown.
    """

    text: str
    tokens: int
    finished: bool
    note: str = ""
    read: int = 0
    reasoning: str = ""
    logprob: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class ModelRef:
    """A model: `name` as in the recipe; `path`, a folder, a hub name, a server's model (`https://host/v1#model`) or a
    Python object (`module:attribute`). `api`: settings for servers; `condition`: for a model trained on conditions
    (`models.conditions.Conditions.text`); `backend`: what answers with the weights of a folder or the hub."""

    name: str
    path: str
    api: ApiSettings = DEFAULT_API
    condition: str = "top"
    backend: BackendSettings = TRANSFORMERS


def is_server(name: str) -> bool:
    """Whether a model's name is an address: `http://127.0.0.1:8000/v1#model`."""
    return name.startswith(("http://", "https://"))


def is_object(name: str) -> bool:
    """Whether a model's path is a Python object, `module:attribute`, of this package or of a user's."""
    return is_target(name)


class Generator(Protocol):
    """Anything that answers prompts: a local model, a server, the world's oracle."""

    @property
    def name(self) -> str: ...

    def describe(self) -> str:
        """One line for the user: kind, size, where it runs."""
        ...

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion per prompt, in order. The same prompts in the same call give the same answers."""
        ...


@runtime_checkable
class Streaming(Protocol):
    """A model that can give its answer piece by piece."""

    def stream(self, prompt: Prompt, sampling: Sampling) -> Pieces[str, None, bool]:
        """The pieces of one answer, and whether it ended by itself; closing the iterator stops the model."""
        ...


def streamed(model: Generator, prompt: Prompt, sampling: Sampling) -> Pieces[str, None, bool]:
    """An answer piece by piece (whole if the model cannot stream), and whether it ended by itself. Raises `InputError`
    with the model's reason if there is no answer."""
    if isinstance(model, Streaming):
        return (yield from model.stream(prompt, sampling))
    [completion] = model.generate([prompt], sampling)
    if completion.note and not completion.text:
        raise InputError(completion.note)
    yield completion.text
    return completion.finished

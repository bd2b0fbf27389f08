"""The models that a page can talk with: those that the command names, and those of the runs that are shown."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from collections.abc import Generator as Pieces
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from seelevel.errors import InputError
from seelevel.models import load_generator
from seelevel.models.backend import TRANSFORMERS
from seelevel.models.base import (
    DEFAULT_API,
    Completion,
    Generator,
    ModelRef,
    Prompt,
    Sampling,
    is_object,
    is_server,
    streamed,
)
from seelevel.models.conditioned import Conditioned
from seelevel.models.conditions import read_conditions
from seelevel.naming import ORACLE, WORLD, Names, named_generator

if TYPE_CHECKING:
    from seelevel.recipe import Recipe

WAIT = 0.2
"""Seconds after which a wait for the model gives an empty piece, so that whoever reads can stop it."""
_loading = threading.Lock()
Load = Callable[[ModelRef], Generator]


class Voice:
    """A model that is loaded when it is first asked and gives one answer at a time: a `Generator`.

    label: what the page calls it. Without its condition: `speaker` adds that.
    """

    def __init__(self, ref: ModelRef, label: str, load: Load = load_generator) -> None:
        self.ref, self.label, self._load = ref, label, load
        self._model: Generator | None = None
        self._alone = threading.Lock()

    @property
    def name(self) -> str:
        return self.ref.name

    @property
    def loaded(self) -> bool:
        return self._model is not None

    def describe(self) -> str:
        return self.label if self._model is None else self._model.describe()

    def speaker(self) -> Generator:
        """The model as it is asked: under a condition, if it was trained on conditions. Loads nothing."""
        path = self.ref.path
        conditions = None if is_server(path) or is_object(path) else read_conditions(Path(path))
        return self if conditions is None else Conditioned(self, conditions, self.ref.condition)

    @property
    def has_conditions(self) -> bool:
        try:
            return isinstance(self.speaker(), Conditioned)
        except InputError:  # its file is broken, which whoever asks the model is told
            return False

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        with self._alone:
            return self._ready().generate(prompts, sampling)

    def stream(self, prompt: Prompt, sampling: Sampling) -> Pieces[str, None, bool]:
        """The pieces of one answer; empty ones while another answer is given."""
        while not self._alone.acquire(timeout=WAIT):
            yield ""
        try:
            return (yield from streamed(self._ready(), prompt, sampling))
        finally:
            self._alone.release()

    def _ready(self) -> Generator:
        if self._model is None:
            with _loading:  # libraries are imported and models made one at a time
                model = self._load(self.ref)
            self._model = model.model if isinstance(model, Conditioned) else model
        return self._model


class Voices:
    """names: models as `seelevel chat` takes them; runs: run folders by what the page calls them; judge: the model that
    judges answers. Raises `InputError` for a name that means no model."""

    def __init__(
        self, names: Sequence[str], runs: Sequence[tuple[str, Path]], judge: str | None, load: Load = load_generator
    ) -> None:
        self.runs, self.load = runs, load
        self._by_path: dict[str, Voice] = {}
        voices = dict.fromkeys(self._voice(named_generator(name, DEFAULT_API), name) for name in names)
        self._named = {f"m{n}": voice for n, voice in enumerate(voices)}
        self.judge = None if judge is None else named_generator(judge, DEFAULT_API)
        self._recipe = lru_cache(maxsize=None)(_recipe)
        self._alone = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._named or self.runs)

    def choices(self) -> dict[str, Voice]:
        """The models by a short key that stays. A run's aligned model is there once it has been trained."""
        with self._alone:
            choices = dict(self._named)
            for number, (name, folder) in enumerate(self.runs):
                for part, ref in self._of_run(folder).items():
                    voice = self._voice(ref, f"{name}: {part}")
                    if voice not in choices.values():
                        choices[f"r{number}-{part}"] = voice
        return choices

    def judging(self, name: str | None) -> Voice | None:
        """The judge; the oracle if the name is its."""
        ref = named_generator(ORACLE, DEFAULT_API) if name == ORACLE else self.judge
        with self._alone:
            return None if ref is None else self._voice(ref, ref.name)

    def is_of_the_world(self, folder: Path | None) -> bool:
        """Whether a run's pictures are the embedded world's, so that its oracle can judge what is said of them."""
        recipe = None if folder is None else self._recipe(folder)
        return recipe is not None and recipe.data.prompts.startswith(WORLD)

    def _of_run(self, folder: Path) -> dict[str, ModelRef]:
        """A run's base and aligned model, those that are there, with transformers: a page waits for one answer."""
        recipe, refs = self._recipe(folder), dict[str, ModelRef]()
        if recipe is None:
            return refs
        names = Names(recipe, folder)
        ways: dict[str, Callable[[], ModelRef]] = {
            "base": lambda: names.answering(recipe.align.model),
            "aligned": names.aligned,
        }
        for part, way in ways.items():
            try:
                ref = way()
            except InputError:  # it is not made yet, or gone
                continue
            if names.made_in(recipe.align.model) is None or part != "base" or Path(ref.path).is_dir():
                refs[part] = replace(ref, backend=TRANSFORMERS)
        return refs

    def _voice(self, ref: ModelRef, label: str) -> Voice:
        """One voice per model, however it is named."""
        return self._by_path.setdefault(f"{ref.path} {ref.condition}", Voice(ref, label, self.load))


def _recipe(folder: Path) -> Recipe | None:
    from seelevel.recipe import load_recipe  # late: it takes a quarter of the command's start

    try:
        return load_recipe(str(folder / "recipe.yaml"))
    except InputError:  # a folder without a recipe of this version has no models that could be named
        return None

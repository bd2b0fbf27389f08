"""Which models of the opened runs are compared, and their comparison, kept while the files stay as they are."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any
from urllib.parse import urlencode

import yaml
from starlette.datastructures import QueryParams

from seelevel.compare.figures import Comparisons, measured
from seelevel.compare.sides import RunSide, Side, open_evaluated, share
from seelevel.errors import InputError
from seelevel.report.reading import RunFolder
from seelevel.view.collection import Collection
from seelevel.view.compared_items import Items
from seelevel.view.figures import stamp_of

MOST = len(ascii_uppercase)
"""Models that can be compared."""
KEPT = 3
"""Comparisons that are kept in memory."""
PATIENCE = 3.0
"""Seconds that a page waits for figures."""
FILES = (
    "recipe.yaml",
    "metrics.json",
    *(f"{folder}*/{name}" for folder in ("", "rounds/*/") for name in ("manifest.json", "begun.json")),
    "evaluate/*/*.jsonl",
)
"""What says which models a run has evaluated, and how."""
Stamp = tuple[tuple[str, int, int], ...]
"""Path, size and time of change of each file."""
Model = tuple[int, str]
"""A run's number among what was opened, and the name of one of its models."""


@dataclass(frozen=True)
class Evaluated:
    """An opened run with the names of its evaluated models, in the order of training. trouble: why it has none."""

    number: int
    name: str
    models: tuple[str, ...]
    trouble: str = ""


@dataclass(frozen=True)
class Choice:
    """The models that are compared; differences are from the first."""

    models: tuple[Model, ...]

    @classmethod
    def of(cls, query: QueryParams, runs: Sequence[Evaluated]) -> Choice:
        """The models that an address names as `side=0:base`, else base and aligned of one run. `first` names the one
        of them that the others are compared with. Raises `InputError` for a model that there is not, and for fewer
        than two."""
        named = query.getlist("side")
        named.sort(key=lambda name: name != query.get("first"))
        there = {f"{run.number}:{model}": (run.number, model) for run in runs for model in run.models}
        if unknown := next((name for name in named if name not in there), None):
            raise InputError(f"there is no model '{unknown:.60}' to compare (any more); choose others")
        models = tuple(there[name] for name in dict.fromkeys(named)) or _pair(runs)
        if len(models) < 2:
            raise InputError("a comparison needs two models; choose another one" if there else "nothing is evaluated")
        if len(models) > MOST:
            raise InputError(f"at most {MOST} models can be compared; choose fewer")
        return cls(models)

    def query(self, **more: Any) -> str:
        """The choice as the query of an address, with other values; those that are empty are left out."""
        sides = [("side", f"{number}:{model}") for number, model in self.models]
        return urlencode([*sides, *((name, value) for name, value in more.items() if value != "")])

    @property
    def runs(self) -> set[int]:
        return {number for number, _ in self.models}


def _pair(runs: Sequence[Evaluated]) -> tuple[Model, ...]:
    """Base and aligned of the first run that has both, else two models of the first evaluated one."""
    evaluated = [run for run in runs if run.models]
    if not evaluated:
        return ()
    run = next((run for run in evaluated if {"base", "aligned"} <= {*run.models}), evaluated[0])
    pair = [model for model in run.models if model in ("base", "aligned")]
    return tuple((run.number, model) for model in (pair if len(pair) == 2 else run.models[:2]))


class Kept:
    """The items that models share, at once; and their figures, which take longer, as soon as they are there.

    Raises `InputError` as `share` does. root: where relative paths of pictures start.
    """

    def __init__(self, sides: Sequence[Side]) -> None:
        self.sides, self.root = sides, sides[0].root
        self.shared, self.notes = share(sides)
        self.items = {shared.scorer.name: Items(shared) for shared in self.shared}
        self._figures: Future[Comparisons] = Future()
        threading.Thread(target=self._measure, daemon=True).start()

    def _measure(self) -> None:
        try:
            for items in self.items.values():
                with suppress(InputError):  # the page of its items tells it
                    items.prepare()
            self._figures.set_result(measured(self.sides, self.shared, self.notes))
        except BaseException as error:
            self._figures.set_exception(error)  # whoever asks for them gets it

    def figures(self, patience: float) -> Comparisons | None:
        """The figures; None if they are not there after so many seconds. Raises `InputError` as `measured` does."""
        try:
            return self._figures.result(patience)
        except TimeoutError:
            return None

    def benchmark(self, name: str) -> Items:
        """The items of a benchmark; an empty name: of the first. Raises `InputError` if there is none."""
        name = name or next(iter(self.items))
        if name not in self.items:
            raise InputError(f"benchmark '{name:.60}' is not compared; choose another one")
        return self.items[name]


class Runs:
    """The runs among what was opened. Their files are looked at on every call, and read when they have changed."""

    def __init__(self, collections: Sequence[Collection]) -> None:
        self.collections = collections
        self._opened: dict[int, tuple[Stamp, RunFolder | None, Evaluated]] = {}
        self._kept: OrderedDict[tuple[Model, ...], tuple[tuple[Stamp, ...], Kept | InputError]] = OrderedDict()
        self._making, self._keeping = threading.Lock(), threading.Lock()

    @property
    def roots(self) -> dict[int, Path]:
        return {n: c.run for n, c in enumerate(self.collections) if c.run is not None}

    def evaluated(self) -> list[Evaluated]:
        """Every run, also those that are not evaluated."""
        return [self._open(number)[2] for number in self.roots]

    def chosen(self, query: QueryParams) -> Choice:
        """The models that an address names. If it names none: the aligned ones of all runs, if there are several of
        the same questions; else as `Choice.of`, whose errors are raised."""
        runs = self.evaluated()
        aligned = tuple((run.number, "aligned") for run in runs if "aligned" in run.models)
        if not query.getlist("side") and 1 < len(aligned) <= MOST:
            with suppress(InputError):  # other questions
                self.comparison(choice := Choice(aligned))
                return choice
        return Choice.of(query, runs)

    def comparison(self, choice: Choice) -> Kept:
        """Compare models, or take the comparison that was made of the same files. Raises `InputError` as `share`
        does."""
        kept = self._lookup(choice)
        if kept is None:
            with self._making:  # two pages of one comparison make it once
                kept = self._lookup(choice) or self._make(choice)
        if isinstance(kept, InputError):
            raise InputError(str(kept))
        return kept

    def _stamps(self, choice: Choice) -> tuple[Stamp, ...]:
        return tuple(_stamp(self.roots[number]) for number in sorted(choice.runs))

    def _lookup(self, choice: Choice) -> Kept | InputError | None:
        stamps = self._stamps(choice)
        with self._keeping:
            before, kept = self._kept.get(choice.models, (None, None))
            if before != stamps:
                return None
            self._kept.move_to_end(choice.models)
            return kept

    def _make(self, choice: Choice) -> Kept | InputError:
        stamps = self._stamps(choice)
        with self._keeping:  # an outdated one goes first, so that memory never holds both
            self._kept.pop(choice.models, None)
            while len(self._kept) >= KEPT:
                self._kept.popitem(last=False)
        kept = self._compare(choice)
        with self._keeping:
            self._kept[choice.models] = stamps, kept
        return kept

    def _compare(self, choice: Choice) -> Kept | InputError:
        try:
            return Kept(list(self._sides(choice)))
        except InputError as error:
            return error

    def _sides(self, choice: Choice) -> Iterator[RunSide]:
        for label, (number, model) in zip(ascii_uppercase, choice.models, strict=False):
            _, run, evaluated = self._open(number)
            if run is None or model not in evaluated.models:
                raise InputError(evaluated.trouble or f"{evaluated.name}: model '{model:.60}' is gone; choose another")
            yield RunSide(label, run, model)

    def _open(self, number: int) -> tuple[Stamp, RunFolder | None, Evaluated]:
        root, name = self.roots[number], self.collections[number].name
        stamp = _stamp(root)
        opened = self._opened.get(number)
        if opened is not None and opened[0] == stamp:
            return opened
        run: RunFolder | None = None
        try:
            run, models = open_evaluated(root)
            evaluated = Evaluated(number, name, tuple(models), "" if models else f"{root}: no answers; evaluate it")
        except InputError as error:
            evaluated = Evaluated(number, name, (), str(error))
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            evaluated = Evaluated(number, name, (), f"{root}: its files cannot be read ({error!s:.200}); run it again")
        self._opened[number] = stamp, run, evaluated
        return self._opened[number]


def _stamp(root: Path) -> Stamp:
    """Size and time of change of the files that a comparison depends on."""
    paths = sorted(path for pattern in FILES for path in root.glob(pattern))
    return tuple((str(path), *stamp) for path in paths if (stamp := stamp_of(path)) is not None)  # None: gone meanwhile

"""The compared models, and the items that all of them have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Protocol

from seelevel.errors import InputError
from seelevel.report.reading import RunFolder, read_run
from seelevel.scorers.scorer import Scorer

Item = dict[str, Any]
Key = tuple[str, int]
"""An item's id, and how many items before it in its file have that id."""


class Side(Protocol):
    """One of the compared models. `label`: A, B, C, …; `root`: its folder or file; `side`: its name in there."""

    @property
    def label(self) -> str: ...

    @property
    def root(self) -> Path: ...

    @property
    def side(self) -> str: ...

    @property
    def name(self) -> str:
        """As the command line names it."""
        ...

    @property
    def model(self) -> str: ...

    @property
    def settings(self) -> Mapping[str, Any]: ...

    @property
    def scorers(self) -> Sequence[Scorer]: ...

    def file(self, benchmark: str) -> Path: ...

    def items(self, benchmark: str) -> dict[Key, Item]:
        """The benchmark's items by id, in the file's order. Empty if there are none."""
        ...


@dataclass(frozen=True)
class RunSide:
    """A model of a run: `side` is the name of its folder in `RUN/evaluate`."""

    label: str
    run: RunFolder
    side: str

    @property
    def name(self) -> str:
        return f"{self.run.root}:{self.side}"

    @property
    def root(self) -> Path:
        return self.run.root

    @property
    def scorers(self) -> Sequence[Scorer]:
        return self.run.scorers

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of the run's evaluation."""
        return (self.run.metrics or {}).get("settings") or {}

    @property
    def model(self) -> str:
        return str(self.settings.get(self.side, ""))

    def file(self, benchmark: str) -> Path:
        return self.run.root / "evaluate" / self.side / f"{benchmark}.jsonl"

    def items(self, benchmark: str) -> dict[Key, Item]:
        return keyed(self.run.answers(self.side, benchmark), self.file(benchmark))


def keyed(items: Sequence[Item], file: Path) -> dict[Key, Item]:
    """Items by id, each with what is resampled as a whole. Raises InputError for one without id or answer."""
    seen = Counter[str]()
    by_key: dict[Key, Item] = {}
    for item in items:
        if not isinstance(item, dict) or "id" not in item or "answer" not in item:
            raise InputError(f"{file}: a record without id or answer; evaluate the run again")
        name = str(item["id"])
        by_key[name, seen[name]] = {**item, "cluster": _cluster(item)}
        seen[name] += 1
    return by_key


def _cluster(item: Item) -> str:
    """What is resampled as a whole: the item's `group`, else the dialogue, or the picture with its questions."""
    dialogue = isinstance(item.get("question"), list)
    return str(item.get("group") or (item["id"] if dialogue else item.get("image")))


@dataclass(frozen=True)
class Shared:
    """A benchmark's items that all sides have, by side, in the same order.

    lacking: how many of the other sides' items a side lacks. left_out: how many items not all sides have.
    """

    scorer: Scorer
    items: Mapping[str, Sequence[Item]]
    lacking: Mapping[str, int]
    left_out: int


def open_run(label: str, name: str) -> RunSide:
    """The model of `RUN` (its aligned model) or `RUN:SIDE`. Raises InputError for a run that is not evaluated, and for
    a side that it lacks."""
    place, colon, side = name.rpartition(":")
    root, side = (Path(name), "aligned") if Path(name).is_dir() or not colon else (Path(place), side)
    run, sides = open_evaluated(root)
    if side not in sides:
        raise InputError(f"{root}: no model '{side}' was evaluated; it has {', '.join(sides) or 'none'}")
    return RunSide(label, run, side)


def open_evaluated(root: Path) -> tuple[RunFolder, list[str]]:
    """A run, and the names of the models that it has evaluated: base, rounds and steps of training, others, control,
    aligned. Raises InputError for a run that is not evaluated."""
    run = read_run(root)
    stage = run.stages["evaluate"]
    if not stage.done or run.metrics is None:
        state = stage.state if not stage.done else "without its metrics.json"
        raise InputError(f"{root}: evaluate is {state}; run `seelevel evaluate` on its recipe first")
    return run, sorted({file.parent.name for file in stage.path.glob("*/*.jsonl")}, key=_in_training)


def _in_training(side: str) -> tuple[int, int, str]:
    """Sorts the models of a run by when training makes them."""
    kind, _, number = side.rpartition("-")
    place = {"base": 0, "round": 1, "step": 2, "control": 4, "aligned": 5}.get(kind or side, 3)
    return place, int(number) if number.isdecimal() else 0, side


def share(sides: Sequence[Side]) -> tuple[list[Shared], list[str]]:
    """The benchmarks that all sides have, and one line for each other one.

    Raises InputError if an item is another question in another run, and if nothing can be compared.
    """
    scorers = {scorer.name: scorer for side in sides for scorer in side.scorers}
    shared, notes = list[Shared](), list[str]()
    for name, scorer in scorers.items():
        items = {side.label: side.items(name) for side in sides}
        if not any(items.values()):
            continue
        joined = _join(scorer, sides, items)
        if isinstance(joined, Shared):
            shared.append(joined)
        else:
            notes.append(f"{name}: left out; {joined}")
    if not shared:
        reasons = "; ".join(notes) or "there are no answers"
        raise InputError(f"{sides[0].name} and the others: nothing to compare ({reasons}); evaluate the same questions")
    return shared, notes


def _join(scorer: Scorer, sides: Sequence[Side], items: Mapping[str, Mapping[Key, Item]]) -> Shared | str:
    """The shared items of a benchmark, or why there are none."""
    if without := [label for label, by_key in items.items() if not by_key]:
        return f"no answers in {' and '.join(without)}"
    if scorer.measures is None:
        return "its scorer has no `measures`"
    first = sides[0]
    for side in sides[1:]:
        for setting in scorer.scored_by:
            ours, theirs = (_setting(of, setting, scorer.name) for of in (first, side))
            if ours != theirs and setting in first.settings and setting in side.settings:
                return f"{setting} is {ours} in {first.label} and {theirs} in {side.label}"
    keys = [key for key in items[first.label] if all(key in by_key for by_key in items.values())]
    for side in sides[1:]:
        for key in keys:
            _refuse_other_question(scorer.name, first, side, items[first.label][key], items[side.label][key])
    if not keys:
        return "no item is in all of them: they are other questions"
    every = reduce(set.union, (set(by_key) for by_key in items.values()), set[Key]())
    return Shared(
        scorer,
        {label: [by_key[key] for key in keys] for label, by_key in items.items()},
        {label: len(every) - len(by_key) for label, by_key in items.items()},
        len(every) - len(keys),
    )


def _setting(side: Side, name: str, benchmark: str) -> Any:
    """A setting of a run's evaluation; of one with an entry for each benchmark, this benchmark's."""
    value = side.settings.get(name)
    return value.get(benchmark, value) if isinstance(value, Mapping) else value


def _refuse_other_question(benchmark: str, first: Side, side: Side, ours: Item, theirs: Item) -> None:
    """Raise InputError if two items of one id have other questions, pictures or reference answers.

    A picture's folder does not count: it may be inside the run.
    """
    for what, one, other in (
        ("asks", ours.get("question"), theirs.get("question")),
        ("is about", _picture(ours), _picture(theirs)),
        ("expects", ours.get("reference"), theirs.get("reference")),
    ):
        if one != other:
            raise InputError(
                f"{side.file(benchmark)}: item {str(ours['id'])!r:.60} {what} {other!r:.100}, but in "
                f"{first.file(benchmark)} {one!r:.100}; compare runs of the same questions"
            )


def _picture(item: Item) -> str:
    return Path(str(item.get("image"))).name

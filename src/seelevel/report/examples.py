"""Examples of both models' answers: which got better, which got worse, and how many of each there are.

The answers are read from `evaluate/base/<name>.jsonl` and `evaluate/aligned/<name>.jsonl` and joined by id. Examples
are chosen by their scores alone, as many of one direction as of the other. A control's answers stand beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seelevel.report.pictures import Album, Picture
from seelevel.report.reading import RunFolder
from seelevel.report.sample import largest
from seelevel.scorers.views import BenchmarkView, Item, Reply, Round

Pair = tuple[Item, Item]


@dataclass(frozen=True)
class Example:
    """One item of a benchmark with both answers. `controls`: the control's answer in each round, if there is one."""

    id: str
    title: str
    picture: Picture
    rounds: list[Round]
    short: bool = False
    alt: str = ""
    sides: tuple[str, str] = ("base", "aligned")
    controls: tuple[Reply, ...] = ()


@dataclass(frozen=True)
class Group:
    """A benchmark's examples. `words` says how many items changed in which direction; `key` explains the marks."""

    title: str
    words: str
    better: list[Example]
    worse: list[Example]
    key: str = ""


def read_examples(run: RunFolder, wanted: int, album: Album) -> list[Group]:
    """One group per view of a scorer, if both models have answered its benchmark."""
    groups = []
    for scorer in run.scorers:
        base, control = (_by_id(run.answers(side, scorer.name)) for side in ("base", "control"))
        pairs = [(base[key], item) for item in run.answers("aligned", scorer.name) if (key := str(item["id"])) in base]
        for view in scorer.views:
            if shown := [pair for pair in pairs if view.applies(*pair)]:
                of_model = view.sides == ("base", "aligned")  # not two answers of the aligned model
                groups.append(_group(view, shown, control if of_model else {}, wanted, run.root, album))
    return groups


def _by_id(items: Sequence[Item]) -> dict[str, Item]:
    return {str(item["id"]): item for item in items}


def _group(
    view: BenchmarkView, pairs: Sequence[Pair], control: Mapping[str, Item], wanted: int, root: Path, album: Album
) -> Group:
    gains = [(gain, pair) for pair in pairs if (gain := view.gain(*pair)) is not None]
    better, worse = [g for g in gains if g[0] > 0], [g for g in gains if g[0] < 0]
    same, unscored = len(gains) - len(better) - len(worse), len(pairs) - len(gains)
    words = (
        f"Of {len(gains):,} {view.things}, {len(better):,} {view.verbs[0]}, {len(worse):,} {view.verbs[1]} and "
        f"{same:,} {view.verbs[2]}{view.by}."
    )
    if unscored:
        words += f" {unscored:,} could not be scored on both sides."
    words += _beside_control(view, pairs, control)

    def examples(weighed: Sequence[tuple[float, Pair]], title: Callable[[Item, Item], str]) -> list[Example]:
        return [
            _example(view, base, aligned, control, title(base, aligned), album.picture(_place(base.get("image"), root)))
            for base, aligned in largest(_unique(weighed), (wanted + 1) // 2 if view.long else wanted)
        ]

    return Group(view.title, words, examples(better, view.better), examples(worse, view.worse), view.key)


def _example(
    view: BenchmarkView, base: Item, aligned: Item, control: Mapping[str, Item], title: str, picture: Picture
) -> Example:
    rounds, controls = view.rounds(base, aligned), tuple[Reply, ...]()
    if (item := control.get(str(base["id"]))) is not None:
        scored = view.gain(base, item) is not None
        replies = [shown.aligned for shown in view.rounds(base, item)] if scored else []
        reason = "no further answer" if scored else "not scored"
        controls = tuple(replies[n] if n < len(replies) else Reply("", missing=reason) for n in range(len(rounds)))
    return Example(str(base["id"]), title, picture, rounds, view.short, _alternative(base), view.sides, controls)


def _beside_control(view: BenchmarkView, pairs: Sequence[Pair], control: Mapping[str, Item]) -> str:
    """How often the aligned model's answer is better or worse than the control's; empty without a control."""
    beside = [(control[key], aligned) for _, aligned in pairs if (key := str(aligned["id"])) in control]
    gains = [gain for pair in beside if (gain := view.gain(*pair)) is not None]
    if not gains:
        return ""
    better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    return (
        f" Beside the control's answers, {better:,} of {len(gains):,} are better, {worse:,} are worse and "
        f"{len(gains) - better - worse:,} are as good."
    )


def _unique(weighed: Sequence[tuple[float, Pair]]) -> list[tuple[float, Pair]]:
    """Each question about a picture once: several question sets may have the same one."""
    first: dict[str, tuple[float, Pair]] = {}
    for gain, pair in weighed:
        first.setdefault(repr((pair[0].get("image"), pair[0]["question"])), (gain, pair))
    return list(first.values())


def _alternative(item: Item) -> str:
    """The picture in words, for readers who cannot see it."""
    reference = item.get("reference") or {}
    contents = reference.get("objects") or reference.get("image_content") or []
    return f"Picture with {', '.join(map(str, contents))}" if contents else f"Picture of question {item['id']}"


def _place(image: Any, root: Path) -> Path | None:
    """A picture's file; relative paths start at the run folder."""
    return root / str(image) if image else None

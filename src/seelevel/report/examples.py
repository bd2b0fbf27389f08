"""Examples of both models' answers: which got better, which got worse, and how many of each there are.

The answers are read from `evaluate/base/<name>.jsonl` and `evaluate/aligned/<name>.jsonl` and joined by id. Examples
are chosen by their scores alone, as many of one direction as of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seelevel.report.pictures import Album, Picture
from seelevel.report.reading import RunFolder
from seelevel.report.sample import largest
from seelevel.scorers.views import BenchmarkView, Item, Round

Pair = tuple[Item, Item]


@dataclass(frozen=True)
class Example:
    """One item of a benchmark with both answers."""

    id: str
    title: str
    picture: Picture
    rounds: list[Round]
    short: bool = False
    alt: str = ""
    sides: tuple[str, str] = ("base", "aligned")


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
        base = {str(item["id"]): item for item in run.answers("base", scorer.name)}
        pairs = [(base[key], item) for item in run.answers("aligned", scorer.name) if (key := str(item["id"])) in base]
        for view in scorer.views:
            if shown := [pair for pair in pairs if view.applies(*pair)]:
                groups.append(_group(view, shown, wanted, run.root, album))
    return groups


def _group(view: BenchmarkView, pairs: Sequence[Pair], wanted: int, root: Path, album: Album) -> Group:
    gains = [(gain, pair) for pair in pairs if (gain := view.gain(*pair)) is not None]
    better, worse = [g for g in gains if g[0] > 0], [g for g in gains if g[0] < 0]
    same, unscored = len(gains) - len(better) - len(worse), len(pairs) - len(gains)
    words = (
        f"Of {len(gains):,} {view.things}, {len(better):,} {view.verbs[0]}, {len(worse):,} {view.verbs[1]} and "
        f"{same:,} {view.verbs[2]}{view.by}."
    )
    if unscored:
        words += f" {unscored:,} could not be scored on both sides."

    def examples(weighed: Sequence[tuple[float, Pair]], title: Callable[[Item, Item], str]) -> list[Example]:
        return [
            Example(
                str(base["id"]),
                title(base, aligned),
                album.picture(_place(base.get("image"), root)),
                view.rounds(base, aligned),
                view.short,
                _alternative(base),
                view.sides,
            )
            for base, aligned in largest(_unique(weighed), (wanted + 1) // 2 if view.long else wanted)
        ]

    return Group(view.title, words, examples(better, view.better), examples(worse, view.worse), view.key)


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

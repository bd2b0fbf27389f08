"""Examples of both models' answers: what got better, what got worse, and how common each is.

A benchmark is read as evaluate writes it (`evaluate/base/<name>.jsonl`, `evaluate/aligned/<name>.jsonl`), joined by id.
Examples are picked by their scores alone, as many of one direction as of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seelevel.report.pictures import Album, Picture
from seelevel.report.reading import RunFolder
from seelevel.report.sample import largest
from seelevel.scorers.chair import _chair_gain, _chair_rounds, _invented
from seelevel.scorers.mrhal import _dialogue_gain, _dialogue_rounds, _means
from seelevel.scorers.refinement import CONVERSATIONS, conditions
from seelevel.scorers.views import BenchmarkView, Item, Round, _right_gain, _right_rounds

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
    """A benchmark's examples. `words` says how many items changed which way; `key` explains the marks."""

    title: str
    words: str
    better: list[Example]
    worse: list[Example]
    key: str = ""


def read_examples(run: RunFolder, wanted: int, album: Album) -> list[Group]:
    """A group for each known benchmark that both models have answered."""
    evaluated = (run.metrics or {}).get("settings") or {}  # the recipe may say another condition: `--set` changes one
    groups, asked_for = [], str(evaluated.get("condition") or run.setting("evaluate", "condition") or "top")
    for name, benchmark in BENCHMARKS.items():
        base = {str(item["id"]): item for item in run.answers("base", name)}
        pairs = [(base[key], item) for item in run.answers("aligned", name) if (key := str(item["id"])) in base]
        if pairs:
            groups.append(_group(benchmark, pairs, wanted, run.root, album))
        both = [(item, item) for _, item in pairs if "worst_answer" in item]
        if both:
            groups.append(_group(conditions(asked_for), both, wanted, run.root, album))
    return groups


def _group(benchmark: BenchmarkView, pairs: Sequence[Pair], wanted: int, root: Path, album: Album) -> Group:
    gains = [(gain, pair) for pair in pairs if (gain := benchmark.gain(*pair)) is not None]
    better, worse = [g for g in gains if g[0] > 0], [g for g in gains if g[0] < 0]
    same, unscored = len(gains) - len(better) - len(worse), len(pairs) - len(gains)
    words = (
        f"Of {len(gains):,} {benchmark.things}, {len(better):,} {benchmark.verbs[0]}, {len(worse):,} "
        f"{benchmark.verbs[1]} and {same:,} {benchmark.verbs[2]}{benchmark.by}."
    )
    if unscored:
        words += f" {unscored:,} could not be scored on both sides."

    def shown(found: Sequence[tuple[float, Pair]], title: Callable[[Item, Item], str]) -> list[Example]:
        return [
            Example(
                str(base["id"]),
                title(base, aligned),
                album.picture(_place(base.get("image"), root)),
                benchmark.rounds(base, aligned),
                benchmark.short,
                _words_for(base),
                benchmark.sides,
            )
            for base, aligned in largest(_once(found), (wanted + 1) // 2 if benchmark.long else wanted)
        ]

    return Group(benchmark.title, words, shown(better, benchmark.better), shown(worse, benchmark.worse), benchmark.key)


def _once(found: Sequence[tuple[float, Pair]]) -> list[tuple[float, Pair]]:
    """Each question about a picture once: the same one may stand in several question sets."""
    first: dict[str, tuple[float, Pair]] = {}
    for gain, pair in found:
        first.setdefault(repr((pair[0].get("image"), pair[0]["question"])), (gain, pair))
    return list(first.values())


def _words_for(item: Item) -> str:
    """What a picture shows, as far as the item says, for those who cannot see it."""
    reference = item.get("reference") or {}
    there = reference.get("objects") or reference.get("image_content") or []
    return f"Picture with {', '.join(map(str, there))}" if there else f"Picture of question {item['id']}"


def _place(image: Any, root: Path) -> Path | None:
    """A picture's file; relative paths start at the run folder."""
    return root / str(image) if image else None


# -- CHAIR -------------------------------------------------------------------------------------------------------------


# -- yes or no, and one right answer -----------------------------------------------------------------------------------


# -- dialogues ---------------------------------------------------------------------------------------------------------


BENCHMARKS = {
    "chair": BenchmarkView(
        "Descriptions (CHAIR)",
        "descriptions",
        ", by the number of invented objects",
        _chair_gain,
        _chair_rounds,
        lambda b, a: f"Better: {_invented(b)} → {_invented(a)} invented",
        lambda b, a: f"Worse: {_invented(b)} → {_invented(a)} invented",
        key="names an object that is not in the picture",
    ),
    "mrhal": BenchmarkView(
        "Dialogues (MRHal)",
        "dialogues",
        ", by the judge's mean rating",
        _dialogue_gain,
        _dialogue_rounds,
        lambda b, a: f"Better: {_means(b, a)}",
        lambda b, a: f"Worse: {_means(b, a)}",
        long=True,
    ),
    "feedback": CONVERSATIONS,
    "pope": BenchmarkView(
        "Is there a …? (POPE)",
        "questions",
        "",
        _right_gain,
        _right_rounds,
        lambda b, a: "Better: wrong → right",
        lambda b, a: "Worse: right → wrong",
        short=True,
    ),
    "capability": BenchmarkView(
        "Colour, count and place (capability)",
        "questions",
        "",
        _right_gain,
        _right_rounds,
        lambda b, a: "Better: wrong → right",
        lambda b, a: "Worse: right → wrong",
        short=True,
    ),
}

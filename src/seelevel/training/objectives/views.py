"""Second views of ladders: answers given another picture than their own. Torch-free.

An objective that compares pictures names, for every ladder, the views that it needs. A view goes through the model as
a ladder of its own, in the same pass as its ladder. Random numbers depend on the seed and on the ladder's id, or its
interaction's, alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from seelevel.images import Crop, Picture
from seelevel.ladder import IMAGE_MARK, Ladder, Response

Partners = Literal["similar", "random"]
CANDIDATES = 64
"""Ladders of which the most similar one becomes a partner."""


@dataclass(frozen=True)
class View:
    """Responses to a ladder's prompt, given these pictures."""

    pictures: tuple[Picture, ...]
    responses: tuple[Response, ...]

    def interaction(self, ladder: Ladder, name: str) -> str:
        """The id by which it shares prefixes: with its own ladder if their pictures are the same, else with the views
        of this name in the other rounds."""
        same_pictures = self.pictures == files_of(ladder)
        return ladder.interaction if same_pictures else f"{ladder.interaction} ({name})"


def best_of(ladder: Ladder) -> tuple[Response, ...]:
    """The responses of the best level."""
    return tuple(response for response in ladder.responses if response.level == min(ladder.levels))


def files_of(ladder: Ladder) -> tuple[str, ...]:
    """The paths of a ladder's pictures."""
    return tuple(image.path for image in ladder.images)


def cropped(ladders: Sequence[Ladder], seed: int, kept: tuple[float, float]) -> list[tuple[Picture, ...] | None]:
    """A random part of each of a ladder's pictures; None for a ladder without one.

    kept: the smallest and the largest share of a picture's area that stays. The share is uniform, the part has the
    picture's proportions, and its place is uniform. The rounds of an interaction get the same parts.
    """
    parts = list[tuple[Picture, ...] | None]()
    for ladder in ladders:
        draw = random.Random(f"{seed}/{ladder.interaction}/crop")
        parts.append(tuple(_part(path, draw, kept) for path in files_of(ladder)) or None)
    return parts


def _part(path: str, draw: random.Random, kept: tuple[float, float]) -> Crop:
    side = draw.uniform(*kept) ** 0.5
    left, top = (draw.uniform(0, 1 - side) for _ in range(2))
    return Crop(path, (left, top, left + side, top + side))


def exchanged(ladders: Sequence[Ladder], seed: int) -> list[tuple[Picture, ...] | None]:
    """The pictures of another ladder that has as many of them; None for a ladder without pictures, or if no other
    ladder has different ones. The rounds of an interaction get the same ones."""
    shown: dict[int, dict[tuple[str, ...], tuple[str, ...]]] = {}
    for ladder in ladders:
        shown.setdefault(len(ladder.images), {}).setdefault(_identity(ladder), files_of(ladder))
    order = {count: sorted(names) for count, names in shown.items()}
    places = {name: place for names in order.values() for place, name in enumerate(names)}
    others = list[tuple[Picture, ...] | None]()
    for ladder in ladders:
        names = order[len(ladder.images)]
        if not ladder.images or len(names) < 2:
            others.append(None)
            continue
        place = random.Random(f"{seed}/{ladder.interaction}/other").randrange(len(names) - 1)
        place += place >= places[_identity(ladder)]
        others.append(shown[len(ladder.images)][names[place]])
    return others


def _identity(ladder: Ladder) -> tuple[str, ...]:
    return tuple(image.sha256 or image.path for image in ladder.images)


def partners(ladders: Sequence[Ladder], seed: int, which: Partners) -> Iterator[Ladder | None]:
    """For each ladder another one with the same prompt, other pictures and another best answer; None if there is none.

    `random`: any of them. `similar`: of `CANDIDATES` drawn ones, the one whose best answer shares the largest part of
    its words with the ladder's own.
    """
    groups: dict[tuple[tuple[str, str], ...], list[Ladder]] = {}
    for ladder in sorted(ladders, key=lambda ladder: ladder.id):
        if ladder.responses and _pictures_in_prompt(ladder):
            groups.setdefault(_prompt(ladder), []).append(ladder)
    words = {
        ladder.id: frozenset(best_of(ladder)[0].text.lower().split()) for group in groups.values() for ladder in group
    }
    for ladder in ladders:
        if ladder.id not in words:
            yield None
            continue
        group = groups[_prompt(ladder)]
        draw = random.Random(f"{seed}/{ladder.id}/partner")
        tried = draw.sample(group, min(CANDIDATES + 1, len(group)))
        tried = [
            other for other in tried if _identity(other) != _identity(ladder) and _answers_otherwise(other, ladder)
        ]
        if which == "similar":
            tried.sort(key=lambda other: -_overlap(words[other.id], words[ladder.id]))
        yield tried[0] if tried else None


def _prompt(ladder: Ladder) -> tuple[tuple[str, str], ...]:
    return tuple((message["role"], message["content"]) for message in ladder.prompt)


def _pictures_in_prompt(ladder: Ladder) -> bool:
    """Whether it has pictures, and all of them are in the prompt."""
    return len(ladder.images) == sum(message["content"].count(IMAGE_MARK) for message in ladder.prompt) > 0


def _answers_otherwise(other: Ladder, ladder: Ladder) -> bool:
    return best_of(other)[0].text not in {response.text for response in best_of(ladder)}


def _overlap(first: frozenset[str], second: frozenset[str]) -> float:
    return len(first & second) / max(len(first | second), 1)

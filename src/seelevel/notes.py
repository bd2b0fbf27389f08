"""What stages tell each other about a ladder and its responses.

These types travel with the object that they describe: `Response.check` with its response wherever it is sorted to,
`Ladder.check`, `Ladder.round_of`, `Ladder.feedback` and `Ladder.overrides` with their ladder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Match:
    """A noun chunk or sentence and the nearest one on the other side.

    `best` is empty if the other side has none. `start` and `end` are the chunk's place in `Response.text`; sentences
    have none (-1). `similarity` is a cosine.
    """

    text: str
    best: str
    similarity: float
    matched: bool
    start: int = -1
    end: int = -1


@dataclass(frozen=True)
class Coverage:
    """How far a response covers the standard response (AMP, arXiv 2405.11165, section 3.1.3).

    `acc` and `score` are means of a local part (noun chunks) and a global part (sentences). `chunks` are the response's
    own, each with the nearest of the standard; `standard_chunks` and `standard_sentences` are the standard's, each with
    the nearest of the response.
    """

    acc: float
    score: float
    acc_local: float
    acc_global: float
    score_local: float
    score_global: float
    chunks: tuple[Match, ...]
    standard_chunks: tuple[Match, ...]
    standard_sentences: tuple[Match, ...]


@dataclass(frozen=True)
class NamedObject:
    """An object that a response names, and the places of its words in `Response.text`: (start, end)."""

    object: str
    places: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class ObjectsNamed:
    """The objects that a response names, against those that are annotated in the picture.

    `matched` are there, `invented` are not; `missed` are there and not named. `precision` is the share of the named
    objects that are there, 0 if none is named; `recall` is the share of the annotated objects that are named.
    """

    precision: float
    recall: float
    matched: tuple[NamedObject, ...]
    invented: tuple[NamedObject, ...]
    missed: tuple[str, ...]


@dataclass(frozen=True)
class Checked:
    """A checker's result for one response. `place_before`: its place before the check, from 0.

    `coverage` comes from the auto-check, `rating` from a judge, `objects` from the check against annotations, and
    `similarities` from the check against the pictures: a cosine for each of them.
    """

    place_before: int
    coverage: Coverage | None = None
    rating: float | None = None
    objects: ObjectsNamed | None = None
    similarities: tuple[float, ...] = ()


@dataclass(frozen=True)
class Compared:
    """A judge's comparison of two responses, named by their places before the check. `better` is None for a tie."""

    of: tuple[int, int]
    better: int | None


@dataclass(frozen=True)
class CheckNote:
    """A checker's result for a ladder. `unchecked`: why it kept the order; empty if it set the levels.

    The auto-check sets `threshold`. It and the check against the pictures set `split`: the number of texts that were
    longer than the encoder reads at once. A judge sets its name, mode and replies. If it compared pairs, it also sets
    `comparisons` and the number of `circles` (A > B > C > A) among the `triples`. The check against annotated objects
    sets `rule`, and so does the auto-check if its rule is not the paper's.
    """

    checker: str
    initial_levels: tuple[int, ...]
    unchecked: str = ""
    threshold: float | None = None
    split: int = 0
    judge: str = ""
    mode: str = ""
    replies: tuple[str, ...] = ()
    comparisons: tuple[Compared, ...] = ()
    triples: int = 0
    circles: int = 0
    rule: str = ""


@dataclass(frozen=True)
class RoundOf:
    """The place of a ladder in an interaction: which one, the round from 0, and the ratings of the answer before."""

    interaction: str
    number: int
    ratings_before: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Unrated:
    """An answer without a rating: its text, the reason, and the judge's reply."""

    text: str
    reason: str
    reply: str = ""


@dataclass(frozen=True)
class FeedbackNote:
    """The feedback stage's result for a ladder.

    `answers` counts the answers of the ladder's conversation; `ratings` has one entry for each of them. `not_compared`:
    why the rated answers are a tie, if they share no rated criterion.
    """

    unscored: tuple[Unrated, ...] = ()
    answers: int = 0
    ratings: tuple[Mapping[str, int], ...] = ()
    not_compared: str = ""


@dataclass(frozen=True)
class LevelOverride:
    """A level that a person has set. `response` is a `Response.id`; `replaces` is the checker's level, once known."""

    response: str
    who: str
    to: int
    replaces: int | None = None
    why: str = ""
    when: str = ""


def read_checked(value: Mapping[str, Any]) -> Checked:
    """`Checked` from its JSON mapping."""
    coverage, objects = value.get("coverage"), value.get("objects")
    return Checked(
        **{
            **value,
            "coverage": None if coverage is None else read_coverage(coverage),
            "objects": None if objects is None else read_objects_named(objects),
            "similarities": tuple(value.get("similarities", ())),
        }
    )


def read_coverage(value: Mapping[str, Any]) -> Coverage:
    """`Coverage` from its JSON mapping."""
    lists = ("chunks", "standard_chunks", "standard_sentences")
    return Coverage(**{**value, **{name: tuple(Match(**match) for match in value[name]) for name in lists}})


def read_objects_named(value: Mapping[str, Any]) -> ObjectsNamed:
    """`ObjectsNamed` from its JSON mapping."""
    named = {
        name: tuple(NamedObject(one["object"], tuple((a, b) for a, b in one["places"])) for one in value[name])
        for name in ("matched", "invented")
    }
    return ObjectsNamed(**{**value, **named, "missed": tuple(value["missed"])})


def read_check_note(value: Mapping[str, Any]) -> CheckNote:
    """`CheckNote` from its JSON mapping."""
    compared = [Compared(tuple(entry["of"]), entry["better"]) for entry in value.get("comparisons", ())]
    levels, replies = tuple(value["initial_levels"]), tuple(value.get("replies", ()))
    return CheckNote(**{**value, "initial_levels": levels, "replies": replies, "comparisons": tuple(compared)})


def read_feedback_note(value: Mapping[str, Any]) -> FeedbackNote:
    """`FeedbackNote` from its JSON mapping."""
    unscored = tuple(Unrated(**entry) for entry in value.get("unscored", ()))
    return FeedbackNote(**{**value, "unscored": unscored, "ratings": tuple(value.get("ratings", ()))})

"""Reads the notes of shards from before November 2026: all in `notes`, with parallel lists per response.

These shards have no `check` in their responses. Today's types are in `seelevel.notes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from seelevel.fingerprints import digest
from seelevel.ladder import Ladder, Response
from seelevel.notes import (
    Checked,
    CheckNote,
    LevelOverride,
    RoundOf,
    read_check_note,
    read_coverage,
    read_feedback_note,
)

PER_RESPONSE = ("order", "responses", "ratings", "reordered")


def with_types(ladder: Ladder, notes: Mapping[str, Any]) -> Ladder:
    """The ladder with its old notes as types, as `read_ladders` returns a ladder of today."""
    free = dict(notes)
    check, feedback, overrides = free.pop("check", None), free.pop("feedback", None), free.pop("overrides", [])
    name, number, before = (free.pop(key, None) for key in ("interaction", "round", "before"))
    return replace(
        ladder,
        notes=free,
        responses=_checked(ladder.responses, check or {}, bool(overrides)),
        check=None if not check else _check_note(check),
        round_of=None if name is None or number is None else RoundOf(str(name), int(number), before or {}),
        feedback=None if feedback is None else read_feedback_note(feedback),
        overrides=tuple(_override(entry, ladder.responses) for entry in overrides),
    )


def _checked(responses: Sequence[Response], check: Mapping[str, Any], overridden: bool) -> list[Response]:
    """Each response with what the checker noted at its place. An unchecked ladder keeps its order, unless a person has
    changed it since."""
    coverages, ratings = check.get("responses"), check.get("ratings")
    kept = range(len(responses)) if "unchecked" in check and not overridden else []
    places = check.get("order", kept)
    return [
        replace(
            response,
            check=Checked(
                place_before=place,
                coverage=None if not coverages else read_coverage(coverages[n]),
                rating=None if not ratings else ratings[n],
            ),
        )
        for n, (response, place) in enumerate(zip(responses, places, strict=False))
    ] + list(responses[len(places) :])


def _check_note(check: Mapping[str, Any]) -> CheckNote:
    return read_check_note({key: value for key, value in check.items() if key not in PER_RESPONSE})


def _override(entry: Mapping[str, Any], responses: Sequence[Response]) -> LevelOverride:
    """An override from its old entry, which names the response by its text."""
    text = str(entry["text"])
    response = next((r.id for r in responses if r.text == text), digest(text))
    words = {key: str(entry.get(key, "")) for key in ("why", "when")}
    return LevelOverride(response, str(entry["who"]), int(entry["to"]), entry.get("from"), **words)

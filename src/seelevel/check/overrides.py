"""What people have changed by hand, above all levels. It replaces what a checker says and names its author.

It is in a file of JSON lines, which every run reads again:

    {"ladder": "7", "response": "llava-13b", "level": 1, "who": "Ada", "why": "the cat is there", "when": "today"}

`response` is the response's text, its model, the kind of its source, or its id. `why` and `when` are optional. All
other responses keep the checker's levels; equal levels are a tie. A ladder carries the levels in `Ladder.overrides`.

In place of `level`, or beside it: `drop` (true) leaves the response out; `text` is a new standard response, by which
the others are then checked; `critique` says what is good and bad. These are noted in `Ladder.notes["by hand"]`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from seelevel.errors import InputError
from seelevel.formats.parquet import iter_shards
from seelevel.json_text import loads
from seelevel.judge.replies import one_line
from seelevel.ladder import Feedback, Ladder, Response
from seelevel.notes import LevelOverride
from seelevel.opening import read_text
from seelevel.registry import nearest

MOST_LEVELS = 1000
"""More than any ladder has; a higher level is a typing error."""
BY_HAND = "by hand"
"""The note of a ladder that people have changed: what, which response, who, why and when, a mapping for each change."""


class Override(BaseModel):
    """One line of a file of overrides. At least one of level, drop, text and critique is given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ladder: str = Field(min_length=1)
    response: str = Field(min_length=1)
    level: int | None = Field(default=None, ge=0, lt=MOST_LEVELS, strict=True)
    drop: bool = Field(default=False, strict=True)
    text: str | None = Field(default=None, min_length=1)
    critique: str | None = Field(default=None, min_length=1)
    who: str = Field(min_length=1)
    why: str = ""
    when: str = ""

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.level is None and not self.drop and self.text is None and self.critique is None:
            raise ValueError("nothing to change; give level, drop, text or critique")
        return self


def by_hand(ladder: Ladder, overrides: Sequence[Override]) -> Ladder:
    """The ladder as people want it checked: answers dropped, edited and criticised; levels noted, not yet applied, for
    the checker must see the standard response first. Raises `InputError` if no answer is left."""
    if not overrides:
        return ladder
    changes = {place_of(ladder, override.response): override for override in overrides}
    responses, levels, notes = list[Response](), list(ladder.overrides), list[dict[str, str]]()
    for place, response in enumerate(ladder.responses):
        if (override := changes.get(place)) is None:
            responses.append(response)
            continue
        changed = _edited(response, override)
        notes += [
            {"what": what, "response": changed.id, "who": override.who, "why": override.why, "when": override.when}
            for what in ("drop", "text", "critique")
            if getattr(override, what)
        ]
        if override.drop:
            continue
        responses.append(changed)
        if override.level is not None:
            levels = [level for level in levels if level.response not in (response.id, changed.id)]
            levels.append(LevelOverride(changed.id, override.who, override.level, why=override.why, when=override.when))
    if not responses:
        raise InputError(f"ladder '{ladder.id}': overrides drop every answer; keep one")
    kept = {**ladder.notes, BY_HAND: notes} if notes else ladder.notes
    return replace(ladder, responses=responses, overrides=tuple(levels), notes=kept)


def _edited(response: Response, override: Override) -> Response:
    """The response with a new text or a critique. Raises `InputError` if a model's answer is to have another text."""
    if override.text is not None:
        if not response.is_standard or response.rounds > 1:
            raise InputError(
                f"ladder '{override.ladder}': only a standard response of one turn gets another text; drop the answer"
            )
        response = replace(response, messages=[{"role": "assistant", "content": override.text}])
    if override.critique is not None:
        ratings = {} if response.feedback is None else response.feedback.ratings
        response = replace(response, feedback=Feedback(ratings, override.critique, annotator=override.who))
    return response


def place_of(ladder: Ladder, response: str) -> int:
    """The place of the response with this text, model, kind or id. Raises ValueError if there is none or several."""
    texts = [n for n, r in enumerate(ladder.responses) if response in (r.text, r.id)]
    sources = {
        n: {str(r.origin.get("model", "")), str(r.origin.get("kind", ""))} for n, r in enumerate(ladder.responses)
    }
    places = texts or [n for n, names in sources.items() if response in names]
    if len(places) == 1:
        return places[0]
    if places:
        raise ValueError(f"{len(places)} responses of ladder '{ladder.id}' are from '{response}'; give the text of one")
    origins = sorted({name for names in sources.values() for name in names if name})
    raise ValueError(
        f"ladder '{ladder.id}' has no response '{response[:60]}'; name its text, model or kind: {', '.join(origins)}"
    )


def read_overrides(path: Path, source: Path, root: Path) -> dict[str, list[Override]]:
    """The overrides of a file, by ladder.

    Raises `InputError` with the line for an invalid override, for a ladder or response that is not in the shards of
    `source`, and for two overrides of one response.
    """
    try:
        lines = read_text(path, "utf-8-sig").split("\n")
    except OSError as error:
        raise InputError(f"check.overrides: {path} cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    overrides: dict[str, list[Override]] = defaultdict(list)
    places: dict[str, list[tuple[str, Override]]] = defaultdict(list)
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{path}, line {number}"
            override = _override(line, where)
            overrides[override.ladder].append(override)
            places[override.ladder].append((where, override))
    ids = []
    for _, ladders in iter_shards(source, root):
        for ladder in ladders:
            ids.append(ladder.id)
            lines_by_place: dict[int, str] = {}
            for where, override in places.pop(ladder.id, []):
                try:
                    place = place_of(ladder, override.response)
                except ValueError as error:
                    raise InputError(f"{where}: {error}") from error
                if place in lines_by_place:
                    raise InputError(f"{where}: {lines_by_place[place]} is about the same response; keep one of them")
                lines_by_place[place] = where
    if places:
        where, override = next(iter(places.values()))[0]
        name = override.ladder
        raise InputError(f"{where}: there is no ladder '{name}'; {nearest(name, ids[:10_000])[:200]}")
    return dict(overrides)


def _override(line: str, where: str) -> Override:
    try:
        return Override.model_validate(loads(line))
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON ({error.msg}); fix that line") from error
    except ValidationError as error:
        raise InputError(
            f"{where}: {one_line(error)}; an override needs ladder, response, who, and level, drop, text or critique"
        ) from error
    except (ValueError, RecursionError) as error:  # thousands of digits or of brackets
        raise InputError(f"{where}: not readable JSON ({str(error).split(';')[0]}); fix that line") from error

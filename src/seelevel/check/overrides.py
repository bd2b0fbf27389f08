"""Levels set by people. They replace a checker's levels and name their author.

They are in a file of JSON lines beside the data, which every run reads again:

    {"ladder": "7", "response": "llava-13b", "level": 1, "who": "Ada", "why": "the cat is there", "when": "today"}

`response` is the response's text, its model, or the kind of its source. `why` and `when` are optional. All other
responses keep the checker's levels; equal levels are a tie. A ladder carries its overrides in `Ladder.overrides`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seelevel.errors import InputError
from seelevel.formats.parquet import iter_shards
from seelevel.json_text import loads
from seelevel.judge.replies import one_line
from seelevel.ladder import Ladder
from seelevel.notes import LevelOverride
from seelevel.opening import read_text
from seelevel.registry import nearest

Checker = Callable[[Iterable[Ladder]], Iterable[Ladder]]
MOST_LEVELS = 1000
"""More than any ladder has; a higher level is a typing error."""


class Override(BaseModel):
    """One line of a file of overrides."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ladder: str = Field(min_length=1)
    response: str = Field(min_length=1)
    level: int = Field(ge=0, lt=MOST_LEVELS, strict=True)
    who: str = Field(min_length=1)
    why: str = ""
    when: str = ""


class Overridden:
    """A checker with people's overrides: they are noted on the ladders before it and applied after it."""

    def __init__(self, checker: Checker, overrides: Mapping[str, Sequence[Override]]) -> None:
        self.checker, self.overrides = checker, overrides

    def __call__(self, ladders: Iterable[Ladder]) -> Iterator[Ladder]:
        yield from self.checker(_with_overrides(ladder, self.overrides.get(ladder.id, [])) for ladder in ladders)


def _with_overrides(ladder: Ladder, overrides: Sequence[Override]) -> Ladder:
    """The ladder with overrides noted but not applied: the checker must see the standard response first."""
    for override in overrides:
        target = ladder.responses[place_of(ladder, override.response)].id
        others = [other for other in ladder.overrides if other.response != target]
        entry = LevelOverride(target, override.who, override.level, why=override.why, when=override.when)
        ladder = replace(ladder, overrides=(*others, entry))
    return ladder


def place_of(ladder: Ladder, response: str) -> int:
    """The place of the response with this text, model or kind. Raises ValueError if there is none or several."""
    texts = [n for n, r in enumerate(ladder.responses) if r.text == response]
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
        raise InputError(f"{where}: {one_line(error)}; an override needs ladder, response, level and who") from error
    except (ValueError, RecursionError) as error:  # thousands of digits or of brackets
        raise InputError(f"{where}: not readable JSON ({str(error).split(';')[0]}); fix that line") from error

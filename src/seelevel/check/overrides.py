"""Levels set by hand: what a person says about a response stands, whatever a checker finds, and says who said it.

They are kept in a file of JSON lines beside the data, which survives every run and is read again by each:

    {"ladder": "7", "response": "llava-13b", "level": 1, "who": "Ada", "why": "the cat is there", "when": "today"}

`response` is the response's text, or the model or kind of source it is from; `why` and `when` may be left out. Others
keep the checker's levels: equal levels tie. In the ladder's notes they stand as `overrides` (see `Ladder.overridden`).
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
from seelevel.judge.replies import one_line
from seelevel.ladder import Ladder
from seelevel.notes import LevelOverride
from seelevel.registry import nearest

Checker = Callable[[Iterable[Ladder]], Iterable[Ladder]]
MOST_LEVELS = 1000
"""More than any ladder has: a level beyond is a slip of the hand."""


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
    """A checker of ladders on which people's words have been noted, so that they stand after it."""

    def __init__(self, checker: Checker, overrides: Mapping[str, Sequence[Override]]) -> None:
        self.checker, self.overrides = checker, overrides

    def __call__(self, ladders: Iterable[Ladder]) -> Iterator[Ladder]:
        yield from self.checker(_with_overrides(ladder, self.overrides.get(ladder.id, [])) for ladder in ladders)


def _with_overrides(ladder: Ladder, overrides: Sequence[Override]) -> Ladder:
    """The ladder with overrides that are not in force yet: the checker must see it with its standard response first."""
    for override in overrides:
        target = ladder.responses[place_of(ladder, override.response)].id
        others = [one for one in ladder.overrides if one.response != target]
        entry = LevelOverride(target, override.who, override.level, why=override.why, when=override.when)
        ladder = replace(ladder, overrides=(*others, entry))
    return ladder


def place_of(ladder: Ladder, response: str) -> int:
    """The place of a response that is named by its text or by where it is from. Raises ValueError where none or several
    are meant."""
    texts = [n for n, r in enumerate(ladder.responses) if r.text == response]
    sources = {
        n: {str(r.origin.get("model", "")), str(r.origin.get("kind", ""))} for n, r in enumerate(ladder.responses)
    }
    places = texts or [n for n, names in sources.items() if response in names]
    if len(places) == 1:
        return places[0]
    if places:
        raise ValueError(f"{len(places)} responses of ladder '{ladder.id}' are from '{response}'; give the text of one")
    known = sorted({name for names in sources.values() for name in names if name})
    raise ValueError(
        f"ladder '{ladder.id}' has no response '{response[:60]}'; give a text or where it is from: {', '.join(known)}"
    )


def read_overrides(path: Path, source: Path, root: Path) -> dict[str, list[Override]]:
    """The overrides of a file, by ladder. Raises `InputError` with the line for one that is garbled, whose ladder or
    response is not in the shards of `source`, or whose response another line is about too."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise InputError(f"check.overrides: {path} cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    found: dict[str, list[Override]] = defaultdict(list)
    places: dict[str, list[tuple[str, Override]]] = defaultdict(list)
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{path}, line {number}"
            own = _override(line, where)
            found[own.ladder].append(own)
            places[own.ladder].append((where, own))
    ids = []
    for _, ladders in iter_shards(source, root):
        for ladder in ladders:
            ids.append(ladder.id)
            said: dict[str, str] = {}  # where, by the text of the response
            for where, own in places.pop(ladder.id, []):
                try:
                    text = ladder.responses[place_of(ladder, own.response)].text
                except ValueError as error:
                    raise InputError(f"{where}: {error}") from error
                if text in said:
                    raise InputError(f"{where}: {said[text]} is about the same response; keep one of them")
                said[text] = where
    if places:
        (where, own), *_ = next(iter(places.values()))
        raise InputError(f"{where}: there is no ladder '{own.ladder}'; {nearest(own.ladder, ids[:10_000])[:200]}")
    return dict(found)


def _override(line: str, where: str) -> Override:
    try:
        return Override.model_validate(json.loads(line))
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON ({error.msg}); mend that line") from error
    except ValidationError as error:
        raise InputError(f"{where}: {one_line(error)}; an override needs ladder, response, level and who") from error
    except (ValueError, RecursionError) as error:  # thousands of digits or of brackets
        raise InputError(f"{where}: not readable JSON ({str(error).split(';')[0]}); mend that line") from error

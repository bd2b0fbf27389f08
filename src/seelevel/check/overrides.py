"""Levels set by hand: what a person says about a response stands, whatever a checker finds, and says who said it.

They are kept in a file of JSON lines beside the data, which survives every run and is read again by each:

    {"ladder": "7", "response": "llava-13b", "level": 1, "who": "Ada", "why": "the cat is there", "when": "today"}

`response` is the response's text, or the model or kind of source it is from; `why` and `when` may be left out. Others
keep the checker's levels: equal levels tie. In the ladder's notes they stand as `overrides`, each with `text`, `who`,
`from` (the checker's level), `to` and what else was said.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seelevel.errors import InputError
from seelevel.formats.parquet import iter_shards
from seelevel.judge import one_line
from seelevel.ladder import Ladder
from seelevel.lookup import nearest

Checker = Callable[[Iterable[Ladder]], Iterable[Ladder]]
PER_RESPONSE = ("order", "responses", "ratings")
"""What a checker notes of each response in the order now."""


class Override(BaseModel):
    """One line of a file of overrides."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ladder: str = Field(min_length=1)
    response: str = Field(min_length=1)
    level: int = Field(ge=0)
    who: str = Field(min_length=1)
    why: str = ""
    when: str = ""


def override(ladder: Ladder, response: int, level: int, who: str, why: str = "", when: str = "") -> Ladder:
    """A ladder with one response's level set by hand, its responses in order again, and a note of who did it.

    Raises ValueError for a response that is not there, a negative level, or nobody.
    """
    if not 0 <= response < len(ladder.responses):
        raise ValueError(f"ladder {ladder.id} has no response {response}, but {len(ladder.responses)} from 0")
    if not who:
        raise ValueError("an override needs its author")
    text = ladder.responses[response].text
    entry: dict[str, Any] = {"text": text, "who": who, "from": ladder.responses[response].level, "to": level}
    entry |= {name: said for name, said in (("why", why), ("when", when)) if said}
    kept = []
    for earlier in ladder.notes.get("overrides", []):
        if earlier["text"] == text:
            entry["from"] = earlier.get("from", entry["from"])
        else:
            kept.append(earlier)
    return _in_force(ladder, [*kept, entry])


def reapplied(ladder: Ladder) -> Ladder:
    """A ladder that a checker has just levelled, with the overrides in its notes in force again."""
    levels = {response.text: response.level for response in ladder.responses}
    levelled = "order" in ladder.notes.get("check", {})
    entries = []
    for entry in ladder.notes.get("overrides", []):
        known = entry["text"] in levels and (levelled or "from" not in entry)
        entries.append({**entry, "from": levels[entry["text"]]} if known else entry)
    return _in_force(ladder, entries)


def _in_force(ladder: Ladder, entries: Sequence[dict[str, Any]]) -> Ladder:
    """Levels as the entries say, responses in their order, and what the checker noted of each with them."""
    wanted = {entry["text"]: int(entry["to"]) for entry in entries}
    levels = [wanted.get(response.text, response.level) for response in ladder.responses]
    order = sorted(range(len(levels)), key=levels.__getitem__)
    notes = {**ladder.notes, "overrides": list(entries)}
    if isinstance(check := notes.get("check"), dict):
        moved: dict[str, Any] = {
            name: [check[name][n] for n in order] for name in PER_RESPONSE if isinstance(check.get(name), list)
        }
        if "order" in moved:
            moved["reordered"] = moved["order"] != sorted(moved["order"])
        notes["check"] = {**check, **moved}
    responses = [replace(ladder.responses[n], level=levels[n]) for n in order]
    return replace(ladder, responses=responses, notes=notes)


class Overridden:
    """A checker after which what people said stands."""

    def __init__(self, checker: Checker, overrides: Mapping[str, Sequence[Override]]) -> None:
        self.checker, self.overrides = checker, overrides

    def __call__(self, ladders: Iterable[Ladder]) -> Iterator[Ladder]:
        for ladder in self.checker(ladders):
            for own in self.overrides.get(ladder.id, []):
                ladder = _noted(ladder, own)
            yield reapplied(ladder) if ladder.notes.get("overrides") else ladder


def _noted(ladder: Ladder, own: Override) -> Ladder:
    text = ladder.responses[place_of(ladder, own.response)].text
    said = own.model_dump(include={"who", "why", "when"}, exclude_defaults=True)
    earlier = [entry for entry in ladder.notes.get("overrides", []) if entry["text"] != text]
    return replace(ladder, notes={**ladder.notes, "overrides": [*earlier, {"text": text, **said, "to": own.level}]})


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
    """The overrides of a file, by ladder. Raises `InputError` with the line for one that is garbled, or whose ladder or
    response is not in the shards of `source`."""
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
            for where, own in places.pop(ladder.id, []):
                try:
                    place_of(ladder, own.response)
                except ValueError as error:
                    raise InputError(f"{where}: {error}") from error
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

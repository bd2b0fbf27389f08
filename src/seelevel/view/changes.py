"""Changes by hand, kept as overrides that the stage `check` heeds, and taken back.

A change replaces the override of one answer. The file is written whole or not at all, by one writer at a time, so two
tabs, or two servers, lose nothing of each other's. What was there before goes to a second file, from which the last
change is taken back.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from seelevel.check.overrides import Override, by_hand, place_of
from seelevel.errors import InputError
from seelevel.fingerprints import digest
from seelevel.json_text import dumps, loads
from seelevel.judge.replies import one_line
from seelevel.ladder import Ladder
from seelevel.opening import open_descriptor, read_text
from seelevel.store import TEMPORARY, write_atomically

Entry = dict[str, Any]
FIELDS = ("level", "drop", "text", "critique")


class Outdated(InputError):
    """Somebody else has changed the ladder since the page was made."""


class Changes:
    """The overrides in a file. `who`: the author of new ones."""

    def __init__(self, path: Path, who: str) -> None:
        self.path, self.who = path, who
        self.before = path.with_suffix(".before.jsonl")
        self._thread = threading.Lock()
        self._cleared = False

    def entries(self) -> list[Entry]:
        """The overrides, as they stand in the file. Raises `InputError` for a broken line."""
        return _lines(self.path)

    def of(self, ladder: str) -> list[Entry]:
        return [entry for entry in self.entries() if entry.get("ladder") == ladder]

    def ladders(self) -> set[str]:
        """The ids of the ladders that have been changed."""
        return {str(entry.get("ladder")) for entry in self.entries()}

    def version(self, ladder: str) -> str:
        """A text that differs if the ladder's overrides do."""
        return digest(self.of(ladder))

    def applied(self, ladder: Ladder) -> Ladder:
        """The ladder as the next check will make it, as far as the changes go: its levels are the checker's otherwise.

        Answers that are left out are gone. Overrides of answers that it does not have are passed over.
        """
        overrides = [o for entry in self.of(ladder.id) if (o := _override(entry)) is not None and _has(ladder, o)]
        changed = by_hand(ladder, overrides)
        return changed.ordered(changed.responses) if overrides else ladder

    def set(self, ladder: Ladder, response: str, version: str, **fields: Any) -> None:
        """Change one answer, named by its `Response.id`: level, drop, text or critique; None takes a field back.

        Raises `Outdated` if `version` is not the ladder's any more, and `InputError` if the change cannot be made.
        """
        place = next((n for n, r in enumerate(ladder.responses) if r.id == response), None)
        if place is None:
            raise InputError(f"ladder '{ladder.id}' has no such answer any more; look at it again")
        with self._alone():
            if version != self.version(ladder.id):
                raise Outdated(f"ladder '{ladder.id}' was changed in another place meanwhile; look at it again")
            entries = self.entries()
            mine = [e for e in entries if e.get("ladder") == ladder.id and place_in(ladder, e) == place]
            old = mine[0] if mine else {}
            kept = {name: old[name] for name in FIELDS if name in old} | fields
            kept = {name: value for name, value in kept.items() if value is not None and value != ""}
            new = self._entry(ladder, place, kept) if kept else None
            rest = [entry for entry in entries if entry not in mine]
            wanted = [*rest, *([new] if new else [])]
            overrides = [o for e in wanted if e.get("ladder") == ladder.id and (o := _override(e)) is not None]
            by_hand(ladder, [o for o in overrides if _has(ladder, o)])  # it says what cannot be
            self._remember({"ladder": ladder.id, "before": [e for e in entries if e.get("ladder") == ladder.id]})
            self._write(wanted)

    def undo(self) -> str | None:
        """Take the last change back; returns its ladder, or None if there is none to take back."""
        with self._alone():
            past = _lines(self.before)
            if not past:
                return None
            last = past.pop()
            rest = [entry for entry in self.entries() if entry.get("ladder") != last["ladder"]]
            self._write([*rest, *last["before"]])
            write_atomically(self.before, "".join(dumps(entry) + "\n" for entry in past))
            return str(last["ladder"])

    def _entry(self, ladder: Ladder, place: int, fields: Mapping[str, Any]) -> Entry:
        when = datetime.now().astimezone().isoformat(timespec="seconds")
        entry = {"ladder": ladder.id, "response": name_of(ladder, place), **fields, "who": self.who, "when": when}
        try:
            Override.model_validate(entry)
        except ValidationError as error:
            raise InputError(f"this change cannot be made: {one_line(error)}") from error
        return entry

    def _remember(self, entry: Entry) -> None:
        past = _lines(self.before)
        write_atomically(self.before, "".join(dumps(e) + "\n" for e in [*past, entry]))

    def _write(self, entries: list[Entry]) -> None:
        write_atomically(self.path, "".join(dumps(entry) + "\n" for entry in entries))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One writer at a time: of this server's threads, and of all servers."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = self.path.with_name(f".{self.path.name}.lock")
        with self._thread, os.fdopen(open_descriptor(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW), "r+b", 0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not self._cleared:
                self._clear()
            yield

    def _clear(self) -> None:
        """Remove what killed servers left half-written: nobody else writes now."""
        for path in (self.path, self.before):
            for leftover in self.path.parent.glob(f"{TEMPORARY}*-{path.name}"):
                leftover.unlink(missing_ok=True)
        self._cleared = True


def name_of(ladder: Ladder, place: int) -> str:
    """What to call an answer in the file: its model or its kind, if no other answer has it; else its id."""
    response = ladder.responses[place]
    for name in (response.origin.get("model"), response.origin.get("kind")):
        if isinstance(name, str) and name:
            try:
                if place_of(ladder, name) == place:
                    return name
            except ValueError:
                continue
    return response.id


def _lines(path: Path) -> list[Entry]:
    try:
        lines = read_text(path).split("\n")
    except FileNotFoundError:
        return []
    entries = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                entry = loads(line)
            except ValueError as error:
                raise InputError(f"{path}, line {number}: not JSON; fix or delete that line") from error
            if not isinstance(entry, dict):
                raise InputError(f"{path}, line {number}: not an override; fix or delete that line")
            entries.append(entry)
    return entries


def _override(entry: Entry) -> Override | None:
    try:
        return Override.model_validate(entry)
    except ValidationError:
        return None


def place_in(ladder: Ladder, entry: Entry) -> int | None:
    """The place of the response that an override is about; None if the ladder lacks it."""
    try:
        return place_of(ladder, str(entry.get("response")))
    except ValueError:
        return None


def _has(ladder: Ladder, override: Override) -> bool:
    return place_in(ladder, {"response": override.response}) is not None

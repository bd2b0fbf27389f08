"""The conversations of all pages: those in use in memory, the others in a temporary folder."""

from __future__ import annotations

import re
import secrets
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from seelevel.chat import Chat
from seelevel.chat.commands import Talks
from seelevel.errors import DiskFullError, InputError
from seelevel.formats.nlf import interactions
from seelevel.formats.parquet import read_ladders, write_shard
from seelevel.json_text import loads
from seelevel.ladder import Interaction
from seelevel.models.conditioned import Conditioned
from seelevel.opening import read_text
from seelevel.store import write_json
from seelevel.view.conversations import SAMPLING, Picture, Session
from seelevel.view.voices import Voices

KEPT = 32
"""Conversations in memory."""
PATIENCE = 3.0
"""Seconds that the end of the server waits for answers to be kept."""


class Sessions:
    """Conversations by unguessable names. folder: for those that are not in use; save: the user's file."""

    def __init__(self, voices: Voices, folder: Path, save: Path | None) -> None:
        self.voices, self.folder, self.save = voices, folder, save
        self._open: OrderedDict[str, Session] = OrderedDict()
        self._alone = threading.Lock()

    def new(self) -> Session:
        session = Session(secrets.token_urlsafe(16), self.voices, self.save)
        with self._alone:
            self._take(session)
        return session

    def get(self, name: str) -> Session | None:
        """The conversation of this name, or None."""
        with self._alone:
            session = self._open.get(name)
            if session is None and re.fullmatch(r"[\w-]{22}", name) and (self.folder / name).is_dir():
                session = self._read(self.folder / name)
            if session is not None:
                self._take(session)
            return session

    def close(self) -> None:
        """End all answers; the pieces so far are kept."""
        sessions = list(self._open.values())
        for session in sessions:
            session.stop()
        for session in sessions:
            session.settle(PATIENCE)

    def _take(self, session: Session) -> None:
        """Keep a conversation in memory as the last one used, and write the first ones to the folder."""
        self._open[session.name] = session
        self._open.move_to_end(session.name)
        for other in [s for s in list(self._open.values())[:-1] if not s.busy][: max(len(self._open) - KEPT, 0)]:
            with suppress(OSError, DiskFullError):  # then it stays in memory
                self._write(other)
                del self._open[other.name]

    def _write(self, session: Session) -> None:
        folder = self.folder / session.name
        if any(session.kept.values()):
            talks = [talk for talks in session.kept.values() for talk in talks]
            write_shard(folder / "talks.parquet", [ladder for talk in talks for ladder in talk.rounds()])
        state = {
            "picture": None if session.picture is None else asdict(session.picture),
            "prompt": session.prompt,
            "chosen": session.chosen,
            "notices": session.notices,
            "saved": session.saved,
            "file": None if session.saving.file is None else str(session.saving.file),
            "kept": {key: [talk.id for talk in talks] for key, talks in session.kept.items()},
            "talks": {key: _state(talks) for key, talks in session.talks.items()},
        }
        write_json(folder / "state.json", state)

    def _read(self, folder: Path) -> Session:
        state = loads(read_text(folder / "state.json"))
        place = folder / "talks.parquet"
        by_id = {talk.id: talk for talk in interactions(read_ladders(place))} if place.exists() else {}
        session = Session(folder.name, self.voices, self.save)
        session.picture = None if state["picture"] is None else Picture(**state["picture"])
        session.prompt, session.chosen, session.saved = state["prompt"], state["chosen"], state["saved"]
        session.notices = state["notices"]
        session.saving.file = None if state["file"] is None else Path(state["file"])
        session.kept = {key: [by_id[name] for name in names] for key, names in state["kept"].items()}
        choices = self.voices.choices()
        for key, kept in state["talks"].items():
            if key in choices:  # a run's model may be gone by now; what it said stays kept
                session.talks[key] = _talks(session, key, kept, by_id)
        return session


def _state(talks: Talks) -> dict[str, Any]:
    model = talks.chat.model
    return {
        "began": talks.began,
        "ended": [talk.id for talk in talks.ended],
        "current": [talk.id for talk in talks.current()],
        "asked": talks.chat.asked,
        "cut": talks.chat.cut,
        "condition": model.which if isinstance(model, Conditioned) else None,
    }


def _talks(session: Session, key: str, state: dict[str, Any], by_id: dict[str, Interaction]) -> Talks:
    voice = session.voices.choices()[key]
    chat = Chat(voice.speaker(), None, SAMPLING)
    session.equip(chat)
    chat.turns = [turn for name in state["current"] for turn in by_id[name].turns]
    chat.asked, chat.cut = state["asked"], state["cut"]
    if state["condition"] is not None:
        with suppress(InputError):  # the model has been trained again, on other conditions
            chat.under(state["condition"])
    talks = Talks(chat, f" {voice.label}")
    talks.began, talks.ended = state["began"], [by_id[name] for name in state["ended"]]
    return talks

"""Conversations of pages: each has a picture and a chat per model, and is saved after every turn."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seelevel.chat import Chat, described
from seelevel.chat.commands import COMMANDS, Talks, annotator, begun_now, judge_named
from seelevel.chat.saving import Saving
from seelevel.errors import InputError, ServerError, reason_of
from seelevel.fingerprints import digest
from seelevel.ladder import Interaction, unmarked
from seelevel.models.base import Sampling
from seelevel.models.conditioned import Conditioned
from seelevel.view.voices import Voice, Voices

SAMPLING = Sampling(max_new_tokens=256)
MOST = 4
"""Models that are asked at once."""
Emit = Callable[[dict[str, Any] | None], None]
"""Takes what happens: `model` with `status`, `piece` or `column`; None at the end."""


class Busy(InputError):
    """Answers of the conversation are still coming."""


@dataclass(frozen=True)
class Picture:
    """A picture to talk about. path: its file; contents: its annotations for the judge; `judge`: the name of its own
    judge, used if the command names none."""

    path: str
    name: str
    contents: list[str] = field(default_factory=list)
    judge: str | None = None

    @property
    def address(self) -> str:
        return digest(self.path)[:16]


class Session:
    """One conversation of a page, with all models that it was had with. `chosen`: the keys of the models that the next
    words go to; `prompt`: what stands in the field at first; `saved`: where all is kept, in words."""

    def __init__(self, name: str, voices: Voices, save: Path | None) -> None:
        self.name, self.voices, self.saving = name, voices, Saving(save, begun_now())
        self.picture: Picture | None = None
        self.prompt, self.saved = "", ""
        self.talks: dict[str, Talks] = {}
        self.kept: dict[str, list[Interaction]] = {}  # of every model: what the file holds, or will hold
        self.notices: dict[str, str] = {}
        self.chosen = list(voices.choices())[:2]
        self._stopped, self._busy, self._keeping = threading.Event(), threading.Lock(), threading.Lock()

    @property
    def busy(self) -> bool:
        return self._busy.locked()

    def look_at(self, picture: Picture | None, prompt: str = "") -> None:
        """Talk about another picture from now on; what was said about the one before is kept. Raises `Busy`."""
        self._begin()
        try:
            self.picture, self.prompt = picture, prompt
            for talks in self.talks.values():
                talks.forget()
                self.equip(talks.chat)
            self.notices.clear()
        finally:
            self._busy.release()

    def start(self, keys: Sequence[str], line: str, emit: Emit) -> threading.Thread:
        """Obey a line for each of these models, in the background. Raises `Busy`."""
        self._begin()
        self._stopped.clear()
        self.prompt = ""
        thread = threading.Thread(target=self._obey, args=(keys, line, emit), daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """End the answers; the pieces so far are kept."""
        self._stopped.set()

    def settle(self, patience: float) -> None:
        """Wait so many seconds until answers that have been stopped are kept."""
        if self._busy.acquire(timeout=patience):
            self._busy.release()

    def column(self, key: str) -> dict[str, Any]:
        """A model's conversation as the page shows it: plain texts."""
        talks = self.talks.get(key)
        turns = talks.chat.turns if talks is not None else []
        return {
            "turns": [
                {
                    "user": unmarked(user["content"]).strip(),
                    "answer": response.text,
                    "thought": response.reasoning,
                    "judged": "" if response.feedback is None else described(response.feedback),
                }
                for user, response in list(turns)
            ],
            "notice": self.notices.get(key, ""),
            "condition": f"condition: {talks.chat.condition}"
            if talks is not None and isinstance(talks.chat.model, Conditioned)
            else "",
        }

    def _begin(self) -> None:
        if not self._busy.acquire(blocking=False):
            raise Busy("answers are still coming; stop them, or wait")

    def _obey(self, keys: Sequence[str], line: str, emit: Emit) -> None:
        try:
            threads = [threading.Thread(target=self._one, args=(key, line, emit), daemon=True) for key in keys]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            self._busy.release()
            emit(None)

    def _one(self, key: str, line: str, emit: Emit) -> None:
        """Obey a line for one model. Whatever fails is one line in its column, and the conversation goes on."""
        self.notices[key] = ""
        try:
            self._answer(key, line, emit)
        except (InputError, ServerError) as error:
            self.notices[key] = str(error)
        except Exception as error:  # this thread's outermost edge
            traceback.print_exc()
            self.notices[key] = f"this failed ({reason_of(error)}); the terminal of seelevel view says more"
        finally:
            self._keep(key)
            emit({"model": key, "column": self.column(key), "saved": self.saved})

    def _answer(self, key: str, line: str, emit: Emit) -> None:
        if line == "/help":
            self.notices[key] = COMMANDS
            return
        voice = self.voices.choices()[key]
        talks = self._talks(key, voice)
        emit({"model": key, "status": "answering" if voice.loaded else "loading the model"})
        told, pieces = talks.do(line)
        if pieces is None:
            judged = line.startswith("/feedback") and talks.chat.turns[-1][1].feedback is not None
            self.notices[key] = "" if judged else told  # the verdict stands below the answer
            return
        any_piece = False
        for piece in pieces:
            if piece:
                any_piece = True
                emit({"model": key, "piece": piece})
            if self._stopped.is_set():
                pieces.close()
                self.notices[key] = "stopped; the words so far are kept"
                return
        if not any_piece:
            self.notices[key] = "no answer"
        elif talks.chat.cut:
            self.notices[key] = f"cut short: an answer has at most {talks.chat.sampling.max_new_tokens} tokens"

    def _talks(self, key: str, voice: Voice) -> Talks:
        if key not in self.talks:
            chat = Chat(voice.speaker(), None, SAMPLING)
            self.equip(chat)
            self.talks[key] = Talks(chat, f" {voice.label}")
        return self.talks[key]

    def equip(self, chat: Chat) -> None:
        """Give a chat the picture, and the judge that goes with it."""
        picture = self.picture
        chat.image, chat.contents = (None, []) if picture is None else (picture.path, picture.contents)
        wanted = None if self.voices.judge is None else self.voices.judge.name
        name = wanted or (None if picture is None else judge_named(picture.judge, picture.name))
        judge = self.voices.judging(name)
        chat.annotator = None if judge is None else annotator(judge, judge.name, chat.image, chat.contents)

    def _keep(self, key: str) -> None:
        with self._keeping:
            if key in self.talks:
                self.kept[key] = self.talks[key].all()
            if told := self.saving.keep([talk for talks in self.kept.values() for talk in talks]):
                self.saved = "; ".join(told)

"""What a person types in a chat, whether in a terminal or a page: words for the model, or commands."""

from __future__ import annotations

import time
from collections.abc import Generator as Pieces

from seelevel.chat import Chat, described
from seelevel.errors import InputError
from seelevel.judge import JUDGE_SAMPLING
from seelevel.judge.annotate import Annotator
from seelevel.ladder import Interaction
from seelevel.models.base import Generator, Sampling
from seelevel.naming import ORACLE, WORLD

COMMANDS = """\
/feedback         how the judge rates the last answer, and why
/refine [WORDS]   another answer, following the judge's words or yours
/condition WHICH  another answer, under these ratings: top, worst, none, or 2/4/4
/new              forget the conversation"""


class Talks:
    """A chat and the conversations before it. `ended`: those that /new or another condition has put aside; `mark`: the
    end of every conversation's id."""

    def __init__(self, chat: Chat, mark: str = "") -> None:
        self.chat, self.mark = chat, mark
        self.began = begun_now()
        self.ended: list[Interaction] = []

    def do(self, line: str) -> tuple[str, Pieces[str] | None]:
        """Obey a line: lines for the user, and the pieces of an answer if the line asks for one.

        Raises `InputError` for an unknown command, and as `Chat` does.
        """
        command, _, rest = line.partition(" ")
        rest = rest.strip()
        if not line.startswith("/"):
            return "", self.chat.ask(line)
        if command == "/feedback":
            return described(self.chat.feedback()), None
        if command == "/refine":
            if rest:
                return "", self.chat.refine(rest)
            words = self.chat.request()
            return f"asked: {words}", self.chat.refine(words)
        if command == "/condition":
            if rest:
                self.chat.under(rest)
            return f"condition: {self.chat.condition}", self.again() if rest and self.chat.turns else None
        if command == "/new":
            self.forget()
            return "", None
        raise InputError(f"unknown command {command}; /help lists them")

    def again(self) -> Pieces[str]:
        """Another answer to the last request; the conversation with the one that it replaces is kept."""
        before, last = self.current(), self.chat.turns[-1]
        try:
            yield from self.chat.again()
        finally:
            if last not in self.chat.turns:
                self.ended += before

    def forget(self) -> None:
        """Start a new conversation; the old one is kept."""
        self.ended += self.current()
        self.chat.turns = []

    def current(self) -> list[Interaction]:
        """The current conversation; empty if it has no turns."""
        return [self.chat.interaction(f"{self.began}-{len(self.ended)}{self.mark}")] if self.chat.turns else []

    def all(self) -> list[Interaction]:
        return [*self.ended, *self.current()]


def begun_now() -> str:
    """The name of a conversation that begins now."""
    return time.strftime("chat-%Y%m%d-%H%M%S")


def judge_named(judge: str | None, picture: str | None) -> str | None:
    """The name of the judge: the one that is asked for, else the oracle for a picture of the world (`world:test/0`)."""
    return ORACLE if judge is None and picture is not None and picture.startswith(WORLD) else judge


def annotator(
    judge: Generator, name: str, picture: str | None, contents: list[str], sampling: Sampling = JUDGE_SAMPLING
) -> Annotator:
    """A judge of answers about a picture. It sees the picture if there are no `contents`, the annotations as lines."""
    return Annotator(judge, name, sampling=sampling, sees=not contents and picture is not None)

"""`seelevel chat`: talk with a model about a picture, have its answers judged, and have it answer again."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Generator as Pieces
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from seelevel.errors import InputError, ServerError
from seelevel.judge import Unscored
from seelevel.ladder import CRITERIA, IMAGE_MARK, Feedback, Image, Interaction, Ladder, Message, Response
from seelevel.models.base import Generator, Prompt, Sampling, streamed
from seelevel.models.conditioned import Conditioned
from seelevel.nlf.annotate import Annotator
from seelevel.nlf.interact import REQUEST, request_text
from seelevel.store import cache_folder

HELP = """\
/feedback          what the judge says of the last answer: ratings, critique, refinement
/refine [WORDS]    have it answer again, on the judge's words or on yours
/condition WHICH   have it answer the last request again under a condition: top, worst, none, or ratings as 2/4/4
/new               forget the conversation
/help              this
/quit              leave (Ctrl-D does too); Ctrl-C stops an answer"""


@dataclass
class Chat:
    """A conversation about one picture. `contents`: what is known of it, a line each, for the judge."""

    model: Generator
    image: str | None
    sampling: Sampling
    annotator: Annotator | None = None
    contents: list[str] = field(default_factory=list)
    turns: list[tuple[Message, Response]] = field(default_factory=list)

    def ask(self, text: str) -> Pieces[str]:
        """The answer to what the user says, piece by piece; what was said when the iterator is closed is kept."""
        marked = self.image is not None and not self.turns
        user = Message(role="user", content=f"{IMAGE_MARK}\n{text}" if marked else text)
        yield from self._answer(user)

    def again(self) -> Pieces[str]:
        """Another answer to the last request, in place of the one there is. Raises `InputError` where there is none."""
        last = self._last()
        self.turns.pop()
        try:
            yield from self._answer(last[0])
        finally:
            if not self.turns or self.turns[-1][0] is not last[0]:  # nothing was said in its place
                self.turns.append(last)

    def refine(self, words: str = "") -> Pieces[str]:
        """An answer on the user's words, or else on the judge's. Raises `InputError` where there is nothing to refine,
        or the judge cannot judge it."""
        _, response = self._last()
        if not words:
            feedback = response.feedback or self.feedback()
            if isinstance(feedback, Unscored):
                raise InputError(f"the judge cannot judge this answer ({feedback.reason}); say in words what to change")
            words = request_text(REQUEST, feedback)
        yield from self.ask(words)

    def feedback(self) -> Feedback | Unscored:
        """The judge's word on the last answer, which is kept with it. Raises `InputError` where there is no judge."""
        user, response = self._last()
        if self.annotator is None:
            raise InputError("there is no judge; start the chat with --judge MODEL")
        images = [Image(self.image)] if self.image is not None else []
        asked = user["content"].replace(IMAGE_MARK, "").strip()
        prompt = Message(role="user", content=f"{IMAGE_MARK}\n{asked}" if images else asked)
        ladder = Ladder("chat", images, [prompt], [], {"image_content": self.contents})
        [verdict] = self.annotator.annotate([(ladder, response)])
        if isinstance(verdict, Feedback):
            self.turns[-1] = (user, replace(response, feedback=verdict))
        return verdict

    def under(self, which: str) -> None:
        """Answer under another condition from now on. Raises `InputError` for a model that knows none."""
        if not isinstance(self.model, Conditioned):
            raise InputError(f"{self.model.name} was not trained on conditions; align one with objective conditional")
        self.model = self.model.under(which)

    def interaction(self, name: str) -> Interaction:
        images = [Image(self.image)] if self.image is not None else []
        return Interaction(name, images, self.turns, {"image_content": self.contents} if self.contents else {})

    def _last(self) -> tuple[Message, Response]:
        if not self.turns:
            raise InputError("nothing has been said yet; ask something first")
        return self.turns[-1]

    def _answer(self, user: Message) -> Pieces[str]:
        said = [message for asked, response in self.turns for message in (asked, response.messages[0])]
        prompt = Prompt([*said, user], [self.image] if self.image is not None else [])
        condition = self.model.text if isinstance(self.model, Conditioned) else ""
        text = ""
        try:
            for piece in streamed(self.model, prompt, self.sampling):
                text += piece
                yield piece
        finally:
            if text.strip():
                origin = {"kind": "answer", "model": self.model.name, "sampling": self.sampling.model_dump(mode="json")}
                message = Message(role="assistant", content=text.strip())
                self.turns.append((user, Response([message], 0, origin, condition)))


def described(verdict: Feedback | Unscored) -> str:
    """A judge's word, a line each."""
    if isinstance(verdict, Unscored):
        return f"unscored: {verdict.reason}"
    ratings = ", ".join(f"{name} {verdict.ratings.get(name, '–')}" for name in CRITERIA)
    lines = [ratings, f"critique: {verdict.critique or '–'}", f"refinement: {verdict.refinement or '–'}"]
    return "\n".join(lines)


class Terminal:
    """The loop that a person types into. `read` gives the next line and raises EOFError at the end."""

    def __init__(self, chat: Chat, read: Callable[[str], str], write: Callable[[str], Any], save: Path | None) -> None:
        self.chat, self.read, self.write, self.save = chat, read, write, save
        self.said: list[Interaction] = []

    def run(self) -> None:
        """Until the user leaves. A mistake gets a line and the chat goes on."""
        while True:
            try:
                line = self.read("> ").strip()
            except EOFError:
                break
            except KeyboardInterrupt:
                self.write("\n(Ctrl-D or /quit leaves)\n")
                continue
            if line == "/quit":
                break
            if line:
                try:
                    self.do(line)
                except (InputError, ServerError) as error:
                    self.write(f"{error}\n")
        self.keep()

    def do(self, line: str) -> None:
        """One command, or words for the model."""
        command, _, rest = line.partition(" ")
        rest = rest.strip()
        if not line.startswith("/"):
            self.show(self.chat.ask(line))
        elif command == "/feedback":
            self.write(described(self.chat.feedback()) + "\n")
        elif command == "/refine":
            self.show(self.chat.refine(rest))
        elif command == "/condition":
            self.chat.under(rest)
            if self.chat.turns:
                self.show(self.chat.again())
        elif command == "/new":
            self.forget()
        elif command == "/help":
            self.write(HELP + "\n")
        else:
            self.write(f"{command} is no command; /help lists them\n")

    def show(self, pieces: Pieces[str]) -> None:
        """Write an answer as it comes; Ctrl-C ends it and keeps what was said."""
        try:
            for piece in pieces:
                self.write(piece)
        except KeyboardInterrupt:
            pieces.close()
            self.write(" …")
        self.write("\n")

    def forget(self) -> None:
        """Begin anew; what was said is kept for the end."""
        self.said += self.current()
        self.chat.turns = []

    def current(self) -> list[Interaction]:
        """The conversation that is going on, if anything was said in it."""
        name = f"{time.strftime('chat-%Y%m%d-%H%M%S')}-{len(self.said)}"
        return [self.chat.interaction(name)] if self.chat.turns else []

    def keep(self) -> None:
        """Save all conversations as records of LVLM_NLF's form, if anything was said; where the user's file cannot be
        written, in the cache."""
        from seelevel.formats.nlf import write

        talks = [*self.said, *self.current()]
        if not talks:
            return
        own = cache_folder() / "chats" / f"{talks[0].id}.jsonl"
        for place in dict.fromkeys((self.save or own, own)):
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                write([ladder for one in talks for ladder in one.rounds()], place)
            except OSError as error:
                self.write(f"{place} cannot be written ({error.strerror or error})\n")
            else:
                self.write(f"saved: {place}\n")
                return


def remember() -> None:
    """Keep what is typed for the next chat. Systems without readline have no history."""
    try:
        import atexit
        import readline
    except ImportError:
        return
    place = cache_folder() / "chat-history"
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        readline.read_history_file(place)
    readline.set_history_length(1000)
    atexit.register(readline.write_history_file, place)

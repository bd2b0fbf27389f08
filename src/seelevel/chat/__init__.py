"""`seelevel chat`: talk with a model about a picture, have its answers judged, and have it answer again."""

from __future__ import annotations

import textwrap
from collections.abc import Generator as Pieces
from dataclasses import dataclass, field, replace

from seelevel.errors import InputError
from seelevel.judge import Unscored
from seelevel.judge.annotate import Annotator
from seelevel.judge.conversation import REQUEST, asks_for_changes, request_text
from seelevel.ladder import CRITERIA, IMAGE_MARK, Feedback, Image, Interaction, Ladder, Message, Response, unmarked
from seelevel.models.base import Generator, Prompt, Sampling, streamed
from seelevel.models.conditioned import Conditioned

SHOWN = 300
"""Characters of a judge's reply that are shown where it cannot be read."""


@dataclass
class Chat:
    """A conversation about one picture. `contents`: what is known of it, a line each, for the judge; `asked`: the turn
    whose question the last answer is one to, which `refine` leaves as it is; `cut`: whether that answer stopped
    before its end, as at the limit of tokens."""

    model: Generator
    image: str | None
    sampling: Sampling
    annotator: Annotator | None = None
    contents: list[str] = field(default_factory=list)
    turns: list[tuple[Message, Response]] = field(default_factory=list)
    asked: int = 0
    cut: bool = False

    def ask(self, text: str) -> Pieces[str]:
        """The answer to what the user says, piece by piece; what was said when the iterator is closed is kept. Raises
        `InputError` for a picture's mark in it."""
        yield from self._say(text, len(self.turns))

    def again(self) -> Pieces[str]:
        """Another answer to the last request, in place of the one there is. Raises `InputError` where there is none."""
        last = self._last()
        self.turns.pop()
        try:
            yield from self._answer(last[0], self.asked)
        finally:
            if not self.turns or self.turns[-1][0] is not last[0]:  # nothing was said in its place
                self.turns.append(last)

    def request(self) -> str:
        """What a user says on the judge's word on the last answer. Raises `InputError` where there is no answer, no
        judge, or no word."""
        _, response = self._last()
        feedback = response.feedback or self.feedback()
        if isinstance(feedback, Unscored):
            raise InputError(f"the judge cannot judge this answer ({feedback.reason}); say in words what to change")
        if not asks_for_changes(feedback):
            raise InputError("the judge finds nothing to mend; say in words what to change")
        return request_text(REQUEST, feedback)

    def refine(self, words: str) -> Pieces[str]:
        """Another answer to the question, on the user's words on the last one. Raises `InputError` where there is
        none, and for a picture's mark."""
        self._last()
        yield from self._say(words, self.asked)

    def feedback(self) -> Feedback | Unscored:
        """The judge's word on the last answer, as one to the question that was asked; it is kept with the answer.
        Raises `InputError` where there is no judge."""
        user, response = self._last()
        if self.annotator is None:
            raise InputError("there is no judge; start the chat with --judge MODEL to have one")
        images = [Image(self.image)] if self.image is not None else []
        prompt = [*self._said(self.asked), self.turns[self.asked][0]]
        ladder = Ladder("chat", images, prompt, [], {"image_content": self.contents})
        [verdict] = self.annotator.annotate([(ladder, response)])
        if isinstance(verdict, Feedback):
            self.turns[-1] = (user, replace(response, feedback=verdict))
        return verdict

    def under(self, which: str) -> None:
        """Answer under another condition from now on. Raises `InputError` for a model that knows none."""
        if not isinstance(self.model, Conditioned):
            raise InputError("this model was not trained on conditions; align one with objective conditional")
        self.model = self.model.under(which)

    @property
    def condition(self) -> str:
        """The condition in force and its words."""
        if not isinstance(self.model, Conditioned):
            return "none, for this model was not trained on conditions"
        return f"{self.model.which} ({self.model.text})" if self.model.text else self.model.which

    def interaction(self, name: str) -> Interaction:
        """The conversation as it is kept, under a name."""
        images = [Image(self.image)] if self.image is not None else []
        return Interaction(name, images, list(self.turns), {"image_content": self.contents} if self.contents else {})

    def _last(self) -> tuple[Message, Response]:
        if not self.turns:
            raise InputError("nothing has been said yet; ask something first")
        return self.turns[-1]

    def _said(self, turns: int) -> list[Message]:
        """What was said in the first so many turns."""
        return [message for user, response in self.turns[:turns] for message in (user, response.messages[0])]

    def _say(self, text: str, asked: int) -> Pieces[str]:
        if IMAGE_MARK in text:
            raise InputError(f"{IMAGE_MARK} stands for a picture and cannot be typed; name one with --image")
        marked = self.image is not None and not self.turns
        yield from self._answer(Message(role="user", content=f"{IMAGE_MARK}\n{text}" if marked else text), asked)

    def _answer(self, user: Message, asked: int) -> Pieces[str]:
        said = self._said(len(self.turns))
        prompt = Prompt([*said, user], [self.image] if self.image is not None else [])
        condition = self.model.text if isinstance(self.model, Conditioned) else ""
        pieces, text, self.cut = streamed(self.model, prompt, self.sampling), "", False
        try:
            while True:
                text += (piece := next(pieces))
                yield piece
        except StopIteration as end:
            self.cut = not end.value
        finally:
            if text := unmarked(text).strip():  # a mark would stand for a picture in the next prompt
                origin = {"kind": "answer", "model": self.model.name, "sampling": self.sampling.model_dump(mode="json")}
                message = Message(role="assistant", content=text)
                self.turns.append((user, Response([message], 0, origin, condition)))
                self.asked = asked


def described(verdict: Feedback | Unscored) -> str:
    """A judge's word, a line each."""
    if isinstance(verdict, Unscored):
        reply = " ".join(verdict.reply.split())
        said = f'; it says "{textwrap.shorten(reply, SHOWN, placeholder=" …")}"' if reply else ""
        return f"the judge cannot judge this answer: {verdict.reason}{said}"
    ratings = ", ".join(f"{name} {verdict.ratings.get(name, '–')}" for name in CRITERIA)
    lines = [
        f"ratings, 1 to 4: {ratings}",
        f"critique: {verdict.critique or '–'}",
        f"refinement: {verdict.refinement or '–'}",
    ]
    return "\n".join(lines)

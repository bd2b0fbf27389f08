"""`seelevel chat`: talk with a model about a picture, get its answers judged, and ask it to answer again."""

from __future__ import annotations

import textwrap
from collections.abc import Generator as Pieces
from dataclasses import dataclass, field, replace

from seelevel.errors import InputError
from seelevel.judge import Unscored
from seelevel.judge.annotate import Annotator
from seelevel.judge.conversation import REQUEST, asks_for_changes, request_text
from seelevel.ladder import IMAGE_MARK, Feedback, Image, Interaction, Ladder, Message, Response, unmarked
from seelevel.levels import CRITERIA
from seelevel.models.base import Generator, Prompt, Sampling, streamed
from seelevel.models.conditioned import Conditioned
from seelevel.thoughts import split_thought

SHOWN = 300
"""Characters of a judge's reply that are shown if it cannot be read."""


@dataclass
class Chat:
    """A conversation about one picture.

    contents: the picture's annotations for the judge, one per line; asked: the turn whose question the last answer
    belongs to, which `refine` does not change; cut: whether that answer is incomplete, as at the limit of tokens.
    """

    model: Generator
    image: str | None
    sampling: Sampling
    annotator: Annotator | None = None
    contents: list[str] = field(default_factory=list)
    turns: list[tuple[Message, Response]] = field(default_factory=list)
    asked: int = 0
    cut: bool = False

    def ask(self, text: str) -> Pieces[str]:
        """The answer to the user's text, piece by piece. If the iterator is closed early, the pieces so far are kept.

        Raises `InputError` if the text contains a picture's mark.
        """
        yield from self._say(text, len(self.turns))

    def again(self) -> Pieces[str]:
        """Another answer to the last request, replacing the last one. Raises `InputError` if there is no answer yet."""
        last = self._last()
        self.turns.pop()
        try:
            yield from self._answer(last[0], self.asked)
        finally:
            if not self.turns or self.turns[-1][0] is not last[0]:  # the new answer is empty
                self.turns.append(last)

    def request(self) -> str:
        """The user's turn that passes on the judge's feedback on the last answer.

        Raises `InputError` if there is no answer or no judge, or if the judge asks for no change.
        """
        _, response = self._last()
        feedback = response.feedback or self.feedback()
        if isinstance(feedback, Unscored):
            raise InputError(f"the judge cannot judge this answer ({feedback.reason}); say in words what to change")
        if not asks_for_changes(feedback):
            raise InputError("the judge finds nothing to mend; say in words what to change")
        return request_text(REQUEST, feedback)

    def refine(self, words: str) -> Pieces[str]:
        """Another answer to the question, after the user's words on the last one.

        Raises `InputError` if there is no answer yet, or if the words contain a picture's mark.
        """
        self._last()
        yield from self._say(words, self.asked)

    def feedback(self) -> Feedback | Unscored:
        """The judge's feedback on the last answer to the question `asked`; it is kept with the answer.

        Raises `InputError` if there is no answer or no judge.
        """
        user, response = self._last()
        if self.annotator is None:
            raise InputError("there is no judge; start the chat with --judge MODEL to have one")
        images = [Image(self.image)] if self.image is not None else []
        prompt = [*self._messages(self.asked), self.turns[self.asked][0]]
        ladder = Ladder("chat", images, prompt, [], {"image_content": self.contents})
        [verdict] = self.annotator.annotate([(ladder, response)])
        if isinstance(verdict, Feedback):
            self.turns[-1] = (user, replace(response, feedback=verdict))
        return verdict

    def under(self, which: str) -> None:
        """Answer under another condition from now on. Raises `InputError` for a model trained without conditions."""
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
        """The conversation as one interaction with this id."""
        images = [Image(self.image)] if self.image is not None else []
        return Interaction(name, images, list(self.turns), {"image_content": self.contents} if self.contents else {})

    def _last(self) -> tuple[Message, Response]:
        if not self.turns:
            raise InputError("nothing has been said yet; ask something first")
        return self.turns[-1]

    def _messages(self, turns: int) -> list[Message]:
        """The messages of the first `turns` turns."""
        return [message for user, response in self.turns[:turns] for message in (user, response.messages[0])]

    def _say(self, text: str, asked: int) -> Pieces[str]:
        if IMAGE_MARK in text:
            raise InputError(f"{IMAGE_MARK} stands for a picture and cannot be typed; name one with --image")
        marked = self.image is not None and not self.turns
        yield from self._answer(Message(role="user", content=f"{IMAGE_MARK}\n{text}" if marked else text), asked)

    def _answer(self, user: Message, asked: int) -> Pieces[str]:
        prompt = Prompt([*self._messages(len(self.turns)), user], [self.image] if self.image is not None else [])
        condition = self.model.text if isinstance(self.model, Conditioned) else ""
        pieces, text, self.cut = streamed(self.model, prompt, self.sampling), "", False
        try:
            while True:
                text += (piece := next(pieces))
                yield piece
        except StopIteration as end:
            self.cut = not end.value
        finally:
            said = split_thought(unmarked(text))  # a mark would stand for a picture in the next prompt
            if text := said.answer.strip():
                origin = {"kind": "answer", "model": self.model.name, "sampling": self.sampling.model_dump(mode="json")}
                message = Message(role="assistant", content=text)
                self.turns.append((user, Response([message], 0, origin, condition, reasoning=said.reasoning)))
                self.asked = asked


def described(verdict: Feedback | Unscored) -> str:
    """A verdict as text: one line each for ratings, critique and refinement."""
    if isinstance(verdict, Unscored):
        reply = " ".join(verdict.reply.split())
        quote = f'; it says "{textwrap.shorten(reply, SHOWN, placeholder=" …")}"' if reply else ""
        return f"the judge cannot judge this answer: {verdict.reason}{quote}"
    ratings = ", ".join(f"{name} {verdict.ratings.get(name, '–')}" for name in CRITERIA)
    lines = [
        f"ratings, 1 to 4: {ratings}",
        f"critique: {verdict.critique or '–'}",
        f"refinement: {verdict.refinement or '–'}",
    ]
    return "\n".join(lines)

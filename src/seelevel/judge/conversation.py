"""Conversations with feedback (DRESS, arXiv 2311.10081): answer, judgement, refined answer, one a call of `refine`.

A conversation ends where an answer has the best rating in every criterion that it was rated on, where the judge says
nothing of it, or nothing that the user's next turn is made of, and where an answer is empty or cannot be judged. Every
answer that was judged is kept, and what the judge said of one that it could not judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from seelevel.judge import Unscored
from seelevel.judge.annotate import Annotator
from seelevel.ladder import Feedback, Interaction, Ladder, Message, Response, pictures_of
from seelevel.models.base import Generator, Prompt, Sampling
from seelevel.templates import filled

TOP = 4
REQUEST = "{{ refinement or critique }} Please answer again."
"""What the user says next, unless a recipe says otherwise: in DRESS the refinement is the next turn."""


@dataclass
class Conversation:
    """A ladder's prompt with the answers so far, the last of which has feedback. `unscored`: an answer that the judge
    could not judge, which ends the conversation and is not in it, and what the judge said."""

    ladder: Ladder
    turns: list[tuple[Message, Response]]
    unscored: list[tuple[str, Unscored]] = field(default_factory=list)
    broken_off: bool = False

    @property
    def last(self) -> Feedback:
        """The judge's word on the last answer."""
        feedback = self.turns[-1][1].feedback
        assert feedback is not None
        return feedback

    @property
    def unfinished(self) -> bool:
        """Whether there is something left to mend, and to say about it."""
        return not self.broken_off and asks_for_changes(self.last)

    def history(self) -> list[Message]:
        """Prompt and turns so far, without conditions."""
        later = [message for user, response in self.turns for message in (user, response.messages[0])]
        return [*self.ladder.prompt[:-1], *later]

    def interaction(self) -> Interaction:
        """From the last turn of the prompt on, with the pictures that are shown there."""
        before = pictures_of(self.ladder.prompt[:-1], self.ladder.images)
        return Interaction(self.ladder.id, self.ladder.images[len(before) :], self.turns, self.ladder.annotations)


class Refiner:
    """`Refiner(model, annotator, request, origin).refine(conversations, sampling)`: one answer more in each that goes
    on. request: Jinja text of the judge's critique and refinement, the user's next turn; origin: of the answers."""

    def __init__(self, model: Generator, annotator: Annotator, request: str, origin: dict[str, object]) -> None:
        self.model, self.annotator, self.request, self.origin = model, annotator, request, origin

    def ask(self, feedback: Feedback) -> Message:
        """The user's next turn on a judge's word."""
        return Message(role="user", content=request_text(self.request, feedback))

    def refine(self, conversations: Sequence[Conversation], sampling: Sampling) -> None:
        """All that go on are answered in one call and judged in another."""
        asked = [(one, self.ask(one.last)) for one in conversations if one.unfinished]
        going = [(one, request) for one, request in asked if request["content"]]  # else the judge's word asks nothing
        prompts = [
            Prompt([*one.history(), request], [image.path for image in one.ladder.images]) for one, request in going
        ]
        answers = self.model.generate(prompts, sampling) if prompts else []
        said: list[tuple[Conversation, Message, Response]] = []
        for (one, request), answer in zip(going, answers, strict=True):
            if answer.text.strip():
                message = Message(role="assistant", content=answer.text)
                said.append((one, request, Response([message], 0, {**self.origin, "round": len(one.turns)})))
            else:
                one.broken_off = True
        verdicts = self.annotator.annotate([(one.ladder, response) for one, _, response in said])
        for (one, request, response), verdict in zip(said, verdicts, strict=True):
            if isinstance(verdict, Unscored):
                one.unscored.append((response.text, verdict))
                one.broken_off = True
            else:
                rated = Response(response.messages, 0, response.origin, feedback=verdict)
                one.turns.append((request, rated))


def asks_for_changes(feedback: Feedback) -> bool:
    """Whether a judge finds something to mend in an answer, and says what."""
    top = bool(feedback.ratings) and all(rating == TOP for rating in feedback.ratings.values())
    return not top and bool(feedback.critique.strip() or feedback.refinement.strip())


def request_text(request: str, feedback: Feedback) -> str:
    """What the user says on a judge's word, in one line. Raises `BadTemplateError` where it cannot be filled in."""
    return filled(request, critique=feedback.critique.strip(), refinement=feedback.refinement.strip())

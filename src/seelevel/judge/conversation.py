"""Conversations with feedback (DRESS, arXiv 2311.10081): answer, judgement, refined answer, one per call of `refine`.

A conversation ends if an answer has the best rating in every rated criterion, if the judge's words give no next user
turn, or if an answer is empty or cannot be judged. Every judged answer is kept. Of an answer that could not be judged,
the judge's reply is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from seelevel.judge import Unscored
from seelevel.judge.annotate import Annotator
from seelevel.ladder import BEST, Feedback, Interaction, Ladder, Message, Response, pictures_of
from seelevel.models.base import Generator, Prompt, Sampling
from seelevel.models.thinking import complete
from seelevel.templates import filled

REQUEST = "{{ refinement or critique }} Please answer again."
"""The user's next turn, unless a recipe has another: in DRESS it is the refinement."""


@dataclass
class Conversation:
    """A ladder's prompt with the answers so far; the last one has feedback. `unscored`: an answer that could not be
    judged, with the judge's reply; it breaks the conversation off and is not one of its turns."""

    ladder: Ladder
    turns: list[tuple[Message, Response]]
    unscored: list[tuple[str, Unscored]] = field(default_factory=list)
    broken_off: bool = False

    @property
    def last(self) -> Feedback:
        """The feedback on the last answer."""
        feedback = self.turns[-1][1].feedback
        assert feedback is not None
        return feedback

    @property
    def unfinished(self) -> bool:
        """Whether the feedback on the last answer asks for another one."""
        return not self.broken_off and asks_for_changes(self.last)

    def history(self) -> list[Message]:
        """Prompt and turns so far, without conditions."""
        later = [message for user, response in self.turns for message in (user, response.messages[0])]
        return [*self.ladder.prompt[:-1], *later]

    def interaction(self) -> Interaction:
        """The turns from the last one of the prompt on, with the pictures shown there."""
        before = pictures_of(self.ladder.prompt[:-1], self.ladder.images)
        return Interaction(self.ladder.id, self.ladder.images[len(before) :], self.turns, self.ladder.annotations)


class Refiner:
    """`Refiner(model, annotator, request, origin).refine(conversations, sampling)`: one more answer in each unfinished
    conversation. request: the user's next turn, Jinja text of `critique` and `refinement`; origin: of the answers."""

    def __init__(self, model: Generator, annotator: Annotator, request: str, origin: dict[str, object]) -> None:
        self.model, self.annotator, self.request, self.origin = model, annotator, request, origin

    def ask(self, feedback: Feedback) -> Message:
        """The user's next turn after this feedback."""
        return Message(role="user", content=request_text(self.request, feedback))

    def refine(self, conversations: Sequence[Conversation], sampling: Sampling) -> None:
        """Answer all unfinished conversations in one call, and judge the answers in another."""
        requests = [(talk, self.ask(talk.last)) for talk in conversations if talk.unfinished]
        requests = [(talk, request) for talk, request in requests if request["content"]]
        prompts = [
            Prompt([*talk.history(), request], [image.path for image in talk.ladder.images])
            for talk, request in requests
        ]
        completions = complete(self.model, prompts, sampling) if prompts else []
        answers: list[tuple[Conversation, Message, Response]] = []
        for (talk, request), completion in zip(requests, completions, strict=True):
            if completion.text.strip():
                message = Message(role="assistant", content=completion.text)
                origin = {**self.origin, "round": len(talk.turns)}
                response = Response([message], 0, origin, reasoning=completion.reasoning)
                answers.append((talk, request, response))
            else:
                talk.broken_off = True
        verdicts = self.annotator.annotate([(talk.ladder, response) for talk, _, response in answers])
        for (talk, request, response), verdict in zip(answers, verdicts, strict=True):
            if isinstance(verdict, Unscored):
                talk.unscored.append((response.text, verdict))
                talk.broken_off = True
            else:
                talk.turns.append((request, replace(response, feedback=verdict)))


def asks_for_changes(feedback: Feedback) -> bool:
    """Whether an answer is rated below the best and the judge says what to change."""
    top = bool(feedback.ratings) and all(rating == BEST for rating in feedback.ratings.values())
    return not top and bool(feedback.critique.strip() or feedback.refinement.strip())


def request_text(request: str, feedback: Feedback) -> str:
    """The user's next turn after this feedback, in one line. Raises `BadTemplateError` if it cannot be rendered."""
    return filled(request, critique=feedback.critique.strip(), refinement=feedback.refinement.strip())

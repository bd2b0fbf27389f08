"""Prompts with a parsed reply, and judges. A template makes the prompt, a model replies, a parser reads the reply.

A reply that cannot be read is *unscored*. The judged text is data: a template writes it through the `quoted` filter, as
one line of JSON that the text cannot end. The verdict is read from the judge's reply alone, so a response that says
'Ratings: [6]' grades nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import jinja2

from seelevel.errors import InputError
from seelevel.json_text import dumps
from seelevel.judge.replies import Parse, Record, one_line
from seelevel.ladder import IMAGE_MARK, Image, Ladder, Message, Response
from seelevel.models.base import Generator, Prompt, Sampling
from seelevel.opening import read_text
from seelevel.templates import RENDER_ERRORS, compiled, rendered, what_went_wrong

V = TypeVar("V")
JUDGE_SAMPLING = Sampling(max_new_tokens=1024)
REPAIR = "Your reply could not be read: {reason}. Please reply once more, in exactly the form that was asked for."


@dataclass(frozen=True)
class Unscored:
    """A reply without a verdict: a result of its own, counted and left out of means. `note`: why the model gave no
    reply, if that is the reason."""

    reply: str
    reason: str
    note: str = ""


class JudgeTemplate:
    """`JudgeTemplate(template).turn(record, pictures)`: the prompt that a judge sees.

    template: Jinja text, or a file with it; a record's keys are its variables. Raises InputError for a template that
    cannot be read or rendered, uses a field that the record lacks, or does not have one `<image>` mark per picture.
    """

    def __init__(self, template: str | Path) -> None:
        self.source = str(template) if isinstance(template, Path) else "the judge's template"
        try:
            text = read_text(template) if isinstance(template, Path) else template
            self._template = compiled(text)
        except OSError as error:
            raise InputError(f"{self.source}: cannot be read ({error.strerror}); check the path") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{self.source}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
        except jinja2.TemplateSyntaxError as error:
            raise InputError(f"{self.source}, line {error.lineno}: {error.message}; correct the template") from error
        except (jinja2.TemplateError, *RENDER_ERRORS) as error:
            raise InputError(f"{self.source}: {what_went_wrong(error)}; correct the template") from error

    def turn(self, record: Record, pictures: int = 0) -> Message:
        """The user's turn for a record with so many pictures."""
        try:
            text = rendered(self._template, **record)
        except jinja2.UndefinedError as error:
            raise InputError(f"{self.source}: {error}; a record has {', '.join(sorted(record))}") from error
        except (jinja2.TemplateError, *RENDER_ERRORS) as error:
            raise InputError(f"{self.source}: {what_went_wrong(error)}; correct the template") from error
        if (marks := text.count(IMAGE_MARK)) != pictures:
            raise InputError(f"{self.source} marks {marks} pictures, but {pictures} are shown; correct the template")
        return Message(role="user", content=text)

    def check(self, record: Record, other: Record, pictures: int) -> None:
        """Raise `InputError` if it cannot be rendered, or gives the same text for records with different answers."""
        if self.turn(record, pictures) == self.turn(other, pictures):
            raise InputError(f"{self.source} does not depend on the answers; make it show them")


def sample_ladder() -> Ladder:
    """A ladder of one picture with two answers, to check a template before anything is judged."""
    prompt = Message(role="user", content=f"{IMAGE_MARK}\nWhat is there?")
    answers = [Response([Message(role="assistant", content=text)], n) for n, text in enumerate(("A cat.", "A dog."))]
    return Ladder("sample", [Image("picture.png")], [prompt], answers, {"image_content": ["a cat"]})


class StructuredPrompt(Generic[V]):
    """`StructuredPrompt(template, parse, model).ask(records)`: one parsed reply or `Unscored` per record, in order.

    repairs: 1 shows an unreadable reply to the model once more, with the reason; 0 never does. A model that gave no
    reply is not asked again. Raises InputError for a template as `JudgeTemplate` does.
    """

    def __init__(
        self,
        template: str | Path,
        parse: Parse[V],
        model: Generator,
        sampling: Sampling = JUDGE_SAMPLING,
        repairs: int = 1,
    ) -> None:
        self.template = JudgeTemplate(template)
        self.parse, self.model, self.sampling, self.repairs = parse, model, sampling, repairs

    def ask(self, records: Sequence[Record], images: Sequence[Sequence[str]] | None = None) -> list[V | Unscored]:
        """All prompts go to the model in one call, all repairs in a second.

        images: each record's picture files; the template has one `<image>` mark for each of them.
        """
        pictures = [[] for _ in records] if images is None else [list(paths) for paths in images]
        prompts = [[self.template.turn(r, len(paths))] for r, paths in zip(records, pictures, strict=True)]
        results = self._call(prompts, records, pictures)
        for _ in range(self.repairs):
            failed = {i: r for i, r in enumerate(results) if isinstance(r, Unscored) and not r.note}
            again = [
                [
                    *prompts[i],
                    Message(role="assistant", content=unread.reply),
                    Message(role="user", content=REPAIR.format(reason=unread.reason)),
                ]
                for i, unread in failed.items()
            ]
            repaired = self._call(again, [records[i] for i in failed], [pictures[i] for i in failed])
            for i, result in zip(failed, repaired, strict=True):
                if not isinstance(result, Unscored):  # if the repair fails too, the first reply is kept
                    results[i] = result
        return results

    def _call(
        self, conversations: Sequence[list[Message]], records: Sequence[Record], pictures: Sequence[list[str]]
    ) -> list[V | Unscored]:
        if not conversations:
            return []
        prompts = [Prompt(messages, paths) for messages, paths in zip(conversations, pictures, strict=True)]
        replies = self.model.generate(prompts, self.sampling)
        results: list[V | Unscored] = []
        for reply, record in zip(replies, records, strict=True):
            try:
                results.append(self.parse(reply.text, record))
            except ValueError as error:
                results.append(Unscored(reply.text, reply.note or one_line(error), reply.note))
        return results


class Judge(StructuredPrompt[V]):
    """A prompt whose parsed reply is a verdict: `Judge(template, parse, model).judge(records)`."""

    def judge(self, records: Sequence[Record], images: Sequence[Sequence[str]] | None = None) -> list[V | Unscored]:
        """One verdict or `Unscored` per record, in order (see `ask`)."""
        return self.ask(records, images)


def image_content(ladder: Ladder) -> list[str]:
    """The pictures' annotations as lines: `image_content` if it is a list of lines, else all annotations by name."""
    lines = ladder.annotations.get("image_content")
    if isinstance(lines, list):
        return [str(line) for line in lines]
    annotations = sorted(ladder.annotations.items())
    return [f"{n}: {v if isinstance(v, str) else dumps(v)}" for n, v in annotations]

"""Judges: a template makes the prompt, a model replies, a parser makes a verdict of the reply, or it is *unscored*.

What is judged is data. A template writes it through the `quoted` filter, as one line of JSON that nothing in it can
leave, and the verdict is read from the judge's reply alone: a response that says 'Ratings: [6]' grades nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import jinja2

from seelevel.errors import InputError
from seelevel.judge.replies import Parse, Record, one_line
from seelevel.ladder import IMAGE_MARK, Image, Ladder, Message, Response
from seelevel.models.base import Generator, Prompt, Sampling
from seelevel.templates import RENDER_ERRORS, template_environment, what_went_wrong

V = TypeVar("V")
JUDGE_SAMPLING = Sampling(max_new_tokens=1024)
REPAIR = "Your reply could not be read: {reason}. Please reply once more, in exactly the form that was asked for."


@dataclass(frozen=True)
class Unscored:
    """A judge's reply that gives no verdict: a result of its own, counted and left out of means. `note`: why the model
    was not asked or did not answer, where that is the reason."""

    reply: str
    reason: str
    note: str = ""


class JudgeTemplate:
    """`JudgeTemplate(template).turn(record, pictures)`: the prompt that a judge sees.

    template: Jinja text, or the file that holds it; a record's keys are its variables.
    Raises InputError for a template that cannot be read, is no template, asks for a field that a record lacks or for
    what cannot be done, or has not one `<image>` mark for each picture.
    """

    def __init__(self, template: str | Path) -> None:
        self.source = str(template) if isinstance(template, Path) else "the judge's template"
        try:
            text = template.read_text(encoding="utf-8") if isinstance(template, Path) else template
            self._template = template_environment().from_string(text)
        except OSError as error:
            raise InputError(f"{self.source}: cannot be read ({error.strerror}); check the path") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{self.source}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
        except jinja2.TemplateSyntaxError as error:
            raise InputError(f"{self.source}, line {error.lineno}: {error.message}; mend the template") from error
        except RENDER_ERRORS as error:
            raise InputError(f"{self.source}: {what_went_wrong(error)}; mend the template") from error

    def turn(self, record: Record, pictures: int = 0) -> Message:
        """The user's turn for a record that comes with so many pictures."""
        try:
            text = self._template.render(**record)
        except jinja2.TemplateError as error:
            raise InputError(f"{self.source}: {error}; a record has {', '.join(sorted(record))}") from error
        except RENDER_ERRORS as error:
            raise InputError(f"{self.source}: {what_went_wrong(error)}; mend the template") from error
        if (marks := text.count(IMAGE_MARK)) != pictures:
            raise InputError(f"{self.source} marks {marks} pictures, but {pictures} are shown; mend the template")
        return Message(role="user", content=text)

    def check(self, record: Record, other: Record, pictures: int) -> None:
        """Raise `InputError` where it cannot be filled in with a record, or says the same of one with other answers."""
        if self.turn(record, pictures) == self.turn(other, pictures):
            raise InputError(f"{self.source} says the same whatever the answers are; have it show them")


def sample_ladder() -> Ladder:
    """A ladder of one picture with two answers, to look at a template with before anything is judged."""
    prompt = Message(role="user", content=f"{IMAGE_MARK}\nWhat is there?")
    answers = [Response([Message(role="assistant", content=text)], n) for n, text in enumerate(("A cat.", "A dog."))]
    return Ladder("sample", [Image("picture.png")], [prompt], answers, {"image_content": ["a cat"]})


class Judge(Generic[V]):
    """`Judge(template, parse, model).judge(records)` gives a verdict or `Unscored` a record, in order.

    repairs: 1 shows a reply that could not be read to the judge again, once, with the reason; 0 never does. Where there
    was no reply, none is asked for again.
    Raises InputError for a template as `JudgeTemplate` does.
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

    def judge(self, records: Sequence[Record], images: Sequence[Sequence[str]] | None = None) -> list[V | Unscored]:
        """One verdict a record. All prompts go to the model in one call, all repairs in a second.

        images: each record's picture files, where the template has an `<image>` mark for each of them.
        """
        pictures = [[] for _ in records] if images is None else [list(paths) for paths in images]
        talks = [[self.template.turn(r, len(paths))] for r, paths in zip(records, pictures, strict=True)]
        verdicts = self._ask(talks, records, pictures)
        for _ in range(self.repairs):
            failed = {i: v for i, v in enumerate(verdicts) if isinstance(v, Unscored) and not v.note}
            again = [
                [
                    *talks[i],
                    Message(role="assistant", content=verdict.reply),
                    Message(role="user", content=REPAIR.format(reason=verdict.reason)),
                ]
                for i, verdict in failed.items()
            ]
            repaired = self._ask(again, [records[i] for i in failed], [pictures[i] for i in failed])
            for i, verdict in zip(failed, repaired, strict=True):
                if not isinstance(verdict, Unscored):  # what stays unscored keeps its first reply
                    verdicts[i] = verdict
        return verdicts

    def _ask(
        self, talks: Sequence[list[Message]], records: Sequence[Record], pictures: Sequence[list[str]]
    ) -> list[V | Unscored]:
        if not talks:
            return []
        prompts = [Prompt(talk, paths) for talk, paths in zip(talks, pictures, strict=True)]
        replies = self.model.generate(prompts, self.sampling)
        verdicts: list[V | Unscored] = []
        for reply, record in zip(replies, records, strict=True):
            try:
                verdicts.append(self.parse(reply.text, record))
            except ValueError as error:
                verdicts.append(Unscored(reply.text, reply.note or one_line(error), reply.note))
        return verdicts


def image_content(ladder: Ladder) -> list[str]:
    """What is known of the pictures, a line each: the annotation `image_content` where it is a list of lines, else all
    annotations by name."""
    lines = ladder.annotations.get("image_content")
    if isinstance(lines, list):
        return [str(line) for line in lines]
    known = sorted(ladder.annotations.items())
    return [f"{n}: {v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)}" for n, v in known]

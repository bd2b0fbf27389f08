"""Judges: a template makes the prompt, a model replies, a parser makes a verdict of the reply, or it is *unscored*.

What is judged is data. A template writes it through the `quoted` filter, as one line of JSON that nothing in it can
leave, and the verdict is read from the judge's reply alone: a response that says 'Ratings: [6]' grades nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import jinja2
from pydantic import BaseModel, ValidationError

from seelevel.errors import InputError
from seelevel.ladder import IMAGE_MARK, Image, Ladder, Message, Response
from seelevel.models.base import Generator, Prompt, Sampling
from seelevel.templates import NOT_TO_BE_DONE, template_environment, what_went_wrong

Record = Mapping[str, Any]
V = TypeVar("V")
S = TypeVar("S", bound=BaseModel)
Parse = Callable[[str, Record], V]
"""Makes a verdict of a judge's reply to a record; raises ValueError with the reason where it cannot."""

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
        except NOT_TO_BE_DONE as error:
            raise InputError(f"{self.source}: {what_went_wrong(error)}; mend the template") from error

    def turn(self, record: Record, pictures: int = 0) -> Message:
        """The user's turn for a record that comes with so many pictures."""
        try:
            text = self._template.render(**record)
        except jinja2.TemplateError as error:
            raise InputError(f"{self.source}: {error}; a record has {', '.join(sorted(record))}") from error
        except NOT_TO_BE_DONE as error:
            raise InputError(f"{self.source}: {what_went_wrong(error)}; mend the template") from error
        if (marks := text.count(IMAGE_MARK)) != pictures:
            raise InputError(f"{self.source} marks {marks} pictures, but {pictures} are shown; mend the template")
        return Message(role="user", content=text)

    def examine(self, record: Record, other: Record, pictures: int) -> None:
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


def one_line(error: ValueError) -> str:
    """Why a reply could not be read, without line breaks."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'reply'}: {e['msg']}" for e in error.errors())
    return " ".join(str(error).split())


def json_verdict(schema: type[S]) -> Parse[S]:
    """A parser for replies that hold one JSON object, alone, in a code fence or after an explanation.

    Two verdicts that differ are none, for one of them may be what an answer said of itself and the judge repeats.
    """

    def parse(reply: str, record: Record) -> S:
        found = objects(reply)
        meant = [value for value in found if value.keys() & schema.model_fields.keys()]
        if any(value != meant[0] for value in meant):
            raise ValueError("it holds more than one verdict")
        return schema.model_validate((meant or found)[-1])

    return parse


def objects(reply: str) -> list[dict[str, Any]]:
    """The JSON objects of a text that lie in no other one; braces around words without quotation marks are words.

    Raises ValueError where there is none, or where one is broken: what can be read inside it, such as an answer's own
    words that were not escaped, is not what it says.
    """
    decoder = json.JSONDecoder()
    found: list[dict[str, Any]] = []
    place = reply.find("{")
    while place >= 0:
        try:
            value, end = decoder.raw_decode(reply, place)
            found.append(value)
        except json.JSONDecodeError as error:
            end = _closed(reply, place)
            if '"' in reply[place:end]:
                raise ValueError(f"an object in it is no JSON ({error.msg})") from error
        except RecursionError as error:
            raise ValueError("it is nested too deep") from error
        place = reply.find("{", end)
    if not found:
        raise ValueError("it holds no JSON object")
    return found


def _closed(text: str, place: int) -> int:
    """Where the brace that opens at a place is closed again, else the text's end."""
    depth = 0
    for match in re.compile(r"[{}]").finditer(text, place):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return match.end()
    return len(text)


RATINGS = re.compile(r"ratings?\W*\[([^\[\]]*)\]\W*$", re.IGNORECASE)


def parse_ratings(reply: str, count: int, top: int = 6) -> tuple[int | None, ...]:
    """`count` ratings from 0 to `top`, None for N/A, from the last line that says 'Ratings:' (MRHal-Bench's form).

    Raises ValueError with the reason where there are none.
    """
    lines = [line.strip() for line in reply.split("\n") if re.search(r"\bratings?\b\W*\[", line, re.IGNORECASE)]
    match = RATINGS.search(lines[-1]) if lines else None
    if match is None:
        raise ValueError("it does not end with a line 'Ratings: [...]'")
    entries = [entry.strip() for entry in match[1].split(",")]
    if len(entries) != count:
        raise ValueError(f"{len(entries)} ratings for {count} rounds")
    found: list[int | None] = []
    for entry in entries:
        if entry.upper() == "N/A":
            found.append(None)
        elif re.fullmatch(r"0|[1-9]\d?", entry, re.ASCII) and int(entry) <= top:
            found.append(int(entry))
        else:
            raise ValueError(f"rating '{entry}' is not a whole number from 0 to {top}")
    return tuple(found)


def image_content(ladder: Ladder) -> list[str]:
    """What is known of the pictures, a line each: the annotation `image_content` where it is a list of lines, else all
    annotations by name."""
    lines = ladder.annotations.get("image_content")
    if isinstance(lines, list):
        return [str(line) for line in lines]
    known = sorted(ladder.annotations.items())
    return [f"{n}: {v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)}" for n, v in known]
